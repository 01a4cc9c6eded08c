"""What a validation during training measures does not depend on how the split was cut into batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch

from summarizer.data.batch import Batch, collate
from summarizer.data.example import EncodedExample
from summarizer.evaluation.validation import Validator
from summarizer.model.config import PointerConfig
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
