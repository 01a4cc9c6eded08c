"""Each test here runs twice: on a CPU, small and with stand-ins, so that it is known to run; and on a CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from segment_loop import segment_loop

from summarizer.data.batch import Batch
from summarizer.model.config import TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.runtime import DeviceKind, Precision, Runtime, RuntimeConfig, set_up
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.step import Updater


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def on_gpu(device: torch.device) -> bool:
    return device.type == "cuda"


@pytest.fixture(autouse=True)
def switches(device: torch.device) -> Iterator[None]:
    """PyTorch's, put back afterwards; and a kernel for segments, also on a CPU."""
    with nullcontext() if device.type == "cuda" else segment_loop():
        yield
    torch.use_deterministic_algorithms(False)
    for enable in (torch.backends.cuda.enable_flash_sdp, torch.backends.cuda.enable_mem_efficient_sdp):
        enable(True)
    torch.backends.cuda.enable_cudnn_sdp(True)
    torch.set_float32_matmul_precision("highest")


@pytest.fixture
def runtime_of(device: torch.device) -> Callable[..., Runtime]:
    """As a command sets it up."""

    def make(precision: Precision, **settings: Any) -> Runtime:
        return set_up(RuntimeConfig(device=DeviceKind(device.type), precision=precision, **settings))

    return make


@pytest.fixture
def config(on_gpu: bool) -> TransformerConfig:
    """The base model; on a CPU one that is as deep and hardly as wide."""
    sizes = {"width": 512, "num_heads": 8} if on_gpu else {"width": 16, "num_heads": 2}
    return TransformerConfig(**sizes, encoder_layers=6, decoder_layers=6)


@pytest.fixture
def vocab_size(on_gpu: bool) -> int:
    return 32000 if on_gpu else 50


@pytest.fixture
def make_model(config: TransformerConfig, vocab_size: int, device: torch.device) -> Callable[..., Transformer]:
    def make(**changes: Any) -> Transformer:
        torch.manual_seed(1)
        return Transformer(TransformerConfig(**{**vars(config), **changes}), vocab_size).to(device)

    return make


@pytest.fixture
def make_update() -> Callable[[Transformer, Runtime], Callable[[int, list[Batch]], Any]]:
    def make(model: Transformer, runtime: Runtime) -> Updater:
        return Updater(
            model,
            build_optimizer(model, OptimizerConfig()),
            runtime=runtime,
            learning_rate=lambda step: 3e-4,
            label_smoothing=0.1,
            clip_norm=1.0,
            seed=1,
        )

    return make
