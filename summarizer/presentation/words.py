"""Token pieces in; the running text they make, and the words that summary and document share, out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from summarizer.tokenizer import END_PIECE, NEWLINE_LABEL

_WORD = re.compile(r"\w+(?:['\u2019]\w+|(?<=\d)[.,]\d+)*")  # it's; 12,500
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # how SentencePiece writes a byte of a rare character


class SharedWords(NamedTuple):
    """The number of the word that each token is part of; -1 where it is part of none that both sides have."""

    source_S: list[int]
    target_T: list[int]


def token_texts(pieces: Sequence[str]) -> list[str]:
    """What each token adds to the running text; joined, they are the text with a space before its first word.

    Of a character spelled in bytes, the first byte adds it and the others add nothing, as the end token does.
    """
    texts: list[str] = []
    waiting: list[str] = []  # byte pieces
    for piece in pieces:
        if byte := _BYTE.fullmatch(piece):
            waiting.append(byte[1])
            continue
        texts += _spelled(waiting)
        waiting = []
        texts.append("" if piece == END_PIECE else "\n" if piece == NEWLINE_LABEL else piece.replace("▁", " "))
    return texts + _spelled(waiting)


def shared_words(source_texts: Sequence[str], target_texts: Sequence[str]) -> SharedWords:
    """Whole words, whatever their case and however many tokens they take: "art" is no part of "party"."""
    source_words, target_words = _words(source_texts), _words(target_texts)
    shared = (set(source_words) & set(target_words)) - {None}
    numbers = {word: number for number, word in enumerate(sorted(word for word in shared if word is not None))}
    return SharedWords(
        *([-1 if word is None else numbers.get(word, -1) for word in words] for words in (source_words, target_words))
    )


def words_in(text: str) -> list[str]:
    """The words of a running text without their case; a number with its point or comma is one."""
    return [found[0].casefold() for found in _WORD.finditer(text)]


def written_words(texts: Sequence[str]) -> list[range]:
    """The tokens of each word as people see one: what stands between two white spaces, and the space before it.

    A line break belongs to the word after it; so does what adds nothing to the text, as the end token, to the one
    before it.
    """
    words: list[range] = []
    start = 0
    for place in range(1, len(texts) + 1):
        if place == len(texts) or (texts[place][:1].isspace() and "".join(texts[start:place]).strip()):
            words.append(range(start, place))
            start = place
    return words


def _spelled(hexadecimals: Sequence[str]) -> list[str]:
    """The texts of byte pieces that follow one another."""
    content = bytes.fromhex("".join(hexadecimals))
    texts: list[str] = []
    while len(texts) < len(content):
        texts += _first_character(content[len(texts) :])
    return texts


def _first_character(content: bytes) -> list[str]:
    """The texts of the bytes that ``content`` spells its first character with; U+FFFD for a byte that spells none."""
    for length in range(1, 5):
        try:
            return [content[:length].decode("utf-8")] + [""] * (length - 1)
        except UnicodeDecodeError:
            continue
    return ["\ufffd"]


def _words(texts: Sequence[str]) -> list[str | None]:
    """The word that each token is part of: the first one, if a token holds several."""
    running = "".join(texts)
    word_at: list[str | None] = [None] * len(running)
    for found in _WORD.finditer(running):
        word_at[found.start() : found.end()] = [found[0].casefold()] * len(found[0])
    words: list[str | None] = []
    end = 0
    for text in texts:
        start, end = end, end + len(text)
        words.append(next((word for word in word_at[start:end] if word is not None), None))
    return words
