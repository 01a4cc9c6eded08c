"""True means "may attend"."""

import torch

from summarizer.model.masks import causal_mask, length_mask


def test_length_mask_shows_real_tokens_and_hides_the_padding_behind_them() -> None:
    mask_BS = length_mask(torch.tensor([3, 0, 5, 1]), 5)
    assert mask_BS.dtype == torch.bool
    assert mask_BS.int().tolist() == [[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]


def test_causal_mask_shows_a_position_itself_and_its_past() -> None:
    mask_TT = causal_mask(6)
    assert mask_TT.dtype == torch.bool
    for position in range(6):
        assert mask_TT[position].tolist() == [other <= position for other in range(6)]
