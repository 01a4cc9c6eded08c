"""Tensors and JSON values in, a checkpoint folder out: whole and on the disk, or not there at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from summarizer.checkpoint.files import (
    TEMPORARY_PREFIX,
    explaining_write_errors,
    remove_folder,
    sync_folder,
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
    _refuse_non_finite(model, step)
    final = checkpoint_folder(run_dir, step)
    temporary = final.with_name(f"{TEMPORARY_PREFIX}{final.name}")
    with explaining_write_errors(final, CheckpointError):
        try:
            _start_folder(temporary)
            _write_members(temporary, step, model, trainer_tensors, trainer_state)
            _move_into_place(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return final


def _refuse_non_finite(model: Mapping[str, Tensor], step: int) -> None:
    for name, tensor in model.items():
        if not bool(torch.isfinite(tensor).all()):
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
    sync_folder(folder.parent)


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


def _write_members(
    folder: Path,
    step: int,
    model: Mapping[str, Tensor],
    trainer_tensors: Mapping[str, Tensor],
    trainer_state: Mapping[str, JSON],
) -> None:
    files: dict[str, dict[str, JSON]] = {}
    aliases: dict[str, dict[str, str]] = {}

    def write(name: str, content: bytes) -> None:
        write_synced(folder / name, content)
        files[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    for name, tensors in ((MODEL_FILE, model), (TRAINER_TENSORS_FILE, trainer_tensors)):
        aliases[name] = _find_aliases(tensors)
        # Not by safetensors' own file writer: its errors carry no errno, and the bytes are hashed anyway.
        write(name, safetensors.torch.save(_copies(tensors, leave_out=aliases[name])))
    state_text = to_json(dict(trainer_state))
    assert json.loads(state_text) == dict(trainer_state), "JSON changes trainer_state: tuples? keys not str?"
    write(TRAINER_STATE_FILE, state_text.encode("utf-8"))
    content = {"format_version": FORMAT_VERSION, "step": step, "files": files, "aliases": aliases}
    write_synced(folder / MANIFEST_FILE, to_json({**content, "checksum": checksum(content)}).encode("utf-8"))
    sync_folder(folder)


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


def _copies(tensors: Mapping[str, Tensor], *, leave_out: Mapping[str, str]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU, no two of which share memory: all that safetensors accepts."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in tensors.items()
        if name not in leave_out
    }


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
    sync_folder(final.parent)
    if replaces:
        remove_folder(replaced)
