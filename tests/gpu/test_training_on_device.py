"""Updates in half precision learn, agree with float32, fit the memory foretold, and repeat bit for bit if asked to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from summarizer.benchmark.workload import TrainingWorkload, planned_batches
from summarizer.checkpoint import load_latest
from summarizer.commands.train import train
from summarizer.config import TrainConfig
from summarizer.data.batch import Batch
from summarizer.data.config import DataConfig, DataLimit
from summarizer.data.sampler import BatchingConfig
from summarizer.decoding.config import DecodingConfig
from summarizer.evaluation.validation import ValidationConfig
from summarizer.measurement import peak_bytes
from summarizer.model.config import TransformerConfig
from summarizer.model.memory import kept_bytes
from summarizer.model.segments import KERNELS
from summarizer.model.transformer import Transformer
from summarizer.runtime import DeviceKind, Precision, Runtime, RuntimeConfig
from summarizer.tokenizer import TokenizerConfig
from summarizer.training.config import TrainingConfig

MakeModel = Callable[..., Transformer]
MakeRuntime = Callable[..., Runtime]
MakeUpdate = Callable[[Transformer, Runtime], Callable[[int, list[Batch]], Any]]

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
HALVES = [Precision.bf16, Precision.fp16]


@pytest.fixture
def batch(vocab_size: int, on_gpu: bool) -> Batch:
    """16,384 positions of news; on a CPU, few and short articles."""
    most = {"batch_size": 28, "max_source_tokens": 512, "max_target_tokens": 100} if on_gpu else {
        "batch_size": 3, "max_source_tokens": 20, "max_target_tokens": 8
    }  # fmt: skip
    (planned,) = planned_batches(TrainingWorkload(batches=1, **most), vocab_size, seed=1)
    return planned if not planned.source_is_full else _shorter_first(planned)


def _shorter_first(batch: Batch) -> Batch:
    lengths_B = batch.source_lengths_B.clone()
    lengths_B[0] -= 3
    return Batch(**{**vars(batch), "source_lengths_B": lengths_B, "source_is_full": False})


@contextmanager
def counted_calls(device: torch.device) -> Iterator[list[int]]:
    """Of the kernel for segments."""
    kernel, calls = KERNELS[device.type], [0]

    def attend(*arguments: Any) -> torch.Tensor:
        calls[0] += 1
        return kernel.attend(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KERNELS, device.type, kernel._replace(attend=attend))
        yield calls


def halves_of(on_gpu: bool) -> list[Precision]:
    return HALVES if on_gpu else HALVES[:1]


def test_a_batch_is_learned_by_heart_in_half_precision(
    make_model: MakeModel, runtime_of: MakeRuntime, make_update: MakeUpdate, batch: Batch, on_gpu: bool
) -> None:
    for precision in halves_of(on_gpu):
        update = make_update(make_model(), runtime_of(precision))
        reports = [update(step, [batch]) for step in range(1, 31)]
        losses = [report.loss for report in reports if not report.skipped]
        assert len(losses) >= 25  # fp16 skips until its scale fits
        assert losses[-1] < 0.9 * losses[0]


def test_an_update_in_half_precision_is_nearly_that_of_float32(
    make_model: MakeModel,
    runtime_of: MakeRuntime,
    make_update: MakeUpdate,
    batch: Batch,
    device: torch.device,
    on_gpu: bool,
) -> None:
    def report(precision: Precision, expected_calls: int) -> Any:
        with counted_calls(device) as calls:
            report = make_update(make_model(dropout=0.0), runtime_of(precision))(1, [batch])
        assert calls == [expected_calls]
        return report

    exact = report(Precision.fp32, 0 if on_gpu else 12)
    for precision in halves_of(on_gpu):
        half = report(precision, 12)  # six encoder layers, and six decoder layers that look at the source
        assert half.loss == pytest.approx(exact.loss, rel=5e-3)
        assert half.gradient_norm == pytest.approx(exact.gradient_norm, rel=5e-2)


@pytest.mark.gpu
def test_switched_off_the_flash_kernel_is_not_called(
    make_model: MakeModel, runtime_of: MakeRuntime, make_update: MakeUpdate, batch: Batch, device: torch.device
) -> None:
    if device.type == "cpu":
        pytest.skip("a CPU has no such switch")
    losses = []
    for flash in (True, False):
        with counted_calls(device) as calls:
            runtime = runtime_of(Precision.bf16, flash_attention=flash)
            losses.append(make_update(make_model(dropout=0.0), runtime)(1, [batch]).loss)
        assert calls == [12 if flash else 0]
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)


def test_an_update_takes_little_more_memory_than_was_foretold(
    make_model: MakeModel,
    runtime_of: MakeRuntime,
    make_update: MakeUpdate,
    batch: Batch,
    device: torch.device,
    on_gpu: bool,
) -> None:
    model = make_model()
    update = make_update(model, runtime_of(Precision.bf16))
    update(1, [batch])  # AdamW's moments and the copies of libraries come with the first one
    peak = peak_bytes(lambda: update(2, [batch]), device)
    examples, source = batch.source_BS.shape
    kept = kept_bytes(
        model.config, examples=examples, source=source, target=batch.target_BT.shape[1], low_precision=torch.bfloat16
    ).of(model.config)
    gradients = 4 * model.num_parameters
    chunks = 4 * 2**24 * 4 if on_gpu else 2**20  # logits in float32, their softmax, and products of the loss
    assert 0.7 * kept < peak < 1.3 * kept + 2 * gradients + chunks, f"{peak / 2**20:,.0f} MiB, {kept / 2**20:,.0f} kept"


def test_a_run_that_was_stopped_repeats_bit_for_bit_where_that_is_asked_for(
    tmp_path: Path, device: torch.device, on_gpu: bool
) -> None:
    def run(folder: str, max_steps: int) -> dict[str, torch.Tensor]:
        run_dir = tmp_path / folder
        train(tiny_config(run_dir, tmp_path / "cache", device, max_steps=max_steps))
        checkpoint = load_latest(run_dir)
        assert checkpoint is not None
        return dict(checkpoint.model)

    whole = run("whole", 4)
    run("stopped", 2)
    continued = run("stopped", 4)
    again = run("again", 4)
    for name, weight in whole.items():
        assert torch.equal(continued[name], weight), name
        assert torch.equal(again[name], weight), name


def tiny_config(run_dir: Path, cache_dir: Path, device: torch.device, *, max_steps: int) -> TrainConfig:
    """Padded sources, dropout, and a validation that writes summaries."""
    on_gpu = device.type == "cuda"
    return TrainConfig(
        run_dir=str(run_dir),
        model=TransformerConfig(width=128 if on_gpu else 16, num_heads=2, encoder_layers=1, decoder_layers=1),
        data=DataConfig(
            path=str(SAMPLE),
            limit=DataLimit(train=60, validation=4),
            max_source_tokens=48,
            max_target_tokens=24,
            cache_dir=str(cache_dir),
            batching=BatchingConfig(max_tokens=1000),
        ),
        tokenizer=TokenizerConfig(vocab_size=400),
        training=TrainingConfig(max_steps=max_steps, accumulate=2, log_every=1, validate_every=2, save_every=2),
        validation=ValidationConfig(rouge_examples=2),
        decoding=DecodingConfig(max_tokens=12),
        runtime=RuntimeConfig(
            device=DeviceKind(device.type),
            precision=Precision.bf16 if on_gpu else Precision.fp32,
            num_workers=2 if on_gpu else 0,
            deterministic=True,
        ),
    )
