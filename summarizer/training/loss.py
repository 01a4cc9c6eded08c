"""A model and a batch in, the loss of every real target token, summed, out."""

from __future__ import annotations

import torch
from torch import Tensor

from summarizer.data.batch import Batch
from summarizer.model.masks import length_mask
from summarizer.model.pointer import Copying, DistinctTokens
from summarizer.model.segments import segments_of
from summarizer.model.transformer import Transformer
from summarizer.model.unpadded import documents_worth_unpadding
from summarizer.training.cross_entropy import LossSums, Pointing, chunked_cross_entropy


def batch_loss(
    model: Transformer, batch: Batch, *, label_smoothing: float = 0.0, coverage_weight: float = 0.0
) -> LossSums:
    """The loss of every real target token of ``batch``, summed. Padding costs and counts nothing.

    The ``pointer`` sums are ``p_gen``, the probability of generating; ``copy_rate``, the probability that the target
    came by copying, now that it is known; and ``coverage``, the :func:`coverage_loss`.

    :param label_smoothing: share of the target distribution spread evenly over the vocabulary (Szegedy et al. 2016).
    :param coverage_weight: of the coverage loss within the loss; for models with a pointer.
    """
    # Without a mask, attention to the source has a faster kernel.
    source_mask_BS = None if batch.source_is_full else length_mask(batch.source_lengths_B, batch.source_BS.shape[1])
    target_mask_BT = length_mask(batch.target_lengths_B, batch.target_BT.shape[1])
    segments = None if batch.source_is_full else segments_of(batch.source_lengths_B, batch.source_BS.shape[1])
    documents = documents_worth_unpadding(
        batch.source_lengths_B,
        batch.source_BS.shape[1],
        batch.target_lengths_B,
        batch.target_BT.shape[1],
        width=model.config.width,
    )
    hidden_BTD, copying = model(batch.source_BS, source_mask_BS, batch.decoder_input_BT, segments, documents)
    # The loss is per token, so only real tokens need their row of logits.
    hidden_ND = hidden_BTD[target_mask_BT]
    target_N = batch.target_BT[target_mask_BT]
    if copying is None:
        return chunked_cross_entropy(hidden_ND, target_N, model.vocabulary, label_smoothing=label_smoothing)
    pointing = _pointing(copying, DistinctTokens.of(batch.source_BS), target_mask_BT)
    sums = chunked_cross_entropy(hidden_ND, target_N, model.vocabulary, pointing, label_smoothing=label_smoothing)
    coverage = coverage_loss(copying.copied(), target_mask_BT)
    loss = sums.loss + coverage_weight * coverage if coverage_weight else sums.loss
    return LossSums(loss, sums.nll, sums.correct, {**sums.pointer, "coverage": coverage.detach()})


def coverage_loss(copied_BTS: Tensor, target_mask_BT: Tensor) -> Tensor:
    """How much is copied from where something was copied before: between 0 and 1 for each target token, summed.

    For each source token the smaller of what is copied now and all that was before (See et al. 2017, equation 12, with
    two differences). Theirs counts the attention even where the gate lets none of it through; ours, which serves
    nothing but copying, may then rest where it likes. And ours does not read the coverage, for then no two target
    tokens could be computed at once; the decoder's self-attention knows what has been written.

    :param copied_BTS: probability of copying each source token.
    """
    before_BTS = copied_BTS.cumsum(dim=1) - copied_BTS
    return torch.minimum(copied_BTS, before_BTS).sum(dim=-1)[target_mask_BT].sum()


def _pointing(copying: Copying, tokens: DistinctTokens, target_mask_BT: Tensor) -> Pointing:
    """One row for each real target token."""
    targets = target_mask_BT.shape[1]
    slot_NS, token_NU = (tensor[:, None].expand(-1, targets, -1)[target_mask_BT] for tensor in tokens)
    return Pointing(copying.log_weights_BTS[target_mask_BT], copying.gate_BT[target_mask_BT], slot_NS, token_NU)
