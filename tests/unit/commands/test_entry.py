"""What the user can mend costs one line and status 2; what we must mend, a traceback."""

from __future__ import annotations

import errno
import io
import os
import sys

import pytest
from omegaconf import OmegaConf

from summarizer.commands.entry import execute, run
from summarizer.config import InspectRunConfig
from summarizer.errors import EXIT_USER_ERROR, UserError


def refusal(error: Exception, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that raises ``error`` says of it."""

    def command(config: InspectRunConfig) -> None:
        raise error

    with pytest.raises(SystemExit) as leaving:
        execute(command, OmegaConf.structured(InspectRunConfig(run="outputs/mine")), InspectRunConfig)
    assert leaving.value.code == EXIT_USER_ERROR
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EROFS])
def test_a_path_that_cannot_be_used_is_named_in_one_line(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(OSError(number, os.strerror(number), "/home/somebody/data"), capsys)
    assert line.startswith("error: /home/somebody/data cannot be used: ")
    assert "check the path" in line


def test_a_very_long_path_is_cut_in_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(refusal(OSError(errno.ENAMETOOLONG, "File name too long", "a" * 9999), capsys)) < 400


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error", "x"), OSError("no number"), KeyError("x")])
def test_what_is_not_the_users_to_mend_stays_an_error(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(type(error)):
        refusal(error, capsys)


def test_a_message_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(UserError("id \x1b[2J\nis twice"), capsys) == "error: id ?[2J is twice\n"


def test_a_letter_that_the_terminal_lacks_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["inspect_run.py"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    run(lambda: print("café …"))
    assert written.getvalue() == b"caf\\xe9 \\u2026\n"
