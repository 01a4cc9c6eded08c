"""What is evaluated: documents with their references, and the files that other people's predictions come in."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from summarizer.data.example import Example
from summarizer.errors import UserError

_PREDICTION_KEYS = ("prediction", "summary")  # ours, and what generate.py writes
_REFERENCE_KEYS = ("references", "reference", "summary")


@dataclass(frozen=True)
class Case:
    """A document and the summaries that people wrote for it."""

    id: str
    document: str  # empty where it is not known
    references: tuple[str, ...]  # raw and untruncated; at least one

    @classmethod
    def of(cls, example: Example) -> Case:
        return cls(example.id, example.document, (example.summary,))


def named_apart(cases: Sequence[Case]) -> list[Case]:
    """The same, where an id that an earlier case has too gets a number behind it: ``a``, ``a (2)``, ``a (3)``.

    Data may repeat an id; predictions are matched by it.
    """
    taken = {case.id for case in cases}
    times: dict[str, int] = {}
    apart = []
    for case in cases:
        name, number = case.id, times.get(case.id, 0) + 1
        while number > 1 and (name := f"{case.id} ({number})") in taken:
            number += 1
        times[case.id] = number
        taken.add(name)
        apart.append(replace(case, id=name))
    return apart


@dataclass(frozen=True)
class Line:
    """A line of a file of predictions or references."""

    place: str  # "<file>:<line>"
    id: str | None
    text: str | None  # the prediction
    references: tuple[str, ...]
    document: str


def read_predictions(path: Path, *, may_be_empty: bool) -> list[Line]:
    """One prediction a line: a JSON object with it as ``prediction`` or ``summary`` (.jsonl, .jsonl.gz), else the line.

    An object may also have ``id``, ``reference`` or ``references``, and ``document``.

    Raises UserError for a file without lines, a line without a prediction, an id that comes twice, and a prediction
    without text, unless that may be.
    """
    lines = _read(path, _PREDICTION_KEYS, ("references", "reference"))
    for line in lines:
        if line.text is None:
            raise UserError(
                f"{line.place} has no prediction: give it a text under one of {', '.join(_PREDICTION_KEYS)}"
            )
        if not line.text.strip() and not may_be_empty:
            raise UserError(
                f"{line.place} is an empty prediction: mend it, or let it score 0 with empty_predictions=true"
            )
    return lines


def read_references(path: Path) -> list[Line]:
    """One case a line: an object with ``references`` (a list), ``reference`` or ``summary``; or the reference itself.

    Raises UserError as :func:`read_predictions` does; an empty reference is never allowed.
    """
    lines = _read(path, (), _REFERENCE_KEYS)
    for line in lines:
        if not line.references:
            raise UserError(f"{line.place} has no reference: give it a text under one of {', '.join(_REFERENCE_KEYS)}")
    return lines


def cases_of(lines: Sequence[Line]) -> list[Case]:
    """Raises UserError for a line without a reference."""
    for line in lines:
        if not line.references:
            raise UserError(
                f"{line.place} has no reference beside its prediction: add it under reference, name a file of them "
                "with references=<file>, or a run whose split they are of with run=<folder>"
            )
    return [Case(line.id or str(number), line.document, line.references) for number, line in enumerate(lines, start=1)]


def in_order_of(cases: Sequence[Case], lines: Sequence[Line], whose: str) -> list[str]:
    """The predictions of ``lines`` for ``cases``: by id where every line has one, else in the order they come.

    :param whose: what to call the cases in messages.

    Raises UserError if they do not belong together.
    """
    first = lines[0].place.rpartition(":")[0]
    texts = [line.text or "" for line in lines]
    if all(line.id is not None for line in lines):
        by_id = {line.id: text for line, text in zip(lines, texts, strict=True)}
        missing = [case.id for case in cases if case.id not in by_id]
        unknown = set(by_id) - {case.id for case in cases}
        if missing or unknown:
            faults = [
                *_naming("have no line for", missing),
                *_naming("have a line for unknown", sorted(map(str, unknown))),
            ]
            raise UserError(
                f"predictions ({first}) do not match {whose}: they {' and '.join(faults)}; give one line for each id, "
                "or leave all ids out to match them in order"
            )
        return [by_id[case.id] for case in cases]
    if len(lines) != len(cases):
        raise UserError(
            f"predictions ({first}) are {len(lines):,} and must be {len(cases):,}, one line for each of {whose}"
        )
    return texts


def _naming(what: str, ids: Sequence[str]) -> list[str]:
    if not ids:
        return []
    return [f"{what} id {ids[0][:40]}" + (f" and {len(ids) - 1:,} more" if len(ids) > 1 else "")]


def _read(path: Path, prediction_keys: Sequence[str], reference_keys: Sequence[str]) -> list[Line]:
    text = _text_of(path)
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        rows = ((f"{path}:{number}", row) for number, row in enumerate(text.split("\n"), 1) if row.strip())
        lines = [_from_json(row, place, prediction_keys, reference_keys) for place, row in rows]
    elif prediction_keys:
        lines = [Line(f"{path}:{n}", None, row, (), "") for n, row in enumerate(_lines(text), 1)]
    else:
        places = ((f"{path}:{number}", row) for number, row in enumerate(_lines(text), 1))
        lines = [Line(place, None, None, _checked_references([row], place), "") for place, row in places]
    if not lines:
        raise UserError(f"{path} holds no lines and must have one for each example")
    repeated = [each for each, count in Counter(line.id for line in lines).items() if each is not None and count > 1]
    if repeated:
        raise UserError(f"{path} has more than one line for id {repeated[0][:40]}: leave one, or leave out all ids")
    return lines


def _lines(text: str) -> list[str]:
    """They end at a newline only: U+2028 and its kind are text, as where data is read."""
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def _text_of(path: Path) -> str:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason}): check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): convert it first") from error


def _from_json(content: str, place: str, prediction_keys: Sequence[str], reference_keys: Sequence[str]) -> Line:
    try:
        row = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON ({error}): write one object a line") from error
    if not isinstance(row, dict):
        raise UserError(f"{place} is not a JSON object: write one a line")
    prediction = next((row[key] for key in prediction_keys if key in row), None)
    references: Any = next((row[key] for key in reference_keys if key in row), [])
    document = row.get("document", "")
    name = row.get("id")
    for key, value in (("the prediction", prediction or ""), ("document", document), ("id", str(name))):
        if not isinstance(value, str) or not _is_text(value):
            raise UserError(f"{place}: {key} must be text and is {_kind(value)}")
    checked = _checked_references([references] if isinstance(references, str) else references, place)
    return Line(place, None if name is None else str(name), prediction, checked, document)


def _checked_references(references: object, place: str) -> tuple[str, ...]:
    if not isinstance(references, (list, tuple)) or not all(isinstance(r, str) and _is_text(r) for r in references):
        raise UserError(f"{place}: references must be a text or a list of texts")
    checked = tuple(str(each) for each in references)
    if not all(each.strip() for each in checked):
        raise UserError(f"{place} has an empty reference: mend it, or leave the line out")
    return checked


def _is_text(value: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _kind(value: object) -> str:
    return "a lone surrogate" if isinstance(value, str) else type(value).__name__
