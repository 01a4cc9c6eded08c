import sys
from pathlib import Path

import pytest

from summarizer.commands.hints import script_command, tensorboard_command


@pytest.fixture
def in_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell in a project folder whose .venv runs scripts/train.py, while `python` is not on the path."""
    interpreter = tmp_path / ".venv" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text("#!/bin/sh\n")
    interpreter.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    monkeypatch.setattr(sys, "argv", ["scripts/train.py", "seed=1"])
    monkeypatch.setenv("PATH", "/nowhere")
    return interpreter


def test_the_next_command_names_the_environment_that_runs(in_environment: Path) -> None:
    assert script_command("evaluate", "run=outputs/a") == ".venv/bin/python scripts/evaluate.py run=outputs/a"
    assert tensorboard_command("outputs/a") == ".venv/bin/python -m tensorboard.main --logdir outputs/a"


def test_an_activated_environment_is_just_python(in_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(in_environment.parent))
    assert script_command("evaluate", "run=a") == "python scripts/evaluate.py run=a"


def test_from_another_folder_the_paths_still_lead_there(
    in_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, "argv", ["../scripts/train.py"])
    assert script_command("generate") == f"{in_environment} ../scripts/generate.py"


def test_a_path_with_a_space_is_quoted(in_environment: Path) -> None:
    assert script_command("evaluate", "run=my run").endswith("'run=my run'")
