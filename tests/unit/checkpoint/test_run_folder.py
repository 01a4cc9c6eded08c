"""A run folder gives the checkpoint asked for, or the newest that is whole, and says which and why."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor
from torch.testing import assert_close

from summarizer import checkpoint as ckpt
from summarizer.errors import UserError

Save = Callable[..., Path]
Weights = Callable[[int], dict[str, Tensor]]
OneLine = Callable[[pytest.ExceptionInfo[UserError]], str]

DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 4),
    "text": lambda path: path.write_text("hello"),
    "missing": lambda path: path.unlink(),
    "list": lambda path: path.write_text("[]"),
    "nested": lambda path: path.write_text("[" * 100_000),
    "folder": lambda path: path.rename(path.with_name("moved")).parent.joinpath(path.name).mkdir(),
}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_newest_checkpoint_falls_back_with_a_warning(
    tmp_path: Path, save: Save, caplog: pytest.LogCaptureFixture, member: str, kind: str
) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    DAMAGE[kind](newest / member)
    with caplog.at_level(logging.WARNING, "summarizer"):
        latest = ckpt.load_latest(tmp_path)
    assert latest is not None
    assert latest.step == 1
    assert len(caplog.records) == 1
    assert str(newest / member) in caplog.text


def test_without_any_whole_checkpoint_training_does_not_start_anew(
    tmp_path: Path, save: Save, one_line: OneLine
) -> None:
    assert ckpt.load_latest(tmp_path) is None
    for step in (1, 2):
        (save(tmp_path, step) / "manifest.json").unlink()
    with pytest.raises(ckpt.CheckpointError) as error:
        ckpt.load_latest(tmp_path)
    assert "none can be used" in one_line(error)


def test_checkpoints_are_listed_by_number_without_foreign_names(tmp_path: Path, save: Save) -> None:
    assert ckpt.list_checkpoints(tmp_path) == []
    expected = [save(tmp_path, step) for step in (9_999_999, 10_000_000, 20)]
    for name in ("step-12", "step-0000001.bak", "notes", ".tmp-step-0000001"):
        (tmp_path / "checkpoints" / name).mkdir()
    (tmp_path / "checkpoints" / "step-0000002").touch()
    assert ckpt.list_checkpoints(tmp_path) == [expected[2], expected[0], expected[1]]


@pytest.mark.parametrize(
    ("keep_last", "protect", "kept"),
    [(1, [], [5]), (2, [1, 77], [1, 4, 5]), (9, [], [1, 2, 3, 4, 5]), (1, [5], [5])],
)
def test_prune_keeps_the_newest_and_the_protected(
    tmp_path: Path, save: Save, keep_last: int, protect: list[int], kept: list[int]
) -> None:
    for step in range(1, 6):
        save(tmp_path, step)
    deleted = ckpt.prune(tmp_path, keep_last, protect)
    assert sorted(deleted + kept) == [1, 2, 3, 4, 5]
    assert names_in(tmp_path / "checkpoints") == [f"step-{step:07d}" for step in kept]


def test_a_failed_deletion_does_not_stop_training(
    tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        save(tmp_path, step)

    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    assert ckpt.prune(tmp_path, 1) == []
    assert "Permission denied" in caplog.text


def test_best_round_trip(tmp_path: Path) -> None:
    assert ckpt.read_best(tmp_path) is None
    ckpt.write_best(tmp_path, 3, "validation/rouge1", 0.25)
    ckpt.write_best(tmp_path, 5, "validation/rouge1", 0.5)
    assert ckpt.read_best(tmp_path) == ckpt.Best(step=5, metric="validation/rouge1", value=0.5)
    assert names_in(tmp_path) == ["best.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"step": "x", "metric": "m", "value": 1}', "\x00"])
def test_a_damaged_best_is_named_and_inference_goes_on_with_the_latest(
    tmp_path: Path, save: Save, one_line: OneLine, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    save(tmp_path, 2)
    (tmp_path / "best.json").write_text(content)
    with pytest.raises(ckpt.CheckpointError) as error:
        ckpt.read_best(tmp_path)
    assert "best.json" in one_line(error)
    assert ckpt.load_model_weights(tmp_path).step == 2
    assert "best.json" in caplog.text


def test_inference_takes_the_best_the_last_or_the_step_asked_for(tmp_path: Path, save: Save, weights: Weights) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    assert ckpt.load_model_weights(tmp_path).step == 3
    ckpt.write_best(tmp_path, 2, "loss", 1.0)
    assert ckpt.load_model_weights(tmp_path).step == 2
    assert ckpt.load_model_weights(tmp_path, "last").step == 3
    assert [ckpt.load_model_weights(tmp_path, which).step for which in (1, "1", "0000003")] == [1, 1, 3]
    assert_close(ckpt.load_model_weights(tmp_path, 1).model["layer.bias"], weights(1)["layer.bias"], rtol=0, atol=0)


def test_inference_needs_the_weights_alone(tmp_path: Path, save: Save) -> None:
    (save(tmp_path, 1) / "trainer.safetensors").unlink()
    assert ckpt.load_model_weights(tmp_path, 1).step == 1


def test_a_damaged_or_missing_best_is_replaced_by_the_latest_with_a_warning(
    tmp_path: Path, save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        save(tmp_path, step)
    for best in (1, 77):
        caplog.clear()
        ckpt.write_best(tmp_path, best, "loss", 1.0)
        (tmp_path / "checkpoints/step-0000001/model.safetensors").write_bytes(b"")
        assert ckpt.load_model_weights(tmp_path).step == 2
        assert f"step-{best:07d}" in caplog.text


@pytest.mark.parametrize("which", ["newest", "-1", "1.5", "../1", 8, ""])
def test_an_unknown_choice_of_checkpoint_lists_what_there_is(
    tmp_path: Path, save: Save, one_line: OneLine, which: str | int
) -> None:
    save(tmp_path, 3)
    with pytest.raises(UserError) as error:
        ckpt.load_model_weights(tmp_path, which)
    assert "saved steps: 3" in one_line(error)


def test_a_damaged_step_that_was_asked_for_is_not_replaced_by_another(tmp_path: Path, save: Save) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / "model.safetensors").write_bytes(b"")
    with pytest.raises(ckpt.CheckpointError):
        ckpt.load_model_weights(tmp_path, 2)


def test_weights_that_are_whole_and_not_to_be_used_are_passed_over_but_by_number(
    tmp_path: Path, save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse_last(weights: ckpt.ModelWeights) -> None:
        if weights.step == 3:
            raise ckpt.CheckpointError("step 3 is of another run")

    for step in (1, 2, 3):
        save(tmp_path, step)
    ckpt.write_best(tmp_path, 3, "loss", 1.0)
    for which in ("last", "best"):
        assert ckpt.load_model_weights(tmp_path, which, refuse_last).step == 2
    assert caplog.text.count("skipped a checkpoint: step 3 is of another run") == 3  # twice for the best
    with pytest.raises(ckpt.CheckpointError, match="another run"):
        ckpt.load_model_weights(tmp_path, 3, refuse_last)


def test_a_run_without_checkpoints_says_what_to_do(tmp_path: Path, one_line: OneLine) -> None:
    with pytest.raises(UserError) as error:
        ckpt.load_model_weights(tmp_path)
    assert "train" in one_line(error)


def test_a_folder_that_is_no_run_folder_is_refused(tmp_path: Path, one_line: OneLine) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError) as error:
            ckpt.require_run_folder(path)
        assert f"({path})" in one_line(error)
    (tmp_path / "config.yaml").touch()
    assert ckpt.require_run_folder(tmp_path) == tmp_path


@pytest.mark.parametrize("what", ["file", "link to nowhere", "unwritable"])
def test_a_new_run_folder_that_cannot_be_is_refused_in_one_line(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link to a disk that is not there once made it try for ever."""
    parent = tmp_path / "outputs"
    if what == "file":
        parent.touch()
    elif what == "link to nowhere":
        parent.symlink_to(tmp_path / "scratch" / "gone")
    else:
        monkeypatch.setattr(Path, "mkdir", _refuse)
    with pytest.raises(UserError, match=r"outputs (is no folder, or a link|cannot be written: Permission denied)"):
        ckpt.new_run_folder(parent)


def _refuse(path: Path, *_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_a_folder_of_runs_names_one_of_them(tmp_path: Path) -> None:
    """As that of a sweep, which is easily taken for a run."""
    with pytest.raises(UserError, match=r"give the run_dir of a training run"):
        ckpt.require_run_folder(tmp_path)
    for name in ("lr=1", "lr=2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    with pytest.raises(UserError, match=r"it holds 2, so name one of them, such as .*/lr=2$"):
        ckpt.require_run_folder(tmp_path)
