"""Checkpoints to break, without waiting for the disk: what the tests of saved runs share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from summarizer.checkpoint import save_checkpoint
from summarizer.errors import UserError

Weights = Callable[[int], dict[str, Tensor]]
Save = Callable[..., Path]
OneLine = Callable[[pytest.ExceptionInfo[UserError]], str]


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The inodes that were synced, in place of waiting for the disk in every test."""
    inodes: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: inodes.add(os.fstat(descriptor).st_ino))
    return inodes


@pytest.fixture(params=["model.safetensors", "trainer.safetensors", "trainer.json", "manifest.json"])
def member(request: pytest.FixtureRequest) -> str:
    """Each file of a checkpoint in turn."""
    return str(request.param)


@pytest.fixture
def weights() -> Weights:
    """The weights of a small model, which a seed tells apart."""

    def make(seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {
            "layer.weight": torch.randn(4, 6, generator=generator),
            "layer.bias": torch.randn(4, generator=generator),
        }

    return make


@pytest.fixture
def save(weights: Weights) -> Save:
    """Saves a checkpoint of ``model``, by default the weights whose seed is the step; returns its folder."""

    def write(run_dir: Path, step: int, model: dict[str, Tensor] | None = None) -> Path:
        return save_checkpoint(
            run_dir,
            step,
            model=weights(step) if model is None else model,
            trainer_tensors={"moment": torch.full((3,), float(step))},
            trainer_state={"epoch": 2, "best": None, "lr": 1e-4, "history": [1, 2.5, "é\n"]},
        )

    return write


@pytest.fixture
def one_line() -> OneLine:
    """The message of an error, which must be one line and say something."""

    def message_of(error: pytest.ExceptionInfo[UserError]) -> str:
        message = str(error.value)
        assert "\n" not in message
        assert len(message) > 20
        return message

    return message_of
