"""A trace as a model would leave it, made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from summarizer.presentation.trace import AttentionTrace


def rows_of_one(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Random weights, a few of them large, each row with a sum of one."""
    weights = np.random.default_rng(seed).random(shape) ** 8
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def make_trace() -> Callable[..., AttentionTrace]:
    """2 layers, 3 heads; with ``pointer``, a copy distribution and probabilities of copying as well."""

    def make(
        sources: tuple[str, ...] = ("▁the", "▁art", "▁par", "ty", "<n>", "▁met", "</s>"),
        targets: tuple[str, ...] = ("▁The", "▁art", "y", "</s>"),
        *,
        layers: int = 2,
        heads: int = 3,
        pointer: bool = False,
    ) -> AttentionTrace:
        rows, columns = len(targets), len(sources)
        copied = np.linspace(0, 1, rows, dtype=np.float32)
        return AttentionTrace(
            list(sources),
            list(targets),
            rows_of_one(layers, heads, rows, columns),
            copy_TS=rows_of_one(rows, columns, seed=1) if pointer else None,
            copied_T=copied if pointer else None,
        )

    return make
