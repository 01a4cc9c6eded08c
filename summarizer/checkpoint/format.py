"""One checkpoint: tensors and JSON values in, a folder that proves its own integrity out, and back again.

    step-0001000/
      model.safetensors      the weights
      trainer.safetensors    tensors of the trainer: optimizer moments, ...
      trainer.json           everything else that resuming needs
      manifest.json          format version, step, size and SHA-256 of each file, aliases; written last

Tensors that share memory (tied weights) are stored once. The manifest's ``aliases`` maps every further name
to the stored one, and loading returns all names. The manifest's ``checksum`` covers the manifest itself:
neither safetensors nor JSON notices a flipped bit. Where the version and the checksum stand, and what the
checksum covers, must never change, so that every release can tell "too new" from "damaged".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from summarizer.errors import UserError

FORMAT_VERSION = 1

MODEL_FILE = "model.safetensors"
TRAINER_TENSORS_FILE = "trainer.safetensors"
TRAINER_STATE_FILE = "trainer.json"
MANIFEST_FILE = "manifest.json"
MEMBER_FILES = frozenset({MODEL_FILE, TRAINER_TENSORS_FILE, TRAINER_STATE_FILE})

# A checkpoint that another of the same step is replacing; after a crash, `remove_leftovers` puts it back.
REPLACED_PREFIX = ".replaced-"

JSON: TypeAlias = Any  # None, bool, int, finite float, str, lists of these, and dicts of these with str keys


class CheckpointError(UserError):
    """A checkpoint cannot be written, or is not what was written; the message names file and reason."""


class DamageError(CheckpointError):
    """A file of a checkpoint is not the one that was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged: {reason}; use another, or restore the file")
        self.path = path
        self.reason = reason


class NonFiniteError(CheckpointError):
    """Weights that are not finite are not worth a checkpoint: no disk is to blame."""


class NewerFormatError(CheckpointError):
    """The checkpoint is whole, but a later release wrote it: no reason to fall back to an older one."""


@dataclass(frozen=True)
class ModelWeights:
    """The part of a checkpoint that inference needs: all but the trainer's tensors."""

    step: int
    model: dict[str, Tensor]  # on the CPU
    trainer_state: dict[str, JSON]
    path: Path


@dataclass(frozen=True)
class Checkpoint:
    """All that was saved after update ``step``; every tensor on the CPU."""

    step: int
    model: dict[str, Tensor]
    trainer_tensors: dict[str, Tensor]
    trainer_state: dict[str, JSON]
    path: Path


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint folder says about itself."""

    step: int
    files: dict[str, dict[str, JSON]]  # file name -> {"size": bytes, "sha256": hexadecimal}
    aliases: dict[str, dict[str, str]]  # file name -> {name: the name it is stored under}


def checkpoint_folder(run_dir: Path, step: int) -> Path:
    return run_dir / "checkpoints" / f"step-{step:07d}"


def to_json(value: Mapping[str, JSON]) -> str:
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n"


def checksum(manifest_content: Mapping[str, JSON]) -> str:
    return hashlib.sha256(to_json(manifest_content).encode("utf-8")).hexdigest()
