"""Every test gets one PyTorch thread and an untouched package logger, and may ask for a tiny Transformer."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings

from summarizer.model.config import TransformerConfig
from summarizer.model.transformer import Transformer

torch.set_num_threads(1)  # results are bit-equal for a fixed number only, and tiny tensors gain nothing from more
settings.register_profile("summarizer", deadline=None)  # a busy machine is no failure
settings.load_profile("summarizer")


def pytest_collection_finish() -> None:
    """What is there now stays: the garbage collector need not look through modules and tests again and again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def package_logger() -> Iterator[logging.Logger]:
    """The package's logger, put back afterwards: a command configures it, which would blind ``caplog``."""
    logger = logging.getLogger("summarizer")
    saved = (logger.handlers[:], logger.level, logger.propagate)
    yield logger
    logger.handlers[:], logger.level, logger.propagate = saved


@pytest.fixture
def tiny_model() -> Callable[..., Transformer]:
    """Makes float64 Transformers with 11 tokens in evaluation mode, given changes of the config.

    Every parameter is random, so that a lost bias or normalisation weight shows.
    """

    def make(seed: int = 0, **changes: Any) -> Transformer:
        torch.manual_seed(seed)
        sizes = {
            "width": 16,
            "num_heads": 2,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "feed_forward_dim": 24,
        }
        config = TransformerConfig(**{"dropout": 0.0, **sizes, **changes})
        config.validate()
        model = Transformer(config, vocab_size=11).double().eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        return model

    return make
