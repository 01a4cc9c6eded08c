"""The pointer-generator (See et al. 2017) for subwords: where to copy from, whether to, and the mixed distribution.

    P(w) = p_gen · P_vocabulary(w) + (1 - p_gen) · (attention paid to the source tokens that are w)

All of it is computed from logarithms, in float32 at least: a probability that half precision rounds to zero would have
no logarithm, and no gradient to recover by. Shapes as in the package, and

    N target tokens of any batch      U distinct source tokens; padded to S, for a document may have no token twice
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from summarizer.model.scoring import ScoreFunction

_CERTAIN = 1e4  # a gate that is open beyond doubt


class Copying(NamedTuple):
    """What the pointer says of each target position."""

    log_weights_BTS: Tensor  # logarithm of the attention paid to each source token: what copying would copy
    gate_BT: Tensor  # log-odds of generating: p_gen is its sigmoid

    def copied(self) -> Tensor:
        """copied_BTS, (1 - p_gen) · attention: how probable it is that each source token is copied."""
        return (self.log_weights_BTS + F.logsigmoid(-self.gate_BT)[..., None]).exp()


class DistinctTokens(NamedTuple):
    """Each source token once: the places where copies of one token meet."""

    slot_BS: Tensor  # int64, in which of U slots each source position counts
    token_BU: Tensor  # int64, the token of each slot; 0 for slots that are not used

    @staticmethod
    def of(source_BS: Tensor) -> DistinctTokens:
        sorted_BS, order_BS = source_BS.sort(dim=1)
        rank_BS = F.pad((sorted_BS[:, 1:] != sorted_BS[:, :-1]).cumsum(dim=1), (1, 0))
        return DistinctTokens(
            torch.empty_like(source_BS).scatter_(1, order_BS, rank_BS),
            torch.zeros_like(source_BS).scatter_(1, rank_BS, sorted_BS),
        )


class Pointer(nn.Module):
    """One more attention to the encoder output, on top of the decoder: its weights are the copy distribution.

    The gate sees what See et al. 2017 show it: the mixture of encoder outputs that the attention chooses, the decoder's
    output, and the decoder's input.

    :param width: size D of the vectors that come in.
    :param key_dim: size K of a query and a key; there is one head, for a copy comes from one place.
    :param score: built for one head of ``key_dim``.
    """

    def __init__(self, *, width: int, key_dim: int, score: ScoreFunction) -> None:
        super().__init__()
        self.query = nn.Linear(width, key_dim)
        self.key = nn.Linear(width, key_dim)
        self.score = score
        self.gate = nn.Linear(3 * width, 1)

    def keys(self, encoder_output_BSD: Tensor) -> Tensor:
        """key_BSK, to be computed once per document."""
        key_BSK: Tensor = self.key(encoder_output_BSD)
        return key_BSK

    def forward(
        self,
        decoder_output_BTD: Tensor,
        decoder_input_BTD: Tensor,
        encoder_output_BSD: Tensor,
        key_BSK: Tensor,
        source_mask_BS: Tensor | None,
    ) -> Copying:
        """Where nothing can be copied, because all of the source is masked, everything is generated.

        :param decoder_input_BTD: embeddings of the tokens before those to predict.
        :param source_mask_BS: bool, True = may be copied; None if all may.
        """
        score_B1TS: Tensor = self.score(self.query(decoder_output_BTD)[:, None], key_BSK[:, None])
        score_BTS = at_least_float32(score_B1TS.squeeze(1))
        log_weights_BTS = masked_log_softmax(score_BTS, None if source_mask_BS is None else source_mask_BS[:, None])
        context_BTD = log_weights_BTS.exp().to(encoder_output_BSD.dtype) @ encoder_output_BSD
        gate_BT: Tensor = self.gate(torch.cat((context_BTD, decoder_output_BTD, decoder_input_BTD), dim=-1)).squeeze(-1)
        gate_BT = at_least_float32(gate_BT)
        if source_mask_BS is not None:
            gate_BT = gate_BT.masked_fill(~source_mask_BS.any(dim=1, keepdim=True), _CERTAIN)
        return Copying(log_weights_BTS, gate_BT)


def masked_log_softmax(score_BTS: Tensor, mask_B1S: Tensor | None) -> Tensor:
    """Among the positions where the mask is True; the lowest finite number elsewhere."""
    if mask_B1S is None:
        return score_BTS.log_softmax(dim=-1)
    lowest = torch.finfo(score_BTS.dtype).min
    return score_BTS.masked_fill(~mask_B1S, lowest).log_softmax(dim=-1).masked_fill(~mask_B1S, lowest)


def raised_by_copying(log_vocabulary_NU: Tensor, log_weights_NS: Tensor, gate_N: Tensor, slot_NS: Tensor) -> Tensor:
    """What copying adds to the logarithm of p_gen · P_vocabulary, for each distinct source token: raise_NU, 0 or more.

    With g the gate, log(p_gen · v + (1 - p_gen) · c) = log(p_gen · v) + log(1 + exp(log c - log v - g)). Tokens that
    the source lacks have c = 0 and are not raised, so a sum over the source does for one over the vocabulary.

    :param log_vocabulary_NU: logarithm of P_vocabulary at the slots' tokens.
    """
    log_copy_NU = sum_by_slot(log_weights_NS, slot_NS)
    return -F.logsigmoid(log_vocabulary_NU + gate_N[..., None] - log_copy_NU)


def sum_by_slot(log_weights_NS: Tensor, slot_NS: Tensor) -> Tensor:
    """The weights of equal source tokens added up: log in, log out. The lowest finite number where nothing is."""
    lowest = torch.finfo(log_weights_NS.dtype).min
    # The sum does not depend on what is factored out of it, so no gradient has to go through the peak.
    peak_NU = torch.full_like(log_weights_NS, lowest).scatter_reduce(-1, slot_NS, log_weights_NS.detach(), "amax")
    share_NS = (log_weights_NS - peak_NU.gather(-1, slot_NS)).exp()
    total_NU = torch.zeros_like(share_NS).scatter_add(-1, slot_NS, share_NS)
    # The peak itself is a share of one, so only slots that are not used have a total below.
    return peak_NU + total_NU.clamp_min(1).log()


def mixed_log_probabilities(logits_BTV: Tensor, copying: Copying, tokens: DistinctTokens) -> Tensor:
    """log P of every token of the vocabulary: (B, T, V), at least float32."""
    log_vocabulary_BTV = at_least_float32(logits_BTV).log_softmax(dim=-1)
    targets = logits_BTV.shape[1]
    slot_BTS, token_BTU = (tensor[:, None].expand(-1, targets, -1) for tensor in tokens)
    raise_BTU = raised_by_copying(
        log_vocabulary_BTV.gather(-1, token_BTU), copying.log_weights_BTS, copying.gate_BT, slot_BTS
    )
    generated_BTV = log_vocabulary_BTV + F.logsigmoid(copying.gate_BT)[..., None]
    return generated_BTV.scatter_add(-1, token_BTU, raise_BTU)


def copied_share(logits_BTV: Tensor, copying: Copying, tokens: DistinctTokens, target_BT: Tensor) -> Tensor:
    """How probable it is that a target token, now that it is known, came by copying: (B, T), between 0 and 1."""
    target_BT1 = target_BT[..., None]
    mixed_BT1 = mixed_log_probabilities(logits_BTV, copying, tokens).gather(-1, target_BT1)
    vocabulary_BT1 = at_least_float32(logits_BTV).log_softmax(dim=-1).gather(-1, target_BT1)
    generated_BT = vocabulary_BT1.squeeze(-1) + F.logsigmoid(copying.gate_BT)
    return -torch.expm1(generated_BT - mixed_BT1.squeeze(-1))


def at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
