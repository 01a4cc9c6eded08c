"""Log-probabilities in, scores out: which tokens may follow, and how hypotheses of unlike length compare.

B documents, W beams, T generated tokens so far, S source tokens, V vocabulary, N windows of n tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.search import SpecialIds


def length_normalized(log_probability: Tensor, length: Tensor | int, length_penalty: float) -> Tensor:
    """``log_probability / length ** length_penalty``, where ``length`` counts the end token.

    A log-probability is a sum of negative terms, so a larger power raises the score of long sequences: 0
    leaves the sum, 1 gives the average per token. Wu et al. 2016 (https://arxiv.org/abs/1609.08144,
    section 7) give the reasons and a relative of this formula.
    """
    return log_probability / length**length_penalty


def best_attainable(log_probability: Tensor, max_tokens: int, length_penalty: float) -> Tensor:
    """An upper bound of the normalised score that any continuation of a live hypothesis can have.

    Continuing can only lower ``log_probability``, which is never positive, and dividing a negative number by
    more raises it. With a power of 0 or more the bound is therefore reached at the greatest length, not at
    the present one.
    """
    return length_normalized(log_probability, max_tokens, length_penalty)


class TokenRules:
    """Which tokens may follow: those of the prefix first; never a forbidden id, no end before min_tokens, no repeated
    n-gram."""

    def __init__(
        self, config: DecodingConfig, special: SpecialIds, device: torch.device, prefix: Sequence[int] = ()
    ) -> None:
        self._prefix = torch.tensor(prefix, dtype=torch.int64, device=device)
        self._min_tokens = config.min_tokens
        self._ngram_size = config.no_repeat_ngram_size
        self._end_id = special.end
        self._never = torch.tensor(special.never, dtype=torch.int64, device=device)
        self._never_yet = torch.tensor((*special.never, special.end), dtype=torch.int64, device=device)

    def log_probabilities(self, logits_BWV: Tensor, history_BWT: Tensor) -> Tensor:
        """Log-probabilities in float32, minus infinity where the rules forbid. They are not renormalised:
        what is allowed keeps the probability that the model gave it."""
        log_probability_BWV = logits_BWV.float().log_softmax(dim=-1)
        length = history_BWT.shape[-1]
        if length < len(self._prefix):
            return only(log_probability_BWV, self._prefix[length : length + 1])
        forbidden = self._never_yet if length < self._min_tokens else self._never
        log_probability_BWV = log_probability_BWV.index_fill(-1, forbidden, -torch.inf)
        if self._ngram_size == 0:
            return log_probability_BWV
        return block_repeated_ngrams(log_probability_BWV, history_BWT, self._ngram_size, self._end_id)


def only(log_probability_BWV: Tensor, token_1: Tensor) -> Tensor:
    """Set to minus infinity what is not this token."""
    forced_BW1 = log_probability_BWV.index_select(-1, token_1)
    return torch.full_like(log_probability_BWV, -torch.inf).index_copy(-1, token_1, forced_BW1)


def block_repeated_ngrams(log_probability_BWV: Tensor, history_BWT: Tensor, ngram_size: int, end_id: int) -> Tensor:
    """Set to minus infinity what would complete an n-gram that its history already holds.

    The end is never blocked, and a hypothesis that could not go on at all may repeat itself: blocking alone
    never kills one.
    """
    if history_BWT.shape[-1] < ngram_size:
        return log_probability_BWV
    window_BWNn = history_BWT.unfold(-1, ngram_size, 1)
    latest_BW1n = history_BWT[..., None, history_BWT.shape[-1] - ngram_size + 1 :]
    repeated_BWN = (window_BWNn[..., :-1] == latest_BW1n).all(dim=-1)
    completion_BWN = window_BWNn[..., -1]
    # Windows that are no match write the end's own value to the end: scatter needs a place for every element,
    # and equal values make the order of its writes irrelevant.
    place_BWN = completion_BWN.where(repeated_BWN, end_id)
    value_BWN = log_probability_BWV[..., end_id, None].where(place_BWN == end_id, -torch.inf)
    blocked_BWV = log_probability_BWV.scatter(-1, place_BWN, value_BWN)
    stuck_BW1 = blocked_BWV.amax(dim=-1, keepdim=True) == -torch.inf
    return log_probability_BWV.where(stuck_BW1, blocked_BWV)


class CoveragePenalty:
    """Charges hypotheses for what they copy from a source token beyond once (Gehrmann et al. 2018).

    :param weight: the charge for one full copy.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._coverage_BWS: Tensor | None = None  # copied so far, from each source token

    def charge(self, copied_BWS: Tensor) -> Tensor:
        """penalty_BW of one step, in which each source token is copied with this probability."""
        before_BWS = torch.zeros_like(copied_BWS) if self._coverage_BWS is None else self._coverage_BWS
        self._coverage_BWS = before_BWS + copied_BWS
        excess_BWS = self._coverage_BWS.clamp_min(1) - before_BWS.clamp_min(1)
        return self.weight * excess_BWS.sum(dim=-1)

    def reorder(self, parent_BW: Tensor) -> None:
        assert self._coverage_BWS is not None, "nothing to reorder before the first step"
        index_BWS = parent_BW[..., None].expand_as(self._coverage_BWS)
        self._coverage_BWS = self._coverage_BWS.gather(1, index_BWS)

    def keep(self, documents_B: Tensor) -> None:
        assert self._coverage_BWS is not None, "nothing to keep before the first step"
        self._coverage_BWS = self._coverage_BWS[documents_B]
