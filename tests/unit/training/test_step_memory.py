"""An update that does not fit the memory is computed in pieces, and is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from updates import assert_same_bits, descender, everything, weights

from summarizer.data.batch import Batch
from summarizer.errors import UserError
from summarizer.model.transformer import Transformer
from summarizer.training.cross_entropy import LossSums
from summarizer.training.loss import batch_loss
from summarizer.training.step import Updater

ModelMaker = Callable[..., Transformer]
BatchMaker = Callable[..., Batch]
UpdaterMaker = Callable[..., Updater]


class Memory:
    """Lets at most so many examples be computed at once."""

    def __init__(self, examples: int, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.examples = examples
        self.error = error or torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")
        self.computed: list[int] = []
        monkeypatch.setattr("summarizer.training.step.batch_loss", self)

    def __call__(self, model: Transformer, batch: Batch, **options: Any) -> LossSums:
        self.computed.append(len(batch.ids))
        if len(batch.ids) > self.examples:
            raise self.error
        return batch_loss(model, batch, **options)


SIX = [(9, 5), (3, 7), (5, 1), (8, 8), (2, 2), (4, 6)]


@pytest.mark.parametrize("words", ["CUDA out of memory", "[enforce] DefaultCPUAllocator: can't allocate memory: you"])
def test_an_update_too_large_for_the_memory_is_the_same_in_pieces(
    words: str,
    make_model: ModelMaker,
    make_batch: BatchMaker,
    make_updater: UpdaterMaker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    batches = [make_batch(SIX), make_batch(SIX[:5], seed=1)]
    roomy, tight = make_model(), make_model()
    expected = descender(make_updater(roomy))(1, batches)
    error = torch.OutOfMemoryError(words) if "CUDA" in words else RuntimeError(words)
    memory = Memory(2, monkeypatch, error)
    update = descender(make_updater(tight))
    report = update(1, batches)
    assert memory.computed == [6, 3, 2, 2, 2, 2, 2, 1], "in one piece, in two, then in four"
    assert report.loss == pytest.approx(expected.loss, rel=1e-5)
    assert report.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-4)
    assert (report.target_tokens, report.positions) == (expected.target_tokens, expected.positions)
    torch.testing.assert_close(weights(tight), weights(roomy))
    assert "6 examples of 9 + 8 positions do not fit" in caplog.text
    memory.computed.clear()
    update(2, batches)
    assert memory.computed == [2, 2, 2, 2, 2, 1], "what was learned is kept"


def test_a_retried_update_draws_the_dropout_that_its_step_says(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs that meet the same memory are the same run."""
    results = []
    for lucky_start in (False, True):
        with monkeypatch.context() as patch:
            model = make_model(dropout=0.3)
            update = make_updater(model)
            Memory(3, patch)
            if lucky_start:
                update.pieces = 2
            update(1, [make_batch(SIX)])
            results.append(weights(model))
    assert_same_bits(*results)


def test_an_example_too_large_for_the_memory_ends_the_run_with_advice(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    Memory(0, monkeypatch)
    with pytest.raises(UserError, match=r"1 examples of 9 \+ 8 positions .* lower data\.max_source_tokens") as refused:
        make_updater(make_model())(1, [make_batch(SIX)])
    assert "\n" not in str(refused.value)


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    Memory(2, monkeypatch, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        make_updater(make_model())(1, [make_batch(SIX)])


def test_a_rehearsal_finds_the_pieces_and_changes_nothing(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = make_updater(make_model(dropout=0.3))
    before = everything(update)
    Memory(3, monkeypatch)
    update.rehearse(make_batch(SIX))
    assert update.pieces == 2
    assert_same_bits(everything(update), before)
    assert all(parameter.grad is None for parameter in update.model.parameters())
