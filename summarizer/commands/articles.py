"""The texts that a user wants summarized: from the command line, a file, a folder of files, or standard input."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from summarizer.config import GenerateConfig
from summarizer.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Article:
    """A text to summarize, and what to call it in messages and in a .jsonl output."""

    id: str
    text: str


def read_articles(config: GenerateConfig) -> list[Article]:
    """One article from ``text``, a text file or standard input; one per line of a .jsonl file or text of a folder.

    Raises UserError for one that cannot be read or holds no text, and if there is none.
    """
    articles = _read(config)
    if not articles:
        raise UserError(f"input ({config.input}) holds no text to summarize: give it at least one line")
    for article in articles:
        if not article.text.strip():
            raise UserError(f"{article.id} holds no text to summarize: give it some, or leave it out")
    return articles


def is_folder(path: str | None) -> bool:
    return path is not None and Path(path).is_dir()


def _read(config: GenerateConfig) -> list[Article]:
    if config.text is not None:
        return [Article("text", config.text)]
    if config.input is None:
        if sys.stdin.isatty():
            logger.info("type or paste a text, then end it with Ctrl-D")
        return [Article("standard input", _decode(sys.stdin.buffer.read(), "standard input"))]
    path = Path(config.input)
    if path.is_dir():
        return _read_folder(path)
    text = _read_file(path)
    if path.suffix != ".jsonl":
        return [Article(str(path), text)]
    lines = text.split("\n")
    return [_from_json(line, f"{path}:{n}", config.column) for n, line in enumerate(lines, 1) if line.strip()]


def _read_folder(folder: Path) -> list[Article]:
    """Every .txt file of it, by name."""
    files = sorted(file for file in folder.glob("*.txt") if file.is_file() and not file.name.startswith("."))
    if not files:
        raise UserError(f"input ({folder}) is a folder without a .txt file: put one text into each, or name one file")
    return [Article(file.name, _read_file(file)) for file in files]


def _read_file(path: Path) -> str:
    try:
        return _decode(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(
            f"input ({path}) cannot be read: {error.strerror}; check the path, or give a text itself as text="
        ) from error


def _from_json(line: str, place: str, column: str) -> Article:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON ({error}): write one object a line") from error
    if not isinstance(row, dict) or not isinstance(row.get(column), str):
        keys = f"its keys are {', '.join(map(str, row))}" if isinstance(row, dict) else "it is no object"
        raise UserError(f"{place} must have a text under {column} but {keys}: set column=<key>")
    article = Article(str(row.get("id", place)), row[column])
    for name, value in (("id", article.id), (column, article.text)):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise UserError(f"{place} has a lone surrogate in {name}, which no text may hold: mend the line")
    return article


def _decode(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{place} is not UTF-8 text (byte {error.start}): convert it first") from error
