"""What strangers wrote is shown, and does nothing."""

from __future__ import annotations

import logging

import pytest

from summarizer.runtime import configure_logging
from summarizer.terminal import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Plain text, naïve 漢字 😀\nand a line", "Plain text, naïve 漢字 😀\nand a line"),
        ("\x1b[2Jgone\x07", "?[2Jgone?"),
        ("a\tb\xa0c\u2028d\x85e", "a b c d e"),
        ("left\u202eright", "left?right"),  # which would turn the rest of the line around
        ("\udcff", "?"),
        ("", ""),
    ],
)
def test_only_what_steers_a_terminal_is_left_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_what_is_logged_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    package_logger = logging.getLogger("summarizer")
    saved = (package_logger.handlers[:], package_logger.level, package_logger.propagate)
    try:
        configure_logging()
        package_logger.warning("update 3 is skipped; examples: %s", "\x1b]0;title\x07")
    finally:
        package_logger.handlers[:], package_logger.level, package_logger.propagate = saved
    assert capsys.readouterr().err == "warning: update 3 is skipped; examples: ?]0;title?\n"
