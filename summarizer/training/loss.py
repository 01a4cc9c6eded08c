"""Decoder output and targets in, summed cross-entropy out, without ever holding the logits of a whole batch."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from summarizer.data.batch import Batch
from summarizer.model.masks import length_mask
from summarizer.model.transformer import Transformer

_MAX_LOGITS = 2**24  # elements of one chunk's logits: 64 MiB in float32


@dataclass(frozen=True)
class LossSums:
    """Sums over target tokens, to be divided by the number of tokens of the whole update. Scalars on the device."""

    loss: Tensor  # label-smoothed cross-entropy, differentiable
    nll: Tensor  # -log p(target), whose mean's exponential is the perplexity
    correct: Tensor  # tokens that were the most probable one


def batch_loss(model: Transformer, batch: Batch, *, label_smoothing: float = 0.0) -> LossSums:
    """The loss of every real target token of ``batch``, summed. Padding costs and counts nothing.

    :param label_smoothing: share of the target distribution spread evenly over the vocabulary (Szegedy et al. 2016).
    """
    source_mask_BS = length_mask(batch.source_lengths_B, batch.source_BS.shape[1])
    target_mask_BT = length_mask(batch.target_lengths_B, batch.target_BT.shape[1])
    decoder_output_BTD = model(batch.source_BS, source_mask_BS, batch.decoder_input_BT)
    # The loss is per token, so only real tokens need their row of logits.
    decoder_output_ND = decoder_output_BTD[target_mask_BT]
    target_N = batch.target_BT[target_mask_BT]
    return chunked_cross_entropy(decoder_output_ND, target_N, model.vocabulary, label_smoothing=label_smoothing)


def chunked_cross_entropy(
    decoder_output_ND: Tensor, target_N: Tensor, vocabulary: nn.Linear, *, label_smoothing: float
) -> LossSums:
    """Cross-entropy summed over N tokens, a chunk of logits at a time, recomputed for the backward pass."""
    chunk = max(1, _MAX_LOGITS // vocabulary.out_features)
    sums = decoder_output_ND.new_zeros(3, dtype=torch.float32)
    for output_nD, target_n in zip(torch.split(decoder_output_ND, chunk), torch.split(target_N, chunk), strict=True):
        if len(target_N) > chunk and torch.is_grad_enabled():
            chunk_sums = checkpoint(
                _chunk_sums, output_nD, target_n, vocabulary, label_smoothing,
                use_reentrant=False, preserve_rng_state=False,
            )  # fmt: skip
        else:
            chunk_sums = _chunk_sums(output_nD, target_n, vocabulary, label_smoothing)
        sums = sums + chunk_sums
    return LossSums(loss=sums[0], nll=sums[1].detach(), correct=sums[2].detach())


def _chunk_sums(output_ND: Tensor, target_N: Tensor, vocabulary: nn.Linear, label_smoothing: float) -> Tensor:
    logits_NV = vocabulary(output_ND).float()
    log_normalizer_N = logits_NV.logsumexp(dim=-1)
    target_logit_N = logits_NV.gather(1, target_N[:, None]).squeeze(1)
    nll_N = log_normalizer_N - target_logit_N
    loss_N = nll_N
    if label_smoothing > 0:
        uniform_N = log_normalizer_N - logits_NV.mean(dim=-1)
        loss_N = (1 - label_smoothing) * nll_N + label_smoothing * uniform_N
    correct_N = target_logit_N >= logits_NV.amax(dim=-1)
    return torch.stack((loss_N.sum(), nll_N.sum(), correct_N.sum()))
