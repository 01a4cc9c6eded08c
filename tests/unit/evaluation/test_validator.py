"""What a validation during training measures does not depend on how the split was cut into batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, cast

import numpy as np
import pytest
import torch

from summarizer.data.batch import Batch, collate
from summarizer.data.example import EncodedExample, Example
from summarizer.decoding.generator import Summary
from summarizer.evaluation.validation import Validator
from summarizer.model.config import PointerConfig
from summarizer.model.packing import PackedLinear
from summarizer.model.transformer import Transformer
from summarizer.runtime import Precision, Runtime
from summarizer.training.loss import batch_loss

LENGTHS = [(6, 5), (3, 1), (4, 2)]


def make_batch(rows: Sequence[int]) -> Batch:
    random = np.random.default_rng(0)
    examples = [
        EncodedExample(str(row), *(random.integers(3, 11, length).astype(np.int32) for length in lengths))
        for row, lengths in enumerate(LENGTHS)
    ]
    return collate([examples[row] for row in rows], pad_id=0, start_id=2)


class FakeLoader:
    """The split in these batches."""

    def __init__(self, *batches: Sequence[int]) -> None:
        self.batches = batches

    def one_pass(self) -> Iterator[Batch]:
        return map(make_batch, self.batches)


def validated(model: Transformer, *batches: Sequence[int]) -> dict[str, float]:
    """The metrics of a validation without ROUGE."""
    no: Any = None
    validate = Validator(
        model,
        loader=cast("Any", FakeLoader(*batches)),
        examples=[],
        generator=no,
        tokenizer=no,
        runtime=Runtime(torch.device("cpu"), Precision.fp32),
        samples=0,
    )
    return dict(validate().metrics)


class NotedGenerator:
    """Takes the place of a generator whose summaries nobody reads; notes the models that it is to ask."""

    def __init__(self) -> None:
        self.models: list[Transformer] = []

    def with_model(self, model: Transformer, autocast: object) -> NotedGenerator:
        assert autocast is nullcontext, "a packed model multiplies in its precision by itself"
        self.models.append(model)
        return self

    def generate(self, documents: Sequence[str], before_batch: object) -> list[Summary]:
        return [Summary("b", 0.0, 0.0, 1, 1, 1, [3], [3]) for _ in documents]


@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16], ids=lambda precision: precision.name)
def test_on_a_cpu_every_validation_searches_with_a_packed_twin_of_the_weights_as_they_are_then(
    tiny_model: Callable[..., Transformer], monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    monkeypatch.setattr(Validator, "_attention_pictures", lambda self, summary: {})
    model, noted, no = tiny_model().float(), NotedGenerator(), cast("Any", None)
    validate = Validator(
        model,
        loader=cast("Any", FakeLoader([0, 1, 2])),
        examples=[Example("1", "a b", "b")],
        generator=cast("Any", noted),
        tokenizer=no,
        runtime=Runtime(torch.device("cpu"), precision),
        samples=1,
    )
    validate()
    with torch.no_grad():
        model.vocabulary.weight.mul_(2)
    validate()
    hidden_TD = torch.randn(3, model.config.width)
    before, after = (twin.project(hidden_TD) for twin in noted.models)
    assert all(isinstance(twin.vocabulary, PackedLinear) for twin in noted.models)
    torch.testing.assert_close(after, 2 * before)
    torch.testing.assert_close(after, model.project(hidden_TD), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("has_pointer", [False, True], ids=["plain", "pointer"])
def test_losses_are_means_over_the_tokens_of_all_batches_without_dropout(
    tiny_model: Callable[..., Transformer], has_pointer: bool
) -> None:
    model = tiny_model(dropout=0.5, pointer=PointerConfig(enabled=has_pointer))
    sums = batch_loss(model, make_batch([0, 1, 2]))
    expected = {"loss": sums.nll, "accuracy": sums.correct, **sums.pointer}
    metrics = validated(model.train(), [0], [1, 2])
    assert model.training
    assert metrics.pop("perplexity") == pytest.approx(math.exp(metrics["loss"]))
    assert metrics == pytest.approx({name: tensor.item() / 8 for name, tensor in expected.items()})
    assert {"p_gen", "copy_rate", "coverage"} <= metrics.keys() or not has_pointer
