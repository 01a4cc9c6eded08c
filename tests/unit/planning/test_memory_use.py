"""Memory grows as it should, the largest batch is the largest, and what is foretold is what an update takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from summarizer.model.config import FeedForwardKind, PointerConfig, PositionKind, TransformerConfig
from summarizer.model.memory import kept_bytes
from summarizer.model.transformer import Transformer
from summarizer.planning.measured import measure_updates
from summarizer.planning.memory import BatchShape, MemoryModel, Sizes
from summarizer.runtime import Precision, Runtime

SMALL = TransformerConfig(width=16, num_heads=2, encoder_layers=3, decoder_layers=2)
REAL = TransformerConfig(width=128, num_heads=4, encoder_layers=3, decoder_layers=3)


def model(config: TransformerConfig = SMALL, **changes: Any) -> MemoryModel:
    values: dict[str, Any] = {"source": 24, "target": 8, "low_precision": None}
    return MemoryModel(config, 50, **{**values, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pointer": PointerConfig(enabled=True)},
        {"tie_embeddings": False},
        {"positions": PositionKind.learned_per_layer},
    ],
)
def test_parameters_are_those_of_the_model(changes: dict[str, Any]) -> None:
    config = replace(SMALL, **changes)
    assert Sizes.of(config, 50).total == Transformer(config, 50).num_parameters


@pytest.mark.parametrize("low", [None, torch.bfloat16])
def test_each_further_example_adds_as_much(low: torch.dtype | None) -> None:
    foretold = model(low_precision=low).kept_once(7)
    assert foretold == kept_bytes(SMALL, examples=7, source=24, target=8, low_precision=low).of(SMALL)


@pytest.mark.parametrize("changes", [{}, {"recompute": True}, {"shards": 4}, {"accumulates": True}])
def test_the_most_examples_that_fit_do_and_one_more_does_not(changes: dict[str, Any]) -> None:
    memory = model(**changes)
    for room in (1e6, 3e6, 1e8):
        most = memory.most_examples(room)
        assert most == 0 or memory.use(most).total <= room
        assert memory.use(most + 1).total > room


def test_what_is_spread_is_divided_and_brings_a_layer_at_a_time() -> None:
    alone, spread = model().use(4), model(shards=4).use(4)
    assert (spread.weights, spread.moments) == (alone.weights / 4, alone.moments / 4)
    assert alone.gathered == 0 < spread.gathered
    assert spread.activations == alone.activations


def test_recomputing_keeps_what_enters_each_layer_and_one_layer_whole() -> None:
    kept, entering = model(), model(recompute=True)
    deeper = replace(SMALL, encoder_layers=13)
    of_ten_layers = 10 * 4 * 5 * 24 * 16
    assert entering.use(5).activations < kept.use(5).activations
    assert model(deeper, recompute=True).use(5).activations - entering.use(5).activations == of_ten_layers


def test_gradients_of_accumulated_batches_are_there_at_the_fullest() -> None:
    assert model(accumulates=True).use(4).gradients == 4 * Sizes.of(SMALL, 50).total
    assert model(accumulates=False).use(64).gradients == 0


COPYING = replace(REAL, pointer=PointerConfig(enabled=True), positions=PositionKind.rotary)
MEASURED = {
    "fp32": (REAL, Precision.fp32, False),
    "bf16": (REAL, Precision.bf16, False),
    "recomputing": (REAL, Precision.fp32, True),
    "recomputing bf16": (REAL, Precision.bf16, True),
    "pointer, rotary": (COPYING, Precision.fp32, False),
    "alibi": (replace(REAL, positions=PositionKind.alibi), Precision.fp32, False),
    "swiglu": (replace(REAL, feed_forward=FeedForwardKind.swiglu), Precision.bf16, False),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", MEASURED)
def test_the_foretold_memory_is_what_an_update_takes(case: str) -> None:
    config, precision, recompute = MEASURED[case]
    shape, vocab_size = BatchShape(12, 128, 48), 2000
    runtime = Runtime(torch.device("cpu"), precision)
    low = None if precision is Precision.fp32 else torch.bfloat16
    memory = MemoryModel(config, vocab_size, source=128, target=48, low_precision=low, recompute=recompute)
    measured = measure_updates(config, vocab_size, shape, runtime, updates=1, seed=1, recompute=recompute)
    assert memory.use(12).total == pytest.approx(measured.peak_bytes, rel=0.1)
