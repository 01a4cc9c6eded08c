"""A data configuration and the name of a split in, its valid examples and a report of those left out, out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Protocol

from summarizer.data.config import SPLITS, BadRowPolicy, DataConfig
from summarizer.data.example import Example
from summarizer.data.files import SplitFiles, find_split_files
from summarizer.data.hub import HubRows, load_hub_split
from summarizer.data.readers import BadRow, Columns, Row, read_rows, reporting_damage
from summarizer.errors import UserError

_BYTES_PER_READ = 1 << 20


@dataclass
class ReadReport:
    """What one pass over a split met."""

    rows_read: int = 0  # rows looked at, good or bad
    rows_skipped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # why rows were skipped -> how many

    def skip(self, reason: str) -> None:
        self.rows_skipped += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(self.reasons.items()))
        return f"{self.rows_read} rows read, {self.rows_skipped} skipped" + (f" ({reasons})" if reasons else "")


class RowSource(Protocol):
    """Where a split reads its rows: each iteration starts anew and gives the same."""

    place: str  # for messages

    def __iter__(self) -> Iterator[Row | BadRow]: ...

    def content_hash(self) -> str: ...


class FileRows:
    """The rows of local files."""

    def __init__(self, files: SplitFiles, columns: Columns) -> None:
        self.place = ", ".join(str(path) for path in files.paths)
        self._files = files
        self._columns = columns

    def __iter__(self) -> Iterator[Row | BadRow]:
        return read_rows(self._files, self._columns)

    def content_hash(self) -> str:
        """Hash of the bytes of the files, whatever their names and dates."""
        digest = hashlib.sha256(self._files.format.value.encode())
        for path in self._files.paths:
            with reporting_damage(path), path.open("rb") as file:
                digest.update(b"%d " % path.stat().st_size)
                while data := file.read(_BYTES_PER_READ):
                    digest.update(data)
        return digest.hexdigest()


class Split:
    """The examples of one split, streamed: each iteration reads the source anew and gives the same."""

    def __init__(
        self, name: str, rows: RowSource, columns: Columns, *, on_bad_row: BadRowPolicy, limit: int | None
    ) -> None:
        self.name = name
        self.report = ReadReport()  # of the latest iteration; complete when that has ended
        self._rows = rows
        self._columns = columns
        self._on_bad_row = on_bad_row
        self._limit = limit
        self._content_hash: str | None = None

    def __iter__(self) -> Iterator[Example]:
        """Yield up to ``limit`` examples; UserError at a bad row that is not skipped, or if none is good."""
        self.report = report = ReadReport()
        found = 0
        for row in self._rows:
            report.rows_read += 1
            example = self._to_example(row, number=report.rows_read)
            if isinstance(example, BadRow):
                self._reject(example, report)
                continue
            found += 1
            yield example
            if found == self._limit:
                return
        if found == 0:
            raise UserError(
                f'split "{self.name}" ({self._rows.place}) must have at least one usable row but has none'
                f" ({report}); check the files and data.document_column, data.summary_column"
            )

    def content_hash(self) -> str:
        """Equal for equal content read by equal rules, whatever its folder and date."""
        if self._content_hash is None:
            rules = [self.name, asdict(self._columns), self._on_bad_row.value, self._limit]
            key = json.dumps([self._rows.content_hash(), *rules])
            self._content_hash = hashlib.sha256(key.encode()).hexdigest()
        return self._content_hash

    def _to_example(self, row: Row | BadRow, number: int) -> Example | BadRow:
        if isinstance(row, BadRow):
            return row
        document, summary = row.values[self._columns.document], row.values[self._columns.summary]
        name = self._name_of(row, number)
        for role, value in (("document", document), ("summary", summary), ("id", name)):
            if fault := _fault_of(value):
                return BadRow(row.place, f"{role} {fault}")
        return Example(id=str(name), document=_clean(str(document)), summary=_clean(str(summary)))

    def _name_of(self, row: Row, number: int) -> object:
        name = row.values.get(self._columns.id) if self._columns.id else None
        if name is None or name == "":
            return f"{self.name}-{number}"
        return str(name) if type(name) is int else name  # a bool is an int too, and no name

    def _reject(self, row: BadRow, report: ReadReport) -> None:
        if self._on_bad_row is BadRowPolicy.error:
            raise UserError(
                f"{row.place}: {row.reason}{row.detail}; mend the row, or leave out and count such rows with"
                " data.on_bad_row=skip"
            )
        report.skip(row.reason)


def open_split(config: DataConfig, split: str) -> Split:
    """Open "train", "validation" or "test". ``config.path``, where set, is read instead of the Hub."""
    if split not in SPLITS:
        raise UserError(f"split ({split}) must be one of {', '.join(SPLITS)}; data.{{split}}_split renames them")
    columns = Columns(config.document_column, config.summary_column, config.id_column)
    name = config.source_name(split)
    rows: RowSource
    if config.path:
        rows = FileRows(find_split_files(config.path, name, is_test=split == "test"), columns)
    else:
        rows = HubRows(load_hub_split(config, name), columns, f"{config.hub_id} {name}")
    return Split(split, rows, columns, on_bad_row=config.on_bad_row, limit=config.limit.of(split))


def _fault_of(value: object) -> str | None:
    """Why ``value`` cannot be a text of ours, if so."""
    if value is None:
        return "is null"
    if not isinstance(value, str):
        return f"is not text but {type(value).__name__}"
    if not value.strip():
        return "is empty"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "has a lone surrogate, which no text may hold"
    return None


def _clean(text: str) -> str:
    """Newlines stay: in a summary they separate sentences."""
    return text.replace("\r\n", "\n").strip()
