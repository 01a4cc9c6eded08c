"""What is shown is what the model did when it wrote the summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from summarizer.model.inspection import Inspection, inspect
from summarizer.model.transformer import Transformer
from summarizer.presentation import trace as module
from summarizer.presentation.trace import trace_attention
from summarizer.tokenizer import Tokenizer, TokenizerConfig


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["the storm closed every road"] * 9, TokenizerConfig(vocab_size=290))


@pytest.fixture
def model(tiny_model: Callable[..., Transformer]) -> Transformer:
    return tiny_model()  # has 11 tokens


def trace(model: Transformer, tokenizer: Tokenizer, **options: Any) -> module.AttentionTrace:
    return trace_attention(
        model, tokenizer, source=[5, 9, 7, 3], target=[8, 6, 3], device=torch.device("cpu"), **options
    )


def test_row_t_is_the_attention_that_chose_target_t(model: Transformer, tokenizer: Tokenizer) -> None:
    found = trace(model, tokenizer)
    source_BS = torch.tensor([[5, 9, 7, 3]])
    input_BT, target_BT = torch.tensor([[2, 8, 6]]), torch.tensor([[8, 6, 3]])
    weights_LBHTS = inspect(model, source_BS, source_BS > 0, input_BT, target_BT).cross_LBHTS
    np.testing.assert_array_equal(found.weights_LHTS, weights_LBHTS[:, 0].numpy())
    assert found.weights_LHTS.shape == (2, 2, len(found.targets), len(found.sources))
    assert (found.sources[-1], found.targets[-1]) == ("</s>", "</s>")
    assert found.sources[0] == tokenizer.pieces([5])[0]
    np.testing.assert_allclose(found.average, weights_LBHTS[:, 0].mean((0, 1)), rtol=1e-6)
    assert found.copy_TS is found.copied_T is None


def test_what_a_pointer_tells_is_passed_on(
    model: Transformer, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Inspection(torch.rand(2, 1, 2, 3, 4), copy_BTS=torch.rand(1, 3, 4), copied_BT=torch.rand(1, 3))
    monkeypatch.setattr(module, "inspect", lambda *_: seen)
    found = trace(model, tokenizer)
    assert seen.copy_BTS is not None
    assert seen.copied_BT is not None
    np.testing.assert_array_equal(found.copy_TS, seen.copy_BTS[0])
    np.testing.assert_array_equal(found.copied_T, seen.copied_BT[0])


def test_the_model_runs_inside_the_given_autocast_context(model: Transformer, tokenizer: Tokenizer) -> None:
    events: list[str] = []

    @contextmanager
    def autocast() -> Iterator[None]:
        events.append("enter")
        yield
        events.append("leave")

    model.decoder_norm.register_forward_hook(lambda *_: events.append("decode"))
    trace(model, tokenizer, autocast=autocast)
    assert events == ["enter", "decode", "leave"]
