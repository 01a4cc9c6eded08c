"""What is examined is judged as loading judges it, fault by fault; and looking changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from summarizer import checkpoint as ckpt
from summarizer.checkpoint.format import MEMBER_FILES, checksum, to_json

Save = Callable[..., Path]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "flipped bit": flip,
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "folder": lambda path: path.rename(path.with_name("moved")).parent.joinpath(path.name).mkdir(),
    "link": lambda path: path.symlink_to(path.rename(path.parent.parent / "elsewhere")),
}


def is_loadable(path: Path) -> bool:
    try:
        ckpt.load_checkpoint(path)
    except ckpt.CheckpointError:
        return False
    return True


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_named_and_the_verdict_is_that_of_loading(
    tmp_path: Path, save: Save, member: str, kind: str
) -> None:
    save(tmp_path, 1)
    DAMAGE[kind](save(tmp_path, 2) / member)
    whole, damaged = ckpt.examine_checkpoints(tmp_path)
    assert [each.is_valid for each in (whole, damaged)] == [True, is_loadable(damaged.path)]
    # A manifest is not watched by another: behind a link it is the same one.
    assert [fault.partition(":")[0] for fault in damaged.faults] == ([member] if not damaged.is_valid else [])
    assert (whole.weight_shapes, whole.trainer_state is not None) == (
        {"layer.weight": (4, 6), "layer.bias": (4,)},
        True,
    )


def test_every_damaged_file_is_named_not_only_the_first(tmp_path: Path, save: Save) -> None:
    path = save(tmp_path, 1)
    (path / "model.safetensors").unlink()
    flip(path / "trainer.json")
    (path / "notes.txt").touch()
    (found,) = ckpt.examine_checkpoints(tmp_path)
    assert [fault.partition(":")[0] for fault in found.faults] == ["model.safetensors", "trainer.json"]
    assert found.foreign_files == ["notes.txt"]
    (path / "manifest.json").unlink()
    (found,) = ckpt.examine_checkpoints(tmp_path)
    assert [fault.partition(":")[0] for fault in found.faults] == ["manifest.json", "model.safetensors"]


def test_weights_alone_can_be_whole(tmp_path: Path, save: Save) -> None:
    flip(save(tmp_path, 1) / "trainer.safetensors")
    (found,) = ckpt.examine_checkpoints(tmp_path)
    assert not found.is_valid
    assert found.weight_shapes is not None
    assert ckpt.load_model_weights(tmp_path).step == 1


def test_a_checkpoint_of_a_later_release_is_not_called_damaged(tmp_path: Path, save: Save) -> None:
    path = save(tmp_path, 1) / "manifest.json"
    content = json.loads(path.read_text()) | {"format_version": ckpt.FORMAT_VERSION + 1}
    del content["checksum"]
    path.write_text(to_json(content | {"checksum": checksum(content)}))
    (found,) = ckpt.examine_checkpoints(tmp_path)
    assert found.too_new
    assert not found.is_valid
    assert "this release reads up to" in found.faults[0]


def test_an_old_checkpoint_set_aside_counts_exactly_if_cleaning_up_puts_it_back(tmp_path: Path, save: Save) -> None:
    for path in [save(tmp_path, step) for step in (1, 2, 3)][1:]:
        shutil.copytree(path, path.with_name(f".replaced-{path.name}"))
    shutil.rmtree(tmp_path / "checkpoints" / "step-0000002")
    (tmp_path / "checkpoints" / ".replaced-notes").mkdir()
    foreseen = [each.step for each in ckpt.examine_checkpoints(tmp_path)]
    assert foreseen == [1, 2, 3]
    assert len(ckpt.list_leftovers(tmp_path)) == 3
    ckpt.clean_temporary(tmp_path)
    assert [each.step for each in ckpt.examine_checkpoints(tmp_path)] == foreseen
    assert ckpt.list_leftovers(tmp_path) == []


def test_the_holder_of_the_lock_is_known_as_long_as_it_holds_it(tmp_path: Path) -> None:
    assert ckpt.lock_holder(tmp_path) is None
    with ckpt.RunLock(tmp_path):
        holder = ckpt.lock_holder(tmp_path)
        assert holder is not None
        assert holder.startswith("process ")
    assert ckpt.lock_holder(tmp_path) is None
    with ckpt.RunLock(tmp_path, wait_seconds=0):
        pass


def test_a_checkpoint_that_training_deletes_meanwhile_is_left_out(
    tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [save(tmp_path, step) for step in (1, 2)]
    original = ckpt.examination.read_manifest

    def delete_first(path: Path) -> object:
        if path == paths[0] and path.exists():
            for name in (*MEMBER_FILES, "manifest.json"):
                (path / name).unlink()
            path.rmdir()
        return original(path)

    monkeypatch.setattr(ckpt.examination, "read_manifest", delete_first)
    assert [each.step for each in ckpt.examine_checkpoints(tmp_path)] == [2]
