"""A checkpoint folder in, what was saved out; anything else than what was saved is refused in one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NoReturn

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from summarizer.checkpoint.files import read_small
from summarizer.checkpoint.format import (
    FORMAT_VERSION,
    JSON,
    MANIFEST_FILE,
    MEMBER_FILES,
    MODEL_FILE,
    TRAINER_STATE_FILE,
    TRAINER_TENSORS_FILE,
    Checkpoint,
    DamageError,
    Manifest,
    ModelWeights,
    NewerFormatError,
    checkpoint_folder,
    checksum,
)

# Far more than we write: whoever made a larger one wants to fill the memory.
_LARGEST_JSON = 1 << 20


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify the checkpoint folder ``path``. Raises CheckpointError for whatever is wrong."""
    manifest = read_manifest(path)
    return Checkpoint(
        step=manifest.step,
        model=read_tensors(path, MODEL_FILE, manifest),
        trainer_tensors=read_tensors(path, TRAINER_TENSORS_FILE, manifest),
        trainer_state=read_trainer_state(path, manifest),
        path=path,
    )


def load_weights(path: Path) -> ModelWeights:
    """Like `load_checkpoint`, but without the tensors of the trainer: a third of the bytes."""
    manifest = read_manifest(path)
    return ModelWeights(
        step=manifest.step,
        model=read_tensors(path, MODEL_FILE, manifest),
        trainer_state=read_trainer_state(path, manifest),
        path=path,
    )


def read_manifest(path: Path) -> Manifest:
    """The manifest of the checkpoint folder ``path``, verified against itself; no other file is read."""
    manifest_path = path / MANIFEST_FILE
    content = _parse_object(manifest_path, _read_bytes(manifest_path))
    if not _is_intact(content):
        _refuse(manifest_path, "its checksum does not match")
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise NewerFormatError(
            f"{manifest_path} has format version {version}, and this release reads up to {FORMAT_VERSION}; "
            "update summarizer"
        )
    if version != FORMAT_VERSION or not _is_complete(content):
        _refuse(manifest_path, "it is no manifest of a checkpoint")
    if path.name.startswith("step-") and path.name != checkpoint_folder(path, content["step"]).name:
        _refuse(manifest_path, f"it is that of step {content['step']}")
    # Nothing but these three names is ever opened, so that a manifest cannot point outside its folder.
    for name in sorted(MEMBER_FILES ^ content["files"].keys()):
        fault = "does not list" if name in MEMBER_FILES else "lists the foreign file"
        _refuse(manifest_path, f"it {fault} {name!r}")
    return Manifest(step=content["step"], files=content["files"], aliases=content["aliases"])


def _is_intact(manifest_content: dict[str, JSON]) -> bool:
    rest = {key: value for key, value in manifest_content.items() if key != "checksum"}
    try:
        return manifest_content.get("checksum") == checksum(rest)
    except (ValueError, RecursionError):  # NaN, or nested without end: we wrote neither
        return False


def _is_complete(manifest_content: dict[str, JSON]) -> bool:
    """Whether all entries of a manifest are there, with the right types: a stranger may have written them."""
    files, aliases = manifest_content.get("files"), manifest_content.get("aliases")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        return False
    if not isinstance(aliases, dict) or not all(isinstance(names, dict) for names in aliases.values()):
        return False
    stored_names = [stored_name for names in aliases.values() for stored_name in names.values()]
    step = manifest_content.get("step")
    return type(step) is int and step >= 0 and all(isinstance(name, str) for name in stored_names)


def _read_member(folder: Path, name: str, manifest: Manifest) -> bytes:
    path = folder / name
    expected = manifest.files[name]
    content = _read_bytes(path)
    if len(content) != expected.get("size"):
        _refuse(path, f"it has {len(content)} bytes, not the {expected.get('size')} written")
    if hashlib.sha256(content).hexdigest() != expected.get("sha256"):
        _refuse(path, "its SHA-256 is not that of the file written")
    return content


def read_trainer_state(folder: Path, manifest: Manifest) -> dict[str, JSON]:
    """The values of ``trainer.json``, verified."""
    return _parse_object(folder / TRAINER_STATE_FILE, _read_member(folder, TRAINER_STATE_FILE, manifest))


def read_tensors(folder: Path, name: str, manifest: Manifest) -> dict[str, Tensor]:
    """The tensors of the member file ``name``, verified, under all their names."""
    content = _read_member(folder, name, manifest)
    try:
        tensors = safetensors.torch.load(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError):
        _refuse(folder / name, "it is no safetensors file")
    for alias, stored_name in manifest.aliases.get(name, {}).items():
        if stored_name not in tensors:
            _refuse(folder / name, f"it lacks the tensor {stored_name!r}")
        tensors[alias] = tensors[stored_name]
    return tensors


def _read_bytes(path: Path) -> bytes:
    try:
        if path.is_symlink():
            _refuse(path, "it is a link")
        return read_small(path, _LARGEST_JSON) if path.suffix == ".json" else path.read_bytes()
    except OSError as reason:
        _refuse(path, f"it cannot be read: {reason.strerror}")
    except MemoryError:
        _refuse(path, f"its {path.stat().st_size:,} bytes do not fit into memory")


def _parse_object(path: Path, content: bytes) -> dict[str, JSON]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        _refuse(path, "it is no JSON file")
    if not isinstance(value, dict):
        _refuse(path, "it is no JSON object")
    return value


def _refuse(path: Path, reason: str) -> NoReturn:
    raise DamageError(path, reason) from None
