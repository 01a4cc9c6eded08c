"""Damage is seen wherever it is, and a checkpoint from a stranger runs nothing and reaches no other file."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from summarizer import checkpoint as ckpt
from summarizer.checkpoint import format
from summarizer.errors import UserError

Save = Callable[..., Path]
OneLine = Callable[[pytest.ExceptionInfo[UserError]], str]

MEMBERS = ["model.safetensors", "trainer.safetensors", "trainer.json"]  # what the manifest lists


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


class Payload:
    """What pickle would run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.marker,)


def test_any_flipped_bit_is_seen(tmp_path: Path, save: Save, one_line: OneLine, member: str) -> None:
    folder = save(tmp_path, 1)
    path = folder / member
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


def test_a_torn_file_is_reported_with_both_sizes(tmp_path: Path, save: Save) -> None:
    folder = save(tmp_path, 1)
    size = (folder / MEMBERS[0]).stat().st_size
    os.truncate(folder / MEMBERS[0], 100)
    with pytest.raises(ckpt.CheckpointError, match=f"100 bytes, not the {size} written"):
        ckpt.load_checkpoint(folder)


def test_a_newer_format_is_an_error_and_no_reason_to_fall_back(tmp_path: Path, save: Save, one_line: OneLine) -> None:
    save(tmp_path, 1)
    rewrite_manifest(save(tmp_path, 2), lambda manifest: manifest.update(format_version=2, new_key=1))
    with pytest.raises(ckpt.NewerFormatError) as error:
        ckpt.load_latest(tmp_path)
    assert "update" in one_line(error)
    with pytest.raises(ckpt.NewerFormatError):
        ckpt.load_model_weights(tmp_path)


@pytest.mark.parametrize("name", MEMBERS)
def test_pickle_is_refused_and_not_executed(tmp_path: Path, save: Save, one_line: OneLine, name: str) -> None:
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
def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path, save: Save, one_line: OneLine, name: str) -> None:
    folder = save(tmp_path, 1)
    rewrite_manifest(folder, lambda manifest: manifest["files"].update({name: manifest["files"].pop(MEMBERS[0])}))
    with pytest.raises(ckpt.CheckpointError) as error:
        ckpt.load_checkpoint(folder)
    assert "manifest.json" in one_line(error)


def test_a_link_to_another_place_is_refused(tmp_path: Path, save: Save) -> None:
    folder = save(tmp_path, 1)
    (folder / MEMBERS[0]).rename(tmp_path / "elsewhere")
    (folder / MEMBERS[0]).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ckpt.CheckpointError, match="link"):
        ckpt.load_checkpoint(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"step": "1"},
        {"step": None},
        {"files": []},
        {"files": dict.fromkeys(MEMBERS, 5)},
        {"files": {}},
        {"aliases": 1},
        {"aliases": {MEMBERS[0]: ["x"]}},
        {"aliases": {MEMBERS[0]: {"x": [1]}}},
        {"aliases": {MEMBERS[0]: {"x": "not there"}}},
        {"format_version": 0},
        {"format_version": "1"},
        {"format_version": None},
    ],
)
def test_a_manifest_of_the_wrong_shape_is_refused_in_one_line(
    tmp_path: Path, save: Save, one_line: OneLine, change: dict[str, Any]
) -> None:
    folder = save(tmp_path, 1)
    rewrite_manifest(folder, lambda manifest: manifest.update(change))
    with pytest.raises(ckpt.CheckpointError) as error:
        ckpt.load_checkpoint(folder)
    one_line(error)


def test_a_manifest_lists_its_own_files_and_no_others(tmp_path: Path, save: Save) -> None:
    folder = save(tmp_path, 1)
    rewrite_manifest(folder, lambda manifest: manifest["files"].update({"../secret": {}}))
    with pytest.raises(ckpt.CheckpointError, match=r"foreign file '\.\./secret'"):
        ckpt.load_checkpoint(folder)


def test_a_manifest_with_nan_is_refused_in_one_line(tmp_path: Path, save: Save) -> None:
    folder = save(tmp_path, 1)
    (folder / "manifest.json").write_text('{"format_version": NaN}')
    with pytest.raises(ckpt.CheckpointError):
        ckpt.load_checkpoint(folder)
