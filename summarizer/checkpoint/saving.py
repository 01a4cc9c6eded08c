"""Tensors and JSON values in, a checkpoint folder out: whole and on the disk, or not there at all."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from summarizer.checkpoint.files import (
    TEMPORARY_PREFIX,
    explaining_write_errors,
    remove_folder,
    sync,
    write_synced,
)
from summarizer.checkpoint.format import (
    FORMAT_VERSION,
    JSON,
    MANIFEST_FILE,
    MODEL_FILE,
    REPLACED_PREFIX,
    TRAINER_STATE_FILE,
    TRAINER_TENSORS_FILE,
    CheckpointError,
    NonFiniteError,
    checkpoint_folder,
    checksum,
    to_json,
)
from summarizer.checkpoint.tensor_file import tensor_file


@dataclass(frozen=True)
class Snapshot:
    """All of one checkpoint in memory: what becomes of the model and its optimizer later is not in it."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]  # file name -> contiguous tensors on the CPU, no two in one memory
    aliases: Mapping[str, Mapping[str, str]]  # file name -> {name: the name it is stored under}
    trainer_state: str  # JSON


def save_checkpoint(
    run_dir: Path,
    step: int,
    *,
    model: Mapping[str, Tensor],
    trainer_tensors: Mapping[str, Tensor],
    trainer_state: Mapping[str, JSON],
) -> Path:
    """Write the checkpoint of ``step`` whole or not at all, in place of an older one; return its folder.

    Raises NonFiniteError when weights are not finite, before anything is written; CheckpointError when the disk
    refuses.
    """
    content = take_snapshot(
        step, model=model, trainer_tensors=trainer_tensors, trainer_state=trainer_state, share_memory=True
    )
    return write_checkpoint(run_dir, content)


def take_snapshot(
    step: int,
    *,
    model: Mapping[str, Tensor],
    trainer_tensors: Mapping[str, Tensor],
    trainer_state: Mapping[str, JSON],
    share_memory: bool = False,
    reuse: Snapshot | None = None,
) -> Snapshot:
    """What :func:`write_checkpoint` writes. Raises NonFiniteError when weights are not finite.

    :param share_memory: do not copy tensors that are on the CPU: nobody changes them before they are written.
    :param reuse: an earlier one that nobody needs any more. Its memory becomes the new one's: fresh memory can cost
        more time than the copy.
    """
    _refuse_non_finite(model, step)
    members = {MODEL_FILE: model, TRAINER_TENSORS_FILE: trainer_tensors}
    aliases = {file: _find_aliases(tensors) for file, tensors in members.items()}
    state = to_json(trainer_state)
    assert json.loads(state) == dict(trainer_state), "JSON changes trainer_state: tuples? keys not str?"
    return Snapshot(
        step=step,
        tensors={
            file: {
                name: tensor.detach().to("cpu").contiguous()
                if share_memory
                else _copied(tensor.detach(), reuse.tensors[file].get(name) if reuse is not None else None)
                for name, tensor in tensors.items()
                if name not in aliases[file]
            }
            for file, tensors in members.items()
        },
        aliases=aliases,
        trainer_state=state,
    )


def _copied(tensor: Tensor, memory: Tensor | None) -> Tensor:
    """A contiguous copy on the CPU, in ``memory`` if it fits there."""
    if memory is None or memory.shape != tensor.shape or memory.dtype != tensor.dtype:
        memory = torch.empty(tensor.shape, dtype=tensor.dtype)
    return memory.copy_(tensor)


def write_checkpoint(run_dir: Path, content: Snapshot) -> Path:
    """Write a checkpoint whole or not at all, in place of an older one of its step; return its folder.

    Raises CheckpointError when the disk refuses.
    """
    final = checkpoint_folder(run_dir, content.step)
    temporary = final.with_name(f"{TEMPORARY_PREFIX}{final.name}")
    with explaining_write_errors(final, CheckpointError):
        try:
            _start_folder(temporary)
            _write_members(temporary, content)
            _move_into_place(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return final


def _refuse_non_finite(model: Mapping[str, Tensor], step: int) -> None:
    for name, tensor in model.items():
        # One number that is not finite makes the sum so; the sum alone may also be too large for its type.
        if not math.isfinite(tensor.detach().sum()) and not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(
                f"model weight {name} at step {step} is not finite, so it is not saved; "
                "resume from the last checkpoint with a lower learning rate"
            )


def _start_folder(temporary: Path) -> None:
    """Make an empty folder for one checkpoint; what earlier crashed saves left beside it goes."""
    folder = temporary.parent
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    temporary.mkdir()
    sync(folder.parent)


def remove_leftovers(folder: Path) -> None:
    """Clear ``folder`` after a crash: unfinished work goes, a checkpoint without its successor returns."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        remove_folder(path)
    for path in folder.glob(f"{REPLACED_PREFIX}*"):
        original = path.with_name(path.name.removeprefix(REPLACED_PREFIX))
        if original.exists():
            remove_folder(path)
        else:
            path.rename(original)


def _write_members(folder: Path, content: Snapshot) -> None:
    files: dict[str, dict[str, JSON]] = {}

    def write(name: str, *parts: bytes | memoryview) -> None:
        write_synced(folder / name, *parts)
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        files[name] = {"size": sum(map(len, parts)), "sha256": digest.hexdigest()}

    for name, tensors in content.tensors.items():
        write(name, *tensor_file(tensors))
    write(TRAINER_STATE_FILE, content.trainer_state.encode("utf-8"))
    manifest = {
        "format_version": FORMAT_VERSION,
        "step": content.step,
        "files": files,
        "aliases": {file: dict(names) for file, names in content.aliases.items()},
    }
    write_synced(folder / MANIFEST_FILE, to_json({**manifest, "checksum": checksum(manifest)}).encode("utf-8"))
    sync(folder)


def _find_aliases(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Each name whose tensor is the very memory of a name that sorts before it, with that name."""
    first_names: dict[tuple[JSON, ...], str] = {}
    aliases: dict[str, str] = {}
    for name in sorted(tensors):
        tensor = tensors[name]
        if tensor.numel() == 0:  # all empty tensors share the null address
            continue
        identity = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        first_name = first_names.setdefault(identity, name)
        if first_name != name:
            aliases[name] = first_name
    return aliases


def _move_into_place(temporary: Path, final: Path) -> None:
    replaced = final.with_name(f"{REPLACED_PREFIX}{final.name}")
    replaces = final.exists()
    if replaces:
        final.rename(replaced)
    try:
        temporary.rename(final)
    except BaseException:
        if replaces:
            replaced.rename(final)
        raise
    sync(final.parent)
    if replaces:
        remove_folder(replaced)
