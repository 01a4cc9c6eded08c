"""Files of any supported format in; one Row, or one BadRow that says what is wrong with it, for each row out.

Readers stream, never guess types and never drop a row: what to do with a bad one is decided in sources.py.
"""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, cast

from summarizer.data import arrow_rows, lines
from summarizer.data.files import FileFormat, SplitFiles
from summarizer.errors import UserError

if TYPE_CHECKING:
    from _csv import Reader

    import pyarrow as pa

INVALID_UTF8 = "invalid UTF-8"
BROKEN_JSON = "broken JSON"
NOT_AN_OBJECT = "not a JSON object"
BROKEN_CSV = "broken csv"
WRONG_FIELD_COUNT = "wrong number of fields"
UNPAIRED_LINE = "no line in the paired file"
OVERLONG_LINE = f"a line of more than {lines.LONGEST_LINE >> 20} MiB"
OVERLONG_ROW = f"a row of more than {lines.LONGEST_LINE >> 20} MiB"
UNREADABLE_VALUE = "a value beyond what Python can hold"


@dataclass(frozen=True)
class Row:
    """The values of one row by column, unchecked."""

    place: str  # "<file>:<line>", or "<file>:<row>" where there are no lines; counted from 1
    values: Mapping[str, object]


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used."""

    place: str
    reason: str  # the same words for the same fault, so that they can be counted
    detail: str = ""  # what only this row has


@dataclass(frozen=True)
class Columns:
    """The columns to read."""

    document: str
    summary: str
    id: str | None

    def select(self, available: Sequence[str], place: str) -> list[str]:
        """Those of our columns that ``place`` has; only the id may be missing."""
        for key, column in (("document_column", self.document), ("summary_column", self.summary)):
            if available.count(column) != 1:
                raise UserError(f"{place}: {_column_fault(column, available)}; {_column_way_out(key)}")
        optional = [self.id] if self.id is not None and self.id in available else []
        return list(dict.fromkeys([self.document, self.summary, *optional]))

    def missing_from(self, row: Row) -> BadRow | None:
        """The row as a bad one if it lacks a column (rows of jsonl files have no common header)."""
        for key, column in (("document_column", self.document), ("summary_column", self.summary)):
            if column not in row.values:
                fault = f'no column "{column}"'
                return BadRow(row.place, fault, f" among {_listing(row.values)}; {_column_way_out(key)}")
        return None


def read_rows(files: SplitFiles, columns: Columns) -> Iterator[Row | BadRow]:
    """Every row of ``files``, in order."""
    match files.format:
        case FileFormat.JSONL:
            return chain.from_iterable(_read_jsonl(path, columns) for path in files.paths)
        case FileFormat.CSV:
            return chain.from_iterable(_read_csv(path, columns) for path in files.paths)
        case FileFormat.PARQUET:
            return chain.from_iterable(_read_parquet(path, columns) for path in files.paths)
        case FileFormat.PAIRED:
            documents, summaries = files.paths
            return _read_paired(documents, summaries, columns)


def read_arrow(tables: Iterable[pa.Table | pa.RecordBatch], name: str) -> Iterator[Row | BadRow]:
    """The rows of Arrow tables that follow one another; ``name`` and the row number become their places."""
    number = 0
    for piece in chain.from_iterable(map(arrow_rows.pieces, tables)):
        if isinstance(piece, lines.Unread):
            number += 1
            yield BadRow(f"{name}:{number}", OVERLONG_ROW)
            continue
        lists = [_python_values(column) for column in piece.columns]
        for values in zip(*lists, strict=True):
            number += 1
            place = f"{name}:{number}"
            if any(isinstance(value, UnicodeDecodeError) for value in values):
                yield BadRow(place, INVALID_UTF8)
            elif any(isinstance(value, Exception) for value in values):
                yield BadRow(place, UNREADABLE_VALUE)
            else:
                yield Row(place, dict(zip(piece.schema.names, values, strict=True)))


def _python_values(column: pa.ChunkedArray | pa.Array) -> list[object]:
    """The values of ``column``; where one has no form in Python, the error it raises takes its place.

    Such as texts that are not UTF-8, and dates after the year 9999.
    """
    try:
        return cast(list[object], column.to_pylist())
    except (ValueError, OverflowError):
        return [_python_value(scalar) for scalar in column]


def _python_value(scalar: pa.Scalar) -> object:
    try:
        return cast(object, scalar.as_py())
    except (ValueError, OverflowError) as error:
        return error


def _read_parquet(path: Path, columns: Columns) -> Iterator[Row | BadRow]:
    import pyarrow as pa  # here and not above: only people with parquet files should wait for it
    import pyarrow.parquet as pq

    # Names in damaged metadata may not be UTF-8.
    with reporting_damage(path, pa.ArrowException, UnicodeDecodeError), pq.ParquetFile(path) as file:
        selected = columns.select(file.schema_arrow.names, str(path))
        yield from read_arrow(arrow_rows.read_parquet(path, file, selected), str(path))


def _read_jsonl(path: Path, columns: Columns) -> Iterator[Row | BadRow]:
    with reporting_damage(path), lines.open_file(path) as file:
        for number, line in enumerate(lines.read_lines(file), start=1):
            if isinstance(line, lines.Unread):
                yield BadRow(f"{path}:{number}", OVERLONG_LINE)
            elif line.strip():
                row = _parse_json(line, f"{path}:{number}")
                yield row if isinstance(row, BadRow) else columns.missing_from(row) or row


def _parse_json(line: bytes, place: str) -> Row | BadRow:
    try:
        values = json.loads(line.decode("utf-8").strip())
    except UnicodeDecodeError:
        return BadRow(place, INVALID_UTF8)
    except json.JSONDecodeError as error:
        return BadRow(place, BROKEN_JSON, f" ({error.msg} at column {error.colno})")
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond what Python reads
        return BadRow(place, BROKEN_JSON, f" ({error})")
    return Row(place, values) if isinstance(values, dict) else BadRow(place, NOT_AN_OBJECT)


def _read_csv(path: Path, columns: Columns) -> Iterator[Row | BadRow]:
    csv.field_size_limit(lines.LONGEST_LINE)  # the default, 128 KiB, is less than a long article
    with reporting_damage(path, csv.Error), lines.open_file(path) as file:
        # Bytes that are not UTF-8 become lone surrogates: one bad row does not end the reading of all.
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(lines.read_text_lines(text), strict=True)
        try:
            header = next(reader, None)
        except lines.OverlongLineError:
            raise UserError(f"{path}:1: {OVERLONG_LINE}; give a csv file of text") from None
        except csv.Error as error:
            raise UserError(f"{path}:1: {BROKEN_CSV} in the header ({error}); mend it") from None
        if header is None:
            return
        if not _is_unicode(header):
            raise UserError(f"{path}:1: {INVALID_UTF8} in the header; give a csv file of UTF-8 text")
        columns.select(header, str(path))
        while (row := _next_csv_row(reader, header, path)) is not None:
            yield row


def _next_csv_row(reader: Reader, header: list[str], path: Path) -> Row | BadRow | None:
    fields: list[str] = []
    place = ""
    try:
        while not fields:  # an empty line is no row
            place = f"{path}:{reader.line_num + 1}"
            fields = next(reader)
    except StopIteration:
        return None
    # Where nobody knows where the next row begins, skipping this one would lose good ones or make up some.
    except lines.OverlongLineError:
        raise UserError(f"{place}: {OVERLONG_LINE}; split it, or remove what is no text") from None
    except csv.Error as error:
        if "field limit" in str(error):
            raise UserError(
                f"{place}: a field is larger than {lines.LONGEST_LINE >> 20} MiB; if a quote is never closed, close "
                "it, or double it as csv does"
            ) from None
        if "unexpected end of data" in str(error):
            raise UserError(
                f"{place}: a quote is opened and never closed; close it, or double it as csv does"
            ) from None
        return BadRow(place, BROKEN_CSV, f" ({error})")
    if not _is_unicode(fields):
        return BadRow(place, INVALID_UTF8)
    if len(fields) != len(header):
        return BadRow(place, WRONG_FIELD_COUNT, f" ({len(fields)} instead of {len(header)})")
    return Row(place, dict(zip(header, fields, strict=True)))


def _read_paired(documents: Path, summaries: Path, columns: Columns) -> Iterator[Row | BadRow]:
    with (
        reporting_damage(documents),
        lines.open_file(documents) as left,
        reporting_damage(summaries),
        lines.open_file(summaries) as right,
    ):
        pairs = zip_longest(lines.read_lines(left), lines.read_lines(right))
        for number, (document, summary) in enumerate(pairs, start=1):
            if document is None or summary is None:
                longer, shorter = (summaries, documents) if document is None else (documents, summaries)
                yield BadRow(f"{longer}:{number}", UNPAIRED_LINE, f" {shorter.name}")
            elif isinstance(document, lines.Unread) or isinstance(summary, lines.Unread):
                path = documents if isinstance(document, lines.Unread) else summaries
                yield BadRow(f"{path}:{number}", OVERLONG_LINE)
            else:
                yield _pair_row(f"{documents}:{number}", document, summary, columns)


def _pair_row(place: str, document: bytes, summary: bytes, columns: Columns) -> Row | BadRow:
    try:
        return Row(place, {columns.document: document.decode("utf-8"), columns.summary: summary.decode("utf-8")})
    except UnicodeDecodeError:
        return BadRow(place, INVALID_UTF8)


@contextmanager
def reporting_damage(path: Path, *more: type[Exception]) -> Iterator[None]:
    """A file that cannot be read, or read to its end, is the user's to mend."""
    faults: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, *more)
    try:
        yield
    except faults as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} cannot be read ({reason}); check that it is whole and of the format it is named for"
        ) from error


def _is_unicode(fields: Iterable[str]) -> bool:
    try:
        for field in fields:
            field.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _column_fault(column: str, available: Sequence[str]) -> str:
    fault = f'no column "{column}"' if column not in available else f'more than one column "{column}"'
    return f"{fault} among {_listing(available)}"


def _listing(names: Iterable[str]) -> str:
    """Names for a message, which stays a line of some length whatever the file calls its columns."""
    shown = [f"{name[:40]}…" if len(name) > 40 else name for name in islice(names, 21)]
    readable = ["".join(letter if letter.isprintable() else "?" for letter in name) for name in shown]
    return ", ".join([*readable[:20], *(["…"] if len(shown) > 20 else [])]) or "none"


def _column_way_out(key: str) -> str:
    return f"set data.{key} to one that is there"
