"""Attention of documents joined in one row, against PyTorch's attention of each."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from summarizer.model.documentwise_attention import attend_by_document, can_attend_by_document
from summarizer.model.memory import SavedStorages
from summarizer.model.unpadded import Rows

TARGETS, SOURCES = Rows((3, 1, 5), 5), Rows((4, 2, 6), 7)
HEADS, SIZE = 2, 8


def joined(rows: Rows) -> Tensor:
    """(1, H, N, K), heads of a position side by side in a wider row, as a projection leaves them."""
    wider_1NX = torch.randn(1, sum(rows.lengths), 3 * HEADS * SIZE, dtype=torch.float64)
    part_1NX = wider_1NX[..., HEADS * SIZE : 2 * HEADS * SIZE]
    return part_1NX.view(1, -1, HEADS, SIZE).transpose(1, 2).requires_grad_()


@pytest.mark.parametrize(("causal", "sources"), [(False, SOURCES), (True, TARGETS)], ids=["cross", "causal"])
def test_it_is_attention_within_each_document(causal: bool, sources: Rows) -> None:
    torch.manual_seed(1)
    inputs = [joined(TARGETS), joined(sources), joined(sources)]
    ours_1HNK = attend_by_document(*inputs, (TARGETS, sources), scale=0.3, causal=causal)
    of_each = zip(
        *(rows.split(each) for rows, each in zip((TARGETS, sources, sources), inputs, strict=True)), strict=True
    )
    theirs_1HNK = torch.cat(
        [F.scaled_dot_product_attention(*parts, is_causal=causal, scale=0.3) for parts in of_each], dim=2
    )
    weight_1HNK = torch.randn_like(ours_1HNK)
    results = [
        [mixed_1HNK, *torch.autograd.grad((mixed_1HNK * weight_1HNK).sum(), inputs)]
        for mixed_1HNK in (ours_1HNK, theirs_1HNK)
    ]
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_the_next_product_reads_what_the_backward_pass_needs_without_a_copy() -> None:
    inputs = [joined(TARGETS), joined(SOURCES), joined(SOURCES)]
    output = torch.nn.Linear(HEADS * SIZE, HEADS * SIZE).double()
    with SavedStorages(output) as saved:
        mixed_1HNK = attend_by_document(*inputs, (TARGETS, SOURCES), scale=0.3, causal=False)
        output(mixed_1HNK.transpose(1, 2).flatten(2))
    float64, normalizers = 8, sum(TARGETS.lengths) * HEADS
    given = sum(each.untyped_storage().nbytes() for each in inputs)
    assert saved.num_bytes == given + float64 * (sum(TARGETS.lengths) * HEADS * SIZE + normalizers)


def test_heads_that_are_shared_and_values_of_another_size_are_not_for_the_kernel() -> None:
    query, key, value = (torch.zeros(1, 4, 6, 8) for _ in range(3))
    assert can_attend_by_document(query, key, value)
    assert not can_attend_by_document(query, key[:, :2], value[:, :2])
    assert not can_attend_by_document(query, key, value[..., :4])
    assert not can_attend_by_document(query.to("meta"), key.to("meta"), value.to("meta"))
