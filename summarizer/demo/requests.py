"""The body of a request in; what to summarize and how, or a refusal with its status, out."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any

from summarizer.config import DecodingOverrides
from summarizer.decoding.reading import LongDocument
from summarizer.demo.form import MOST, MOST_SUMMARIES, TYPES

MOST_CHARACTERS = 100_000  # of a text; some 15,000 words
MOST_BYTES = 6 * MOST_CHARACTERS + 10_000  # of a body: a character takes at most six as JSON, the settings few
_PARTS = ("run", "text", "summaries", "decoding", "prefix", "long_document")
_LONGEST_PREFIX = 1_000  # characters
_MOST_CONTROL_CHARACTERS = 0.01  # of a text, as a share


class Refusal(Exception):  # noqa: N818 - nothing has gone wrong here
    """What the client is told instead of a result. The message is for people and holds nothing of this machine."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class SummaryRequest:
    """One text to summarize with one run."""

    run: int  # number of the run on the page
    text: str
    summaries: int  # how many to show
    decoding: DecodingOverrides
    prefix: str = ""  # what each summary begins with
    long_document: LongDocument | None = None  # None: as the page was opened with


def parse(body: bytes, *, runs: int) -> SummaryRequest:
    """A request as the page sends it. Raises Refusal for anything else.

    :param runs: how many there are.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad(f"the request is not UTF-8 text (byte {error.start})") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad("the request is not JSON") from error
    if not isinstance(content, dict):
        raise bad("the request must be a JSON object")
    unknown = set(content) - set(_PARTS)
    if unknown:
        raise bad(f"{min(unknown)} is not a part of a request: it has {', '.join(_PARTS)}")
    return SummaryRequest(
        run=_whole_number(content.get("run", 0), "run", most=runs - 1),
        text=_text(content.get("text")),
        summaries=_whole_number(content.get("summaries", 1), "summaries", least=1, most=MOST_SUMMARIES),
        decoding=_decoding(content.get("decoding", {})),
        prefix=_prefix(content.get("prefix", "")),
        long_document=_long_document(content.get("long_document")),
    )


def bad(message: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, message)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise bad("text must be a string: the text to summarize")
    if not value.strip():
        raise bad("there is no text to summarize: paste or type one")
    if len(value) > MOST_CHARACTERS:
        raise Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the text has {len(value):,} characters and may have {MOST_CHARACTERS:,}: shorten it",
        )
    odd = sum((character < " " and not character.isspace()) or character == "\ufffd" for character in value)
    if "\0" in value or odd > _MOST_CONTROL_CHARACTERS * len(value):
        raise bad("this looks like the content of a binary file and not like text: save it as plain text first")
    return value


def _prefix(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise bad("prefix must be a text: what each summary begins with")
    if len(value) > _LONGEST_PREFIX:
        raise bad(f"prefix has {len(value):,} characters and may have {_LONGEST_PREFIX:,}: shorten it")
    return value


def _long_document(value: object) -> LongDocument | None:
    return None if value is None else _setting("long_document", value, LongDocument)


def _decoding(value: object) -> DecodingOverrides:
    if not isinstance(value, dict):
        raise bad("decoding must be a JSON object of settings")
    chosen = {}
    for name, given in value.items():
        if name not in TYPES:
            raise bad(f"decoding.{name} is not a setting; the settings are {', '.join(sorted(TYPES))}")
        if given is not None:
            chosen[name] = _setting(f"decoding.{name}", given, TYPES[name])
    for name, most in MOST.items():
        if chosen.get(name, 0) > most:
            raise bad(f"decoding.{name} ({chosen[name]}) may be at most {most} on this page")
    return DecodingOverrides(**chosen)


def _setting(name: str, given: object, kind: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        if isinstance(given, str) and given in kind.__members__:
            return kind[given]
        raise bad(f"{name} must be one of {', '.join(kind.__members__)}")
    if kind is bool:
        if isinstance(given, bool):
            return given
        raise bad(f"{name} must be true or false")
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise bad(f"{name} must be a number")
    if kind is float:
        return float(given)
    if given != int(given):
        raise bad(f"{name} ({given}) must be a whole number")
    return int(given)


def _whole_number(given: object, name: str, *, least: int = 0, most: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise bad(f"{name} must be a whole number from {least} to {most}")
    return given
