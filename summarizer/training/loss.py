"""Decoder output and targets in, summed cross-entropy out, without ever holding the logits of a whole batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from summarizer.data.batch import Batch
from summarizer.model.masks import length_mask
from summarizer.model.pointer import Copying, DistinctTokens, at_least_float32, raised_by_copying
from summarizer.model.transformer import Transformer

_MAX_LOGITS = 2**24  # elements of one chunk's logits: 64 MiB in float32


@dataclass(frozen=True)
class LossSums:
    """Sums over target tokens, to be divided by the number of tokens of the whole update. Scalars on the device."""

    loss: Tensor  # what training lowers, differentiable: label-smoothed cross-entropy, and coverage if asked for
    nll: Tensor  # -log p(target), whose mean's exponential is the perplexity
    correct: Tensor  # tokens that were the most probable one
    pointer: Mapping[str, Tensor] = field(default_factory=dict)  # what a model with a pointer can tell besides


class Pointing(NamedTuple):
    """What the pointer says of N target tokens."""

    log_weights_NS: Tensor
    gate_N: Tensor
    slot_NS: Tensor
    token_NU: Tensor


def batch_loss(
    model: Transformer, batch: Batch, *, label_smoothing: float = 0.0, coverage_weight: float = 0.0
) -> LossSums:
    """The loss of every real target token of ``batch``, summed. Padding costs and counts nothing.

    The ``pointer`` sums are ``p_gen``, the probability of generating; ``copy_rate``, the probability that the target
    came by copying, now that it is known; and ``coverage``, the :func:`coverage_loss`.

    :param label_smoothing: share of the target distribution spread evenly over the vocabulary (Szegedy et al. 2016).
    :param coverage_weight: of the coverage loss within the loss; for models with a pointer.
    """
    source_mask_BS = length_mask(batch.source_lengths_B, batch.source_BS.shape[1])
    target_mask_BT = length_mask(batch.target_lengths_B, batch.target_BT.shape[1])
    hidden_BTD, copying = model(batch.source_BS, source_mask_BS, batch.decoder_input_BT)
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


def chunked_cross_entropy(
    hidden_ND: Tensor,
    target_N: Tensor,
    vocabulary: nn.Linear,
    pointing: Pointing | None = None,
    *,
    label_smoothing: float,
) -> LossSums:
    """Cross-entropy summed over N tokens, a chunk of logits at a time, recomputed for the backward pass."""
    rows = max(1, _MAX_LOGITS // vocabulary.out_features)
    starts = range(0, max(1, len(target_N)), rows)  # no token is a chunk too: its loss is 0 and has a gradient
    sums = hidden_ND.new_zeros(5, dtype=torch.promote_types(hidden_ND.dtype, torch.float32))
    for start in starts:
        chunk = slice(start, start + rows)
        pointing_n = None if pointing is None else Pointing(*(tensor[chunk] for tensor in pointing))
        arguments = (hidden_ND[chunk], target_N[chunk], vocabulary, pointing_n, label_smoothing)
        if len(starts) > 1 and torch.is_grad_enabled():
            sums = sums + checkpoint(_chunk_sums, *arguments, use_reentrant=False, preserve_rng_state=False)
        else:
            sums = sums + _chunk_sums(*arguments)
    loss, nll, correct, p_gen, copy_rate = sums.unbind()
    details = {} if pointing is None else {"p_gen": p_gen.detach(), "copy_rate": copy_rate.detach()}
    return LossSums(loss, nll.detach(), correct.detach(), details)


def _chunk_sums(
    hidden_ND: Tensor, target_N: Tensor, vocabulary: nn.Linear, pointing: Pointing | None, label_smoothing: float
) -> Tensor:
    """Loss, nll, correct, p_gen and copy rate, summed. With a pointer, P(w) is what generating w gives, raised."""
    logits_NV = at_least_float32(vocabulary(hidden_ND))
    log_normalizer_N = logits_NV.logsumexp(dim=-1)
    target_logit_N = logits_NV.gather(1, target_N[:, None]).squeeze(1)
    best_logit_N = logits_NV.amax(dim=-1)
    mean_logit_N = logits_NV.mean(dim=-1)
    p_gen_N = copied_N = torch.zeros_like(target_logit_N)
    if pointing is not None:
        log_weights_NS, gate_N, slot_NS, token_NU = pointing
        logit_NU = logits_NV.gather(1, token_NU)
        raise_NU = raised_by_copying(logit_NU - log_normalizer_N[:, None], log_weights_NS, gate_N, slot_NS)
        target_raise_N = (raise_NU * (token_NU == target_N[:, None])).sum(dim=-1)
        log_normalizer_N = log_normalizer_N - F.logsigmoid(gate_N)
        target_logit_N = target_logit_N + target_raise_N
        best_logit_N = torch.maximum(best_logit_N, (logit_NU + raise_NU).amax(dim=-1))
        mean_logit_N = mean_logit_N + raise_NU.sum(dim=-1) / logits_NV.shape[-1]
        p_gen_N, copied_N = gate_N.sigmoid(), -torch.expm1(-target_raise_N)
    nll_N = log_normalizer_N - target_logit_N
    loss_N = nll_N
    if label_smoothing > 0:
        loss_N = (1 - label_smoothing) * nll_N + label_smoothing * (log_normalizer_N - mean_logit_N)
    correct_N = (target_logit_N >= best_logit_N).to(nll_N.dtype)
    return torch.stack((loss_N, nll_N, correct_N, p_gen_N, copied_N)).sum(dim=-1)


def _pointing(copying: Copying, tokens: DistinctTokens, target_mask_BT: Tensor) -> Pointing:
    """One row for each real target token."""
    targets = target_mask_BT.shape[1]
    slot_NS, token_NU = (tensor[:, None].expand(-1, targets, -1)[target_mask_BT] for tensor in tokens)
    return Pointing(copying.log_weights_BTS[target_mask_BT], copying.gate_BT[target_mask_BT], slot_NS, token_NU)
