"""Texts of strangers in, the same as a terminal may show them out."""

from __future__ import annotations


def printable(text: str) -> str:
    """Without what moves a terminal's cursor, colours it or cannot be shown: an article, an id or a file name may hold
    that. Newlines stay, other white space becomes a space, and the rest question marks.
    """
    return "".join(map(_shown, text)) if not text.isprintable() else text


def _shown(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return " " if character.isspace() else "?"
