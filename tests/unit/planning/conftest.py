"""A small training to plan, on a device with round numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from summarizer.data.sampler import BatchingConfig
from summarizer.model.config import TransformerConfig
from summarizer.planning.devices import Device
from summarizer.planning.lengths import DataSizeConfig, Lengths
from summarizer.planning.plan import Training
from summarizer.runtime import Precision, Strategy

MODEL = TransformerConfig(width=16, num_heads=2, encoder_layers=2, decoder_layers=1)
DEVICE = Device(
    "card",
    memory=1e9,
    peaks={Precision.fp32: 1e12, Precision.bf16: 4e12},
    bandwidth=1e11,
    link=1e10,
    source="a test",
)


@pytest.fixture
def make_training() -> Callable[..., Training]:
    def make(**changes: Any) -> Training:
        size = DataSizeConfig(examples=1000, source_tokens=24, target_tokens=8)
        values: dict[str, Any] = {
            "model": MODEL,
            "vocab_size": 50,
            "lengths": Lengths.given(size, max_source=32, max_target=16),
            "batching": BatchingConfig(max_tokens=32 * 48, length_step=8),
            "accumulate": 1,
            "max_steps": 100,
            "device": DEVICE,
            "gpus": 1,
            "link": DEVICE.link,
            "precision": Precision.fp32,
            "strategy": Strategy.ddp,
            "recompute": False,
        }
        return Training(**{**values, **changes})

    return make
