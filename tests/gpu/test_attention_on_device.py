"""The kernel for segments against kernels with masks, both beside float32; and that flash kernels are what runs."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.config import AttentionShape
from summarizer.model.masks import length_mask
from summarizer.model.scoring import DotProductScore
from summarizer.model.segments import attend_by_segments, can_attend_by_segments, segments_of

LENGTHS = [130, 7, 128, 1, 64, 129, 0]
HALVES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


@HALVES
@pytest.mark.parametrize("key_dim", [64, 24])
@pytest.mark.parametrize("num_queries", [None, 33])
def test_segments_are_as_close_to_float32_as_masks_are(
    device: torch.device, dtype: torch.dtype, key_dim: int, num_queries: int | None
) -> None:
    batch, heads, length = len(LENGTHS), 4, max(LENGTHS)
    lengths_B = torch.tensor(LENGTHS, device=device)
    mask_BS = length_mask(lengths_B, length)
    segments = segments_of(lengths_B, length)
    assert segments is not None
    real_BT = mask_BS
    if num_queries is not None:
        segments = segments.queried_by(num_queries)
        real_BT = (lengths_B > 0)[:, None].expand(-1, num_queries)
    torch.manual_seed(0)
    given = [
        torch.randn(batch, heads, size, key_dim, device=device) for size in (num_queries or length, length, length)
    ]
    weight_BHTK = torch.randn_like(given[0]) * real_BT[:, None, :, None]
    scale = 1 / math.sqrt(key_dim)

    def results(attend: object, dtype: torch.dtype) -> list[Tensor]:
        query, key, value = (tensor.to(dtype).requires_grad_() for tensor in given)
        mixed = attend(query, key, value)  # type: ignore[operator]
        gradients = torch.autograd.grad((mixed.float() * weight_BHTK).sum(), (query, key, value))
        return [mixed.detach().transpose(1, 2)[real_BT].float(), *(gradient.float() for gradient in gradients)]

    def masked(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, mask_BS[:, None, None], scale=scale)

    def cut(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        assert can_attend_by_segments(query, key, value)
        return attend_by_segments(query, key, value, segments, scale=scale)

    with sdpa_kernel(SDPBackend.MATH):
        exact = results(masked, torch.float32)
    for by_mask, by_segments, wanted in zip(results(masked, dtype), results(cut, dtype), exact, strict=True):
        least = torch.finfo(dtype).eps * float(wanted.abs().max())
        assert float((by_segments - wanted).abs().max()) <= 2 * float((by_mask - wanted).abs().max()) + least


@HALVES
def test_causal_attention_of_a_decoder_runs_on_a_flash_kernel(device: torch.device, dtype: torch.dtype) -> None:
    shape = AttentionShape(num_heads=2, kv_heads=2, key_dim=64, value_dim=64)
    score = DotProductScore(scale=0.125)
    attention = MultiHeadAttention(width=128, shape=shape, score=score, dropout=0.0).to(device)
    input_BTD = torch.randn(3, 50, 128, device=device)
    for training in (True, False):
        attention.train(training)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION), torch.autocast(device.type, dtype=dtype):
            output_BTD = attention(input_BTD, input_BTD, causal=True)  # fails if there is no other kernel for it
        assert output_BTD.isfinite().all()


def test_projections_reach_the_kernel_without_a_copy(device: torch.device) -> None:
    joined = nn.Linear(64, 3 * 64, device=device)(torch.randn(2, 9, 64, device=device)).bfloat16()
    query, key, value = (part.view(2, 9, 1, 64).transpose(1, 2) for part in joined.split(64, dim=-1))
    segments = segments_of(torch.tensor([9, 4], device=device), 9)
    assert segments is not None
    mixed = attend_by_segments(query, key, value, segments, scale=0.125)
    assert mixed.shape == (2, 1, 9, 64)
    assert mixed.isfinite().all()
