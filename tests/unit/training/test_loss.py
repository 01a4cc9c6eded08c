"""The loss is PyTorch's cross-entropy of the real target tokens, computed in little memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from segment_loop import segment_loop
from torch import Tensor, nn

from summarizer.data.batch import Batch
from summarizer.measurement import peak_bytes
from summarizer.model.config import PointerConfig, TransformerConfig
from summarizer.model.masks import length_mask
from summarizer.model.pointer import at_least_float32
from summarizer.model.transformer import DecoderOutput, Transformer
from summarizer.training import cross_entropy
from summarizer.training.cross_entropy import LossSums, chunked_cross_entropy
from summarizer.training.loss import batch_loss

N, D, V = 11, 8, 13
LENGTHS = [(5, 3), (7, 6), (2, 1)]
with_and_without_pointer = pytest.mark.parametrize(
    "changes", [{}, {"pointer": PointerConfig(enabled=True)}], ids=["plain", "pointer"]
)


@pytest.fixture(params=[1, 4, N, 10 * N])
def rows_per_chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    rows: int = request.param
    monkeypatch.setattr(cross_entropy, "MAX_LOGITS", rows * V)
    return rows


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.7])
def test_loss_and_gradients_are_those_of_torch_in_any_number_of_chunks(
    rows_per_chunk: int, label_smoothing: float
) -> None:
    vocabulary, hidden_ND, target_N = problem()
    expected = F.cross_entropy(vocabulary(hidden_ND), target_N, label_smoothing=label_smoothing, reduction="sum")
    expected_gradients = torch.autograd.grad(expected, [hidden_ND, vocabulary.weight])
    sums = chunked_cross_entropy(hidden_ND, target_N, vocabulary, label_smoothing=label_smoothing)
    gradients = torch.autograd.grad(sums.loss, [hidden_ND, vocabulary.weight])
    torch.testing.assert_close(sums.loss, expected)
    torch.testing.assert_close(gradients, expected_gradients)


def test_in_low_precision_the_gradients_of_all_chunks_add_up(rows_per_chunk: int) -> None:
    gradients = []
    for is_low in (True, False):
        vocabulary, hidden_ND, target_N = problem()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_low):
            sums = chunked_cross_entropy(hidden_ND, target_N, vocabulary, label_smoothing=0.1)
        gradients.append(torch.autograd.grad(sums.loss, [hidden_ND, vocabulary.weight]))
    for low, exact in zip(*gradients, strict=True):
        assert low.dtype is exact.dtype
        assert (low - exact).norm() <= 0.02 * exact.norm()


def test_perplexity_and_accuracy_are_counted_without_smoothing(rows_per_chunk: int) -> None:
    vocabulary, hidden_ND, target_N = problem()
    logits_NV = vocabulary(hidden_ND)
    target_N[:4] = logits_NV.argmax(dim=-1)[:4]
    sums = chunked_cross_entropy(hidden_ND, target_N, vocabulary, label_smoothing=0.3)
    torch.testing.assert_close(sums.nll, F.cross_entropy(logits_NV, target_N, reduction="sum").detach())
    assert sums.correct == (logits_NV.argmax(dim=-1) == target_N).sum()
    assert 4 <= sums.correct < N
    assert not sums.nll.requires_grad
    assert not sums.correct.requires_grad


def test_validation_gets_the_same_sums_without_a_graph(rows_per_chunk: int) -> None:
    vocabulary, hidden_ND, target_N = problem()
    trained = chunked_cross_entropy(hidden_ND, target_N, vocabulary, label_smoothing=0.0)
    with torch.inference_mode():
        validated = chunked_cross_entropy(hidden_ND, target_N, vocabulary, label_smoothing=0.0)
    assert not validated.loss.requires_grad
    assert values(validated) == values(trained)


@with_and_without_pointer
def test_logits_of_a_whole_batch_never_exist(
    make_model: Callable[..., Transformer],
    make_batch: Callable[..., Batch],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:
    model, batch = make_model(**changes), make_batch(LENGTHS)
    monkeypatch.setattr(cross_entropy, "MAX_LOGITS", 4 * model.vocab_size)
    projected: list[int] = []

    def note(logits_NV: Tensor) -> Tensor:
        projected.append(len(logits_NV))
        return at_least_float32(logits_NV)

    monkeypatch.setattr(cross_entropy, "at_least_float32", note)
    sums = batch_loss(model, batch)
    kept = elements_kept_for_backward(lambda: batch_loss(model, batch).loss, model.vocab_size)
    assert projected[:3] == [4, 4, 2], "10 real tokens of 18 positions, four at a time"
    assert kept == 0, "what is kept is gradients, and no logits"
    projected.clear()
    torch.autograd.backward(sums.loss)
    assert not projected, "nothing is computed again"


def test_of_many_chunks_no_two_exist_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, vocab_size = 64, 5000
    chunk = 4 * rows * vocab_size  # bytes
    monkeypatch.setattr(cross_entropy, "MAX_LOGITS", rows * vocab_size)
    vocabulary = nn.Linear(D, vocab_size, bias=False)

    def peak(chunks: int) -> int:
        hidden_ND, target_N = torch.randn(chunks * rows, D, requires_grad=True), torch.zeros(chunks * rows).long()
        return peak_bytes(
            lambda: chunked_cross_entropy(hidden_ND, target_N, vocabulary, label_smoothing=0.1), torch.device("cpu")
        )

    peak(1)
    assert peak(4) < peak(1) + chunk / 2


def test_the_gradient_is_handed_out_once() -> None:
    vocabulary, hidden_ND, target_N = problem()
    sums = chunked_cross_entropy(hidden_ND, target_N, vocabulary, label_smoothing=0.0)
    torch.autograd.backward(sums.loss, retain_graph=True)
    with pytest.raises(RuntimeError, match="handed out already"):
        torch.autograd.backward(sums.loss)


@with_and_without_pointer
def test_more_padding_changes_neither_sums_nor_gradients(
    make_model: Callable[..., Transformer], make_batch: Callable[..., Batch], changes: dict[str, Any]
) -> None:
    tight = make_batch(LENGTHS)
    wide = make_batch(LENGTHS, source_length=16, target_length=9)
    tight_sums, tight_gradient = sums_and_gradient(make_model(**changes), tight)
    wide_sums, wide_gradient = sums_and_gradient(make_model(**changes), wide)
    assert values(wide_sums) == pytest.approx(values(tight_sums), rel=1e-5)
    torch.testing.assert_close(wide_gradient, tight_gradient)


@with_and_without_pointer
def test_padded_sources_cut_to_segments_give_the_same_loss_and_gradients(
    make_model: Callable[..., Transformer], make_batch: Callable[..., Batch], changes: dict[str, Any]
) -> None:
    model = make_model(**changes).double()
    for lengths, attentions in ((LENGTHS, 2), ([(7, 3), (7, 6)], 0)):
        batch = make_batch(lengths)
        masked = batch_loss(model, batch, label_smoothing=0.1).loss
        with segment_loop() as calls:
            cut = batch_loss(model, batch, label_smoothing=0.1).loss
        assert (
            len(calls) == attentions
        )  # to the source, by the encoder and by the decoder; none where it has no padding
        torch.testing.assert_close(cut, masked, rtol=1e-12, atol=0.0)
        gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in (cut, masked)]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@with_and_without_pointer
def test_ids_in_the_padding_are_never_looked_at(
    make_model: Callable[..., Transformer], make_batch: Callable[..., Batch], changes: dict[str, Any]
) -> None:
    batch = make_batch(LENGTHS, source_length=9, target_length=8)
    source_pad = ~length_mask(batch.source_lengths_B, 9)
    target_pad = ~length_mask(batch.target_lengths_B, 8)
    garbage = replace(
        batch,
        source_BS=batch.source_BS.masked_fill(source_pad, int(batch.target_BT[0, 0])),  # a target, not to be copied
        decoder_input_BT=batch.decoder_input_BT.masked_fill(target_pad, 9),
        target_BT=batch.target_BT.masked_fill(target_pad, -(10**9)),
    )
    expected_sums, expected_gradient = sums_and_gradient(make_model(**changes), batch)
    sums, gradient = sums_and_gradient(make_model(**changes), garbage)
    assert values(sums) == pytest.approx(values(expected_sums), rel=1e-5)
    torch.testing.assert_close(gradient, expected_gradient)


def test_nan_at_padded_positions_reaches_neither_loss_nor_gradient(make_batch: Callable[..., Batch]) -> None:
    batch = make_batch(LENGTHS)
    real_BT = length_mask(batch.target_lengths_B, batch.target_BT.shape[1])
    output_BTD = torch.randn(*batch.target_BT.shape, D, generator=torch.Generator().manual_seed(2))
    output_BTD = output_BTD.masked_fill(~real_BT[..., None], torch.nan).requires_grad_()
    model = FakeTransformer(output_BTD)
    sums = batch_loss(model, batch, label_smoothing=0.1)  # type: ignore[arg-type]
    torch.autograd.backward(sums.loss)
    assert all(map(torch.isfinite, (sums.loss, sums.nll)))
    assert output_BTD.grad is not None
    assert (output_BTD.grad[~real_BT] == 0).all()
    assert (output_BTD.grad[real_BT] != 0).any(dim=-1).all()
    assert model.vocabulary.weight.grad is not None
    assert torch.isfinite(model.vocabulary.weight.grad).all()


@with_and_without_pointer
def test_bf16_stays_close_to_fp32_and_sums_in_fp32(
    make_model: Callable[..., Transformer], make_batch: Callable[..., Batch], changes: dict[str, Any]
) -> None:
    model, batch = make_model(width=32, **changes), make_batch([(40, 30)] * 8)
    exact = batch_loss(model, batch, label_smoothing=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = batch_loss(model, batch, label_smoothing=0.1)
    assert {tensor.dtype for tensor in (rounded.loss, *rounded.pointer.values())} == {torch.float32}
    torch.testing.assert_close(rounded.loss, exact.loss, rtol=3e-3, atol=0)
    torch.testing.assert_close(rounded.nll, exact.nll, rtol=3e-3, atol=0)
    torch.testing.assert_close(rounded.pointer, exact.pointer, rtol=1e-2, atol=0)


def test_rounded_logits_are_summed_without_more_rounding(rows_per_chunk: int) -> None:
    vocabulary, hidden_ND, target_N = problem()
    vocabulary, hidden_ND = vocabulary.bfloat16(), hidden_ND.bfloat16()
    expected = F.cross_entropy(vocabulary(hidden_ND).float(), target_N, label_smoothing=0.1, reduction="sum")
    sums = chunked_cross_entropy(hidden_ND, target_N, vocabulary, label_smoothing=0.1)
    torch.testing.assert_close(sums.loss, expected)


class FakeTransformer(nn.Module):
    """A model whose decoder output is given."""

    def __init__(self, output_BTD: Tensor) -> None:
        super().__init__()
        self.config = TransformerConfig(width=D)
        self.output_BTD = output_BTD
        self.vocabulary = nn.Linear(D, 23, bias=False)

    def forward(self, *_: Tensor) -> DecoderOutput:
        return DecoderOutput(self.output_BTD, None)


def problem() -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(3)
    return nn.Linear(D, V, bias=False), torch.randn(N, D, requires_grad=True), torch.randint(V, (N,))


def values(sums: LossSums) -> list[float]:
    return [tensor.item() for tensor in (sums.loss, sums.nll, sums.correct, *sums.pointer.values())]


def sums_and_gradient(model: Transformer, batch: Batch) -> tuple[LossSums, list[Tensor]]:
    sums = batch_loss(model, batch, label_smoothing=0.1, coverage_weight=0.5 if model.pointer else 0.0)
    return sums, list(torch.autograd.grad(sums.loss, list(model.parameters())))


def elements_kept_for_backward(forward: Callable[[], Tensor], vocab_size: int) -> int:
    """Elements of the logits, (tokens, vocabulary), that autograd holds on to."""
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        is_weight = isinstance(tensor, nn.Parameter) or tensor._base is not None
        if tensor.ndim == 2 and tensor.shape[-1] == vocab_size and not is_weight:
            kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(kept)
