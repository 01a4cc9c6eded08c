"""A save that fails, is killed or loses power leaves whole checkpoints, and nothing else."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from summarizer import checkpoint as ckpt
from summarizer.checkpoint import saving
from summarizer.errors import UserError

Save = Callable[..., Path]
Weights = Callable[[int], dict[str, Tensor]]
OneLine = Callable[[pytest.ExceptionInfo[UserError]], str]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("reason", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_previous_checkpoints_and_nothing_else(
    tmp_path: Path, save: Save, weights: Weights, monkeypatch: pytest.MonkeyPatch, member: str, reason: BaseException
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)

    def write_half(path: Path, *parts: bytes | memoryview) -> None:
        content = b"".join(parts)
        path.write_bytes(content[: len(content) // 2] if path.name == member else content)
        if path.name == member:
            raise reason

    monkeypatch.setattr(saving, "write_synced", write_half)
    expected = ckpt.CheckpointError if isinstance(reason, OSError) else KeyboardInterrupt
    for step in (2, 3):  # one that replaces, one that is new
        with pytest.raises(expected):
            save(tmp_path, step, weights(99))
    assert names_in(tmp_path / "checkpoints") == ["step-0000001", "step-0000002"]
    latest = ckpt.load_latest(tmp_path)
    assert latest is not None
    assert_close(latest.model["layer.bias"], weights(2)["layer.bias"], rtol=0, atol=0)


def test_a_full_disk_is_named_in_one_line(
    tmp_path: Path, save: Save, one_line: OneLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ckpt.CheckpointError) as error:
        save(tmp_path, 3)
    assert "step-0000003 cannot be written: No space left" in one_line(error)


def test_a_power_cut_after_saving_loses_nothing(tmp_path: Path, save: Save, synced: set[int]) -> None:
    folder = save(tmp_path, 1)
    for path in (folder, folder.parent, tmp_path, *folder.iterdir()):
        assert path.stat().st_ino in synced, path
    ckpt.write_best(tmp_path, 1, "loss", 1.0)
    assert (tmp_path / "best.json").stat().st_ino in synced


@pytest.mark.parametrize("new_one_arrived", [False, True])
def test_a_crash_while_replacing_loses_nothing(
    tmp_path: Path, save: Save, weights: Weights, new_one_arrived: bool
) -> None:
    folder = save(tmp_path, 4, weights(1))
    folder.rename(folder.with_name(f".replaced-{folder.name}"))
    if new_one_arrived:
        new = save(tmp_path / "other", 4, weights(2))
        new.rename(folder)
    (folder.parent / ".tmp-step-0000005").mkdir()
    (folder.parent / ".tmp-step-0000005" / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".tmp-config.yaml-123").write_text("half")
    (tmp_path / ".tmp-folder").mkdir()
    ckpt.clean_temporary(tmp_path)
    assert names_in(folder.parent) == [folder.name]
    assert not list(tmp_path.glob(".tmp-*"))
    expected = weights(2 if new_one_arrived else 1)["layer.bias"]
    assert_close(ckpt.load_checkpoint(folder).model["layer.bias"], expected, rtol=0, atol=0)


def test_saving_a_step_again_replaces_it_and_clears_old_temporaries(
    tmp_path: Path, save: Save, weights: Weights
) -> None:
    folder = save(tmp_path, 4, weights(1))
    (folder.parent / ".tmp-step-0000003").mkdir()
    save(tmp_path, 4, weights(2))
    assert names_in(folder.parent) == [folder.name]
    assert_close(ckpt.load_checkpoint(folder).model["layer.bias"], weights(2)["layer.bias"], rtol=0, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_never_saved(
    tmp_path: Path, save: Save, one_line: OneLine, value: float
) -> None:
    with pytest.raises(ckpt.CheckpointError) as error:
        save(tmp_path, 3, {"good": torch.ones(2), "bad.weight": torch.tensor([1.0, value])})
    assert "bad.weight" in one_line(error)
    assert not (tmp_path / "checkpoints").exists()


def test_weights_whose_sum_is_too_large_for_their_type_are_saved(tmp_path: Path, save: Save) -> None:
    large = torch.full((2,), 3e38)
    assert not large.sum().isfinite()
    folder = save(tmp_path, 3, {"large": large})
    assert torch.equal(ckpt.load_checkpoint(folder).model["large"], large)


def test_a_snapshot_is_what_the_tensors_were(tmp_path: Path) -> None:
    tensor = torch.zeros(3)
    tensors = {"a": tensor, "same": tensor}
    snapshot = ckpt.take_snapshot(3, model=tensors, trainer_tensors={"b": tensor}, trainer_state={})
    tensor.fill_(1.0)
    loaded = ckpt.load_checkpoint(ckpt.write_checkpoint(tmp_path, snapshot))
    for each in (loaded.model["a"], loaded.model["same"], loaded.trainer_tensors["b"]):
        assert torch.equal(each, torch.zeros(3))


def test_a_snapshot_in_the_memory_of_an_earlier_one_is_no_other(tmp_path: Path, weights: Weights) -> None:
    first = ckpt.take_snapshot(1, model=weights(1), trainer_tensors={}, trainer_state={})
    wanted = {**weights(2), "layer.bias": torch.ones(7).half(), "transposed": weights(3)["layer.weight"].T}
    second = ckpt.take_snapshot(2, model=wanted, trainer_tensors={}, trainer_state={}, reuse=first)
    memory = [content.tensors["model.safetensors"]["layer.weight"].data_ptr() for content in (first, second)]
    assert memory[0] == memory[1]
    loaded = ckpt.load_checkpoint(ckpt.write_checkpoint(tmp_path, second)).model
    for name, tensor in wanted.items():
        assert loaded[name].dtype is tensor.dtype
        assert torch.equal(loaded[name], tensor), name


@pytest.mark.slow
def test_kill_at_any_moment_of_saving_leaves_a_whole_checkpoint(tmp_path: Path, save: Save) -> None:
    save(tmp_path, 1)
    program = (
        "import sys, torch; from pathlib import Path; from summarizer.checkpoint import save_checkpoint\n"
        "print('ready', flush=True)\n"
        "step = 2\n"
        "while True:\n"
        "    save_checkpoint(Path(sys.argv[1]), step, model={'w': torch.ones(50_000)}, trainer_tensors={},"
        " trainer_state={}); print(step, flush=True); step = 2 + step % 3\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(6):
            process.stdout.readline()
        process.kill()
    ckpt.clean_temporary(tmp_path)
    folders = ckpt.list_checkpoints(tmp_path)
    assert len(folders) == 4
    assert [ckpt.load_checkpoint(folder).step for folder in folders] == [1, 2, 3, 4]
    assert names_in(tmp_path / "checkpoints") == [folder.name for folder in folders]
