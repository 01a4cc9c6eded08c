"""A tiny model, batches for it, and the updater that trains it: what the tests of training share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_run import Run

from summarizer.data.batch import Batch, collate
from summarizer.data.example import EncodedExample
from summarizer.model.config import TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.runtime import Precision, Runtime
from summarizer.tokenizer import END_ID, PAD_ID, START_ID
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.step import Updater

VOCAB_SIZE = 23

ModelMaker = Callable[..., Transformer]
BatchMaker = Callable[..., Batch]
UpdaterMaker = Callable[..., Updater]


@pytest.fixture
def make_model() -> ModelMaker:
    """Keyword arguments change the config; the weights are always the same."""

    def make(**changes: Any) -> Transformer:
        sizes: dict[str, Any] = {"width": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
        torch.manual_seed(1)
        return Transformer(TransformerConfig(**{**sizes, "dropout": 0.0, **changes}), VOCAB_SIZE)

    return make


@pytest.fixture
def make_batch() -> BatchMaker:
    """A batch of random examples with these (source, target) lengths."""

    def make(lengths: Sequence[tuple[int, int]], *, seed: int = 0, **padded_to: int) -> Batch:
        random = np.random.default_rng(seed)

        def tokens(count: int) -> np.ndarray[Any, np.dtype[np.int32]]:
            return np.append(random.integers(END_ID + 1, VOCAB_SIZE, count - 1), END_ID).astype(np.int32)

        examples = [EncodedExample(str(i), tokens(s), tokens(t)) for i, (s, t) in enumerate(lengths)]
        return collate(examples, pad_id=PAD_ID, start_id=START_ID, **padded_to)

    return make


@pytest.fixture
def make_updater() -> UpdaterMaker:
    """An updater of ``model`` with a constant learning rate; keyword arguments change the rest."""

    def make(model: Transformer, **changes: Any) -> Updater:
        settings: dict[str, Any] = {
            "runtime": Runtime(torch.device("cpu"), Precision.fp32),
            "learning_rate": lambda step: 1e-2,
            "label_smoothing": 0.1,
            "clip_norm": 1e9,
            "seed": 5,
        }
        return Updater(model, build_optimizer(model, OptimizerConfig()), **{**settings, **changes})

    return make


@pytest.fixture
def make_run(tmp_path: Path, make_model: Callable[..., Transformer]) -> Callable[..., Run]:
    return lambda **settings: Run(tmp_path, make_model(), **settings)
