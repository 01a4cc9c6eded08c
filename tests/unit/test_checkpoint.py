"""What a saved run promises: it comes back bit for bit, damage is seen, and no crash loses the one before."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from summarizer import checkpoint as ckpt
from summarizer.checkpoint import format, saving
from summarizer.errors import UserError

FILES = ["model.safetensors", "trainer.safetensors", "trainer.json", "manifest.json"]
STATE = {"epoch": 2, "best": None, "lr": 1e-4, "history": [1, 2.5, "é\n"], "nested": {"done": True}}


def weights(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "layer.weight": torch.randn(4, 6, generator=generator),
        "layer.bias": torch.randn(4, generator=generator),
    }


def save(run_dir: Path, step: int, model: dict[str, Tensor] | None = None) -> Path:
    moments = {"moment": torch.full((3,), float(step))}
    model = weights(step) if model is None else model
    return ckpt.save_checkpoint(run_dir, step, model=model, trainer_tensors=moments, trainer_state=STATE)


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())


def rewrite_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest as one would who knows how its checksum is made."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["checksum"]
    change(content)
    path.write_text(json.dumps({**content, "checksum": format.checksum(content)}))


def forge_member(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    rewrite_manifest(folder, lambda manifest: manifest["files"].update({name: entry}))


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert len(message) > 20
    return message


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The inodes that were synced, in place of waiting for the disk in every test."""
    inodes: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: inodes.add(os.fstat(descriptor).st_ino))
    return inodes


# Round trip


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool],
)
def test_tensors_of_every_type_and_shape_come_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    source = torch.arange(24).reshape(2, 3, 4).to(dtype)
    tensors = {
        "plain": source,
        "scalar": source[1, 0, 0],
        "empty": source[:0],
        "transposed": source.transpose(0, 2),
        "part": source[:, 1],
        "expanded": source[0, 0, 1].expand(5),
    }
    folder = ckpt.save_checkpoint(tmp_path, 7, model=tensors, trainer_tensors=tensors, trainer_state=STATE)
    loaded = ckpt.load_checkpoint(folder)
    assert (loaded.step, loaded.path, loaded.trainer_state) == (7, folder, STATE)
    for read in (loaded.model, loaded.trainer_tensors):
        assert read.keys() == tensors.keys()
        assert all(same_bits(read[name], tensors[name]) for name in tensors)


def test_non_finite_values_of_the_trainer_are_kept(tmp_path: Path) -> None:
    moments = {"moment": torch.tensor([float("inf"), -0.0])}
    folder = ckpt.save_checkpoint(tmp_path, 1, model=weights(), trainer_tensors=moments, trainer_state={})
    read = ckpt.load_checkpoint(folder).trainer_tensors["moment"]
    assert read.view(torch.int32).tolist() == moments["moment"].view(torch.int32).tolist()


def test_tied_weights_are_stored_once_and_all_names_return(tmp_path: Path) -> None:
    embedding = torch.randn(1000, 8)
    both = {"projection": embedding, "embedding": torch.nn.Parameter(embedding)}
    single = save(tmp_path / "single", 1, {"embedding": embedding})
    tied = save(tmp_path / "tied", 1, both)
    reordered = save(tmp_path / "reordered", 1, dict(reversed(both.items())))
    assert all((tied / name).read_bytes() == (reordered / name).read_bytes() for name in FILES)
    assert (single / FILES[0]).stat().st_size + 100 > (tied / FILES[0]).stat().st_size
    read = ckpt.load_checkpoint(tied).model
    assert same_bits(read["projection"], embedding)
    assert same_bits(read["embedding"], embedding)


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = save(tmp_path / "a", 5)
    second = save(tmp_path / "b", 5, dict(reversed(weights(5).items())))
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in FILES)


def test_loaded_tensors_can_be_trained_on(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    ckpt.load_checkpoint(folder).model["layer.bias"].add_(1)
    assert same_bits(ckpt.load_checkpoint(folder).model["layer.bias"], weights(1)["layer.bias"])


def test_state_that_json_would_change_is_refused_rather_than_changed(tmp_path: Path) -> None:
    for state in ({"position": (1, 2)}, {"by_step": {1: 2}}):
        with pytest.raises(AssertionError):
            ckpt.save_checkpoint(tmp_path, 1, model=weights(), trainer_tensors={}, trainer_state=state)
    assert names_in(tmp_path / "checkpoints") == []


# Damage


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_seen(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path, 1)
    path = folder / name
    content = path.read_bytes()
    for position in range(0, len(content), max(1, len(content) // 150)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        with pytest.raises(ckpt.CheckpointError) as error:
            ckpt.load_checkpoint(folder)
        assert str(path) in one_line(error)
        assert not isinstance(error.value, ckpt.NewerFormatError)
    path.write_bytes(content)
    ckpt.load_checkpoint(folder)


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


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_newest_checkpoint_falls_back_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, kind: str
) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    DAMAGE[kind](newest / name)
    with caplog.at_level(logging.WARNING, "summarizer"):
        latest = ckpt.load_latest(tmp_path)
    assert latest is not None
    assert latest.step == 1
    assert len(caplog.records) == 1
    assert str(newest / name) in caplog.text


def test_without_any_whole_checkpoint_training_does_not_start_anew(tmp_path: Path) -> None:
    assert ckpt.load_latest(tmp_path) is None
    for step in (1, 2):
        (save(tmp_path, step) / "manifest.json").unlink()
    with pytest.raises(ckpt.CheckpointError) as error:
        ckpt.load_latest(tmp_path)
    assert "none is whole" in one_line(error)


def test_a_newer_format_is_an_error_and_no_reason_to_fall_back(tmp_path: Path) -> None:
    save(tmp_path, 1)
    rewrite_manifest(save(tmp_path, 2), lambda manifest: manifest.update(format_version=2, new_key=1))
    with pytest.raises(ckpt.NewerFormatError) as error:
        ckpt.load_latest(tmp_path)
    assert "update" in one_line(error)
    with pytest.raises(ckpt.NewerFormatError):
        ckpt.load_model_weights(tmp_path)


# Strangers


class Payload:
    """What pickle would run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("name", FILES[:3])
def test_pickle_is_refused_and_not_executed(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path, 1)
    marker = tmp_path / "executed"
    pickle.loads(pickle.dumps(Payload(marker)))  # the payload works where it is let
    marker.unlink()
    forge_member(folder, name, pickle.dumps(Payload(marker)))
    with pytest.raises(ckpt.CheckpointError) as error:
        ckpt.load_checkpoint(folder)
    assert str(folder / name) in one_line(error)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "", "sub/model.safetensors", "a\nb"])
def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path, 1)
    rewrite_manifest(folder, lambda manifest: manifest["files"].update({name: manifest["files"].pop(FILES[0])}))
    with pytest.raises(ckpt.CheckpointError) as error:
        ckpt.load_checkpoint(folder)
    assert "manifest.json" in one_line(error)


def test_a_link_to_another_place_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    (folder / FILES[0]).rename(tmp_path / "elsewhere")
    (folder / FILES[0]).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ckpt.CheckpointError, match="link"):
        ckpt.load_checkpoint(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"step": "1"},
        {"step": None},
        {"files": []},
        {"files": dict.fromkeys(FILES[:3], 5)},
        {"files": {}},
        {"aliases": 1},
        {"aliases": {FILES[0]: ["x"]}},
        {"aliases": {FILES[0]: {"x": [1]}}},
        {"aliases": {FILES[0]: {"x": "not there"}}},
        {"format_version": 0},
        {"format_version": "1"},
        {"format_version": None},
    ],
)
def test_a_manifest_of_the_wrong_shape_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = save(tmp_path, 1)
    rewrite_manifest(folder, lambda manifest: manifest.update(change))
    with pytest.raises(ckpt.CheckpointError) as error:
        ckpt.load_checkpoint(folder)
    one_line(error)


def test_a_manifest_lists_its_own_files_and_no_others(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    rewrite_manifest(folder, lambda manifest: manifest["files"].update({"../secret": {}}))
    with pytest.raises(ckpt.CheckpointError, match=r"foreign file '\.\./secret'"):
        ckpt.load_checkpoint(folder)


def test_a_torn_file_is_reported_with_both_sizes(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    size = (folder / FILES[0]).stat().st_size
    os.truncate(folder / FILES[0], 100)
    with pytest.raises(ckpt.CheckpointError, match=f"100 bytes, not the {size} written"):
        ckpt.load_checkpoint(folder)


def test_a_manifest_with_nan_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    (folder / "manifest.json").write_text('{"format_version": NaN}')
    with pytest.raises(ckpt.CheckpointError):
        ckpt.load_checkpoint(folder)


# Interrupted saves


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("reason", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_previous_checkpoints_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: BaseException
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)

    def write_half(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2] if path.name == name else content)
        if path.name == name:
            raise reason

    monkeypatch.setattr(saving, "write_synced", write_half)
    expected = ckpt.CheckpointError if isinstance(reason, OSError) else KeyboardInterrupt
    for step in (2, 3):  # one that replaces, one that is new
        with pytest.raises(expected):
            save(tmp_path, step, weights(99))
    assert names_in(tmp_path / "checkpoints") == ["step-0000001", "step-0000002"]
    latest = ckpt.load_latest(tmp_path)
    assert latest is not None
    assert same_bits(latest.model["layer.bias"], weights(2)["layer.bias"])


def test_a_full_disk_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ckpt.CheckpointError) as error:
        save(tmp_path, 3)
    assert "step-0000003 cannot be written: No space left" in one_line(error)


def test_a_power_cut_after_saving_loses_nothing(tmp_path: Path, synced: set[int]) -> None:
    folder = save(tmp_path, 1)
    for path in (folder, folder.parent, tmp_path, *folder.iterdir()):
        assert path.stat().st_ino in synced, path
    ckpt.write_best(tmp_path, 1, "loss", 1.0)
    assert (tmp_path / "best.json").stat().st_ino in synced


@pytest.mark.parametrize("new_one_arrived", [False, True])
def test_a_crash_while_replacing_loses_nothing(tmp_path: Path, new_one_arrived: bool) -> None:
    folder = save(tmp_path, 4, weights(1))
    folder.rename(folder.with_name(f".replaced-{folder.name}"))
    if new_one_arrived:
        new = save(tmp_path / "other", 4, weights(2))
        new.rename(folder)
    (folder.parent / ".tmp-step-0000005").mkdir()
    (folder.parent / ".tmp-step-0000005" / FILES[0]).write_bytes(b"half")
    (tmp_path / ".tmp-config.yaml-123").write_text("half")
    ckpt.clean_temporary(tmp_path)
    assert names_in(folder.parent) == [folder.name]
    assert not (tmp_path / ".tmp-config.yaml-123").exists()
    expected = weights(2 if new_one_arrived else 1)["layer.bias"]
    assert same_bits(ckpt.load_checkpoint(folder).model["layer.bias"], expected)


def test_saving_a_step_again_replaces_it_and_clears_old_temporaries(tmp_path: Path) -> None:
    folder = save(tmp_path, 4, weights(1))
    (folder.parent / ".tmp-step-0000003").mkdir()
    save(tmp_path, 4, weights(2))
    assert names_in(folder.parent) == [folder.name]
    assert same_bits(ckpt.load_checkpoint(folder).model["layer.bias"], weights(2)["layer.bias"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, value: float) -> None:
    with pytest.raises(ckpt.CheckpointError) as error:
        save(tmp_path, 3, {"good": torch.ones(2), "bad.weight": torch.tensor([1.0, value])})
    assert "bad.weight" in one_line(error)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.slow
def test_kill_at_any_moment_of_saving_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
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


# The run folder


def test_checkpoints_are_listed_by_number_without_foreign_names(tmp_path: Path) -> None:
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
    tmp_path: Path, keep_last: int, protect: list[int], kept: list[int]
) -> None:
    for step in range(1, 6):
        save(tmp_path, step)
    deleted = ckpt.prune(tmp_path, keep_last, protect)
    assert sorted(deleted + kept) == [1, 2, 3, 4, 5]
    assert names_in(tmp_path / "checkpoints") == [f"step-{step:07d}" for step in kept]


def test_a_failed_deletion_does_not_stop_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
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
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    save(tmp_path, 2)
    (tmp_path / "best.json").write_text(content)
    with pytest.raises(ckpt.CheckpointError) as error:
        ckpt.read_best(tmp_path)
    assert "best.json" in one_line(error)
    assert ckpt.load_model_weights(tmp_path).step == 2
    assert "best.json" in caplog.text


def test_inference_takes_the_best_the_last_or_the_step_asked_for(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    assert ckpt.load_model_weights(tmp_path).step == 3
    ckpt.write_best(tmp_path, 2, "loss", 1.0)
    assert ckpt.load_model_weights(tmp_path).step == 2
    assert ckpt.load_model_weights(tmp_path, "last").step == 3
    assert [ckpt.load_model_weights(tmp_path, which).step for which in (1, "1", "0000003")] == [1, 1, 3]
    assert same_bits(ckpt.load_model_weights(tmp_path, 1).model["layer.bias"], weights(1)["layer.bias"])


def test_inference_needs_the_weights_alone(tmp_path: Path) -> None:
    (save(tmp_path, 1) / "trainer.safetensors").unlink()
    assert ckpt.load_model_weights(tmp_path, 1).step == 1


def test_a_damaged_or_missing_best_is_replaced_by_the_latest_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
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
def test_an_unknown_choice_of_checkpoint_lists_what_there_is(tmp_path: Path, which: str | int) -> None:
    save(tmp_path, 3)
    with pytest.raises(UserError) as error:
        ckpt.load_model_weights(tmp_path, which)
    assert "saved steps: 3" in one_line(error)


def test_a_damaged_step_that_was_asked_for_is_not_replaced_by_another(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / FILES[0]).write_bytes(b"")
    with pytest.raises(ckpt.CheckpointError):
        ckpt.load_model_weights(tmp_path, 2)


def test_a_run_without_checkpoints_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        ckpt.load_model_weights(tmp_path)
    assert "train" in one_line(error)


def test_a_folder_that_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError) as error:
            ckpt.require_run_folder(path)
        assert f"({path})" in one_line(error)
    (tmp_path / "config.yaml").touch()
    assert ckpt.require_run_folder(tmp_path) == tmp_path


# Single files


def test_text_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    ckpt.write_text_atomically(path, "old é\n")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(UserError) as error:
            ckpt.write_text_atomically(path, "new")
    assert "No space left" in one_line(error)
    assert path.read_text(encoding="utf-8") == "old é\n"
    assert names_in(tmp_path) == ["config.yaml"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as error, ckpt.RunLock(tmp_path / "file"):
        pass
    assert str(tmp_path / "file") in one_line(error)
    with pytest.raises(ckpt.CheckpointError):
        save(tmp_path / "file", 1)


HOLD_THE_LOCK = (
    "import sys, time; from pathlib import Path; from summarizer.checkpoint.files import RunLock\n"
    "with RunLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)\n"
)


def test_a_run_folder_belongs_to_one_process_until_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(UserError) as error, ckpt.RunLock(tmp_path / "run", wait_seconds=0):
                pass
            assert f"in use by process {holder.pid} since 2" in one_line(error)
        finally:
            holder.kill()
    with ckpt.RunLock(tmp_path / "run", wait_seconds=0):
        assert f"process {os.getpid()} " in (tmp_path / "run" / ".lock").read_text()


def test_a_lock_is_free_after_its_block_even_if_that_failed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), ckpt.RunLock(tmp_path):
        raise KeyError
    with (
        ckpt.RunLock(tmp_path, wait_seconds=0),
        pytest.raises(UserError),
        ckpt.RunLock(tmp_path, wait_seconds=0),
    ):
        pass
