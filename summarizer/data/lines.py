"""A file of lines in, its lines out; one that does not end costs no memory.

A megabyte of gzip can hold a gigabyte without a newline, and so can a file that is no text.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import BinaryIO, TextIO, cast

LONGEST_LINE = 1 << 27  # bytes: 128 MiB, a hundred long novels

_PIECE = 1 << 20  # bytes skipped at once
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Unread(Enum):
    """What stands for a line in place of its bytes."""

    too_long = "too long"


class OverlongLineError(Exception):
    """A line of a text is longer than LONGEST_LINE."""


def open_file(path: Path) -> BinaryIO:
    """``path``, unpacked if its name ends in .gz."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def read_lines(file: BinaryIO) -> Iterator[bytes | Unread]:
    """Lines end at a newline byte only: U+2028 and its kind are text. The byte order mark of the first is left out."""
    is_first = True
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            yield Unread.too_long
            while line and not line.endswith(b"\n"):
                line = file.readline(_PIECE)
        else:
            yield line.removeprefix(_BYTE_ORDER_MARK) if is_first else line
        is_first = False


def read_text_lines(text: TextIO) -> Iterator[str]:
    """The lines of ``text``, by its own idea of where they end. Raises OverlongLineError."""
    while line := text.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise OverlongLineError
        yield line
