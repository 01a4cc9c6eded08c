"""A newest checkpoint that is not what this run wrote: skipped with a warning, and the result is as if it were not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from harness import KILLED, MakeRun, Run, tiny_config

from summarizer import Summarizer
from summarizer.checkpoint import CheckpointError

pytestmark = pytest.mark.slow

NEWEST, BEFORE = 6, 4


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Run:
    """A run with two checkpoints, killed before its third. Look, do not touch."""
    folder = tmp_path_factory.mktemp("killed")
    run = Run(tiny_config(folder / "run", shared_cache), folder)
    assert run.attempt(kill_at="os.mkdir(.tmp-step-0000009)") == KILLED
    return run


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Run:
    """The same with another seed, stopped where its newest checkpoint has the same step."""
    folder = tmp_path_factory.mktemp("stranger")
    config = replace(tiny_config(folder / "run", shared_cache, max_steps=NEWEST), seed=2)
    run = Run(config, folder)
    assert run.attempt() == 0, run.output
    return run


@pytest.fixture
def copied(killed: Run, make_run: MakeRun) -> Run:
    """The killed run in a folder of the test's own."""
    run = make_run()
    shutil.copytree(killed.folder, run.folder)
    shutil.copy(killed.notes / "seen.jsonl", run.notes / "seen.jsonl")
    return run


def checkpoint_of(run: Run, step: int = NEWEST) -> Path:
    return run.folder / "checkpoints" / f"step-{step:07d}"


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (tear, "model.safetensors"),
    (tear, "manifest.json"),
    (empty, "trainer.json"),
    (flip, "model.safetensors"),
    (flip, "trainer.safetensors"),
    (flip, "manifest.json"),
    (Path.unlink, "trainer.safetensors"),
    (Path.unlink, "manifest.json"),
]


@pytest.mark.parametrize(("damage", "name"), DAMAGES, ids=[f"{damage.__name__}-{name}" for damage, name in DAMAGES])
def test_a_damaged_newest_checkpoint_is_skipped(
    damage: Callable[[Path], None], name: str, copied: Run, whole: Run
) -> None:
    damage(checkpoint_of(copied) / name)
    assert_goes_on_from_the_one_before(copied, whole, told=name)


def test_the_checkpoint_of_another_run_is_skipped(copied: Run, stranger: Run, whole: Run) -> None:
    shutil.rmtree(checkpoint_of(copied))
    shutil.copytree(checkpoint_of(stranger), checkpoint_of(copied))
    assert Summarizer.from_run(copied.folder, checkpoint="last").step == BEFORE, "whoever summarizes uses the same one"
    with pytest.raises(CheckpointError, match="is of another run"):
        Summarizer.from_run(copied.folder, checkpoint=str(NEWEST))
    assert_goes_on_from_the_one_before(copied, whole, told="is of another run (seed was 2 and is 34)")


def test_a_checkpoint_under_the_name_of_another_step_is_skipped(copied: Run, whole: Run) -> None:
    shutil.rmtree(checkpoint_of(copied))
    shutil.copytree(checkpoint_of(copied, BEFORE), checkpoint_of(copied))
    assert_goes_on_from_the_one_before(copied, whole, told=f"it is that of step {BEFORE}")


def assert_goes_on_from_the_one_before(run: Run, whole: Run, *, told: str) -> None:
    assert run.attempt() == 0, run.output
    (warning,) = [line for line in run.output.splitlines() if line.startswith("warning: ")]
    assert warning.startswith("warning: skipped a checkpoint: ")
    assert str(checkpoint_of(run)) in warning
    assert told in warning
    assert f"continued after step {BEFORE}" in run.output
    assert run.differences(whole) == []


def test_without_a_valid_checkpoint_one_line_says_so_and_nothing_is_changed(copied: Run) -> None:
    for step in (BEFORE, NEWEST):
        flip(checkpoint_of(copied, step) / "model.safetensors")
    best = (copied.folder / "best.json").read_bytes()
    assert copied.attempt() == 2
    (error,) = copied.errors
    assert "has 2 checkpoints, and none can be used" in error
    assert "Traceback" not in copied.output
    assert (copied.folder / "best.json").read_bytes() == best
    assert (
        max(copied.examples())
        == json.loads((copied.notes / "seen.jsonl").read_text(encoding="utf-8").splitlines()[-1])["update"][0]
    ), "no update was done"
