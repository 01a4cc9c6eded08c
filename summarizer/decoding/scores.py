"""Log-probabilities in, scores out: which tokens may follow, and how hypotheses of unlike length compare.

B documents, W beams, T generated tokens so far, S source tokens, V vocabulary, N windows of n tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from summarizer.decoding.config import DecodingConfig, LengthNormalization, NgramUnit
from summarizer.decoding.search import SpecialIds


def length_normalized(log_probability: Tensor, length: Tensor | int, config: DecodingConfig) -> Tensor:
    """``log_probability`` by what ``config.length_normalization`` makes of the length, which counts the end token.

    A log-probability is a sum of negative terms, so a divisor that grows with the length raises the score of long
    sequences. Wu et al. 2016 (https://arxiv.org/abs/1609.08144, section 7) give the reasons.
    """
    match config.length_normalization:
        case LengthNormalization.none:
            return log_probability
        case LengthNormalization.average:
            return log_probability / length**config.length_penalty
        case LengthNormalization.wu:
            return log_probability / ((5 + length) / 6) ** config.length_penalty


def best_attainable(log_probability: Tensor, config: DecodingConfig) -> Tensor:
    """An upper bound of the normalised score that any continuation of a live hypothesis can have.

    Continuing can only lower ``log_probability``, which is never positive, and dividing a negative number by
    more raises it. With a power of 0 or more the bound is therefore reached at the greatest length, not at
    the present one.
    """
    return length_normalized(log_probability, config.max_tokens, config)


class TokenRules:
    """Which tokens may follow: those of the prefix first; never a forbidden id, no end before min_tokens, no repeated
    n-gram; and what repetition costs."""

    def __init__(
        self, config: DecodingConfig, special: SpecialIds, device: torch.device, prefix: Sequence[int] = ()
    ) -> None:
        self._prefix = torch.tensor(prefix, dtype=torch.int64, device=device)
        self._config = config
        self._end_id = special.end
        self._never = torch.tensor(special.never, dtype=torch.int64, device=device)
        self._never_yet = torch.tensor((*special.never, special.end), dtype=torch.int64, device=device)
        self._word_starts_V: Tensor | None = None
        if config.no_repeat_ngram_size and config.block_ngrams_of is NgramUnit.words:
            assert special.word_starts is not None, "words are blocked where it is known where they start"
            self._word_starts_V = torch.tensor(special.word_starts, device=device)

    def log_probabilities(self, logits_BWV: Tensor, history_BWT: Tensor) -> Tensor:
        """Log-probabilities in float32, minus infinity where the rules forbid. They are not renormalised:
        what is allowed keeps the probability that the model gave it, less what repetition costs."""
        log_probability_BWV = logits_BWV.float().log_softmax(dim=-1)
        length, vocab_size = history_BWT.shape[-1], logits_BWV.shape[-1]
        if length < len(self._prefix):
            return only(log_probability_BWV, self._prefix[length : length + 1])
        if self._config.repetition_penalty != 1 and length > 0:
            repeated_BWT = log_probability_BWV.gather(-1, history_BWT) * self._config.repetition_penalty
            log_probability_BWV.scatter_(-1, history_BWT, repeated_BWT)
        forbidden = self._never_yet if length < self._config.min_tokens else self._never
        log_probability_BWV.index_fill_(-1, forbidden, -torch.inf)
        size = self._config.no_repeat_ngram_size
        if size == 0 or length == 0:
            return log_probability_BWV
        # Each token of the history blocks one at most: usually there are too few of them to block all.
        may_be_stuck = length + len(forbidden) >= vocab_size
        before_BWV = log_probability_BWV.clone() if may_be_stuck else None
        if self._word_starts_V is None:
            repeated_BWT = repeated_pieces(history_BWT, size)
        else:
            repeated_BWT = repeated_words(history_BWT, size, self._word_starts_V)
        _block(log_probability_BWV, history_BWT, repeated_BWT, self._end_id)
        if before_BWV is None:
            return log_probability_BWV
        stuck_BW1 = log_probability_BWV.amax(dim=-1, keepdim=True) == -torch.inf
        return before_BWV.where(stuck_BW1, log_probability_BWV)


def only(log_probability_BWV: Tensor, token_1: Tensor) -> Tensor:
    """Set to minus infinity what is not this token."""
    forced_BW1 = log_probability_BWV.index_select(-1, token_1)
    return torch.full_like(log_probability_BWV, -torch.inf).index_copy(-1, token_1, forced_BW1)


def repeated_pieces(history_BWT: Tensor, size: int) -> Tensor:
    """bool BWT: whether to go on with the token that stands there would complete the n-gram that ends there again."""
    repeated_BWT = torch.zeros_like(history_BWT, dtype=torch.bool)
    if history_BWT.shape[-1] < size:
        return repeated_BWT
    window_BWNn = history_BWT.unfold(-1, size, 1)
    latest_BW1n = history_BWT[..., None, history_BWT.shape[-1] - size + 1 :]
    repeated_BWT[..., size - 1 :] = (window_BWNn[..., :-1] == latest_BW1n).all(dim=-1)
    return repeated_BWT


def repeated_words(history_BWT: Tensor, size: int, starts_V: Tensor) -> Tensor:
    """The same of ``size`` whole words: the last piece of the last of them may not follow the others again.

    :param starts_V: bool, which tokens begin a word.
    """
    length = history_BWT.shape[-1]
    starts_BWT = starts_V[history_BWT]
    starts_BWT[..., 0] = True
    word_BWT = starts_BWT.cumsum(dim=-1)
    # A word is over where the next one starts. The newest is over if it is one piece, and that piece starts one again.
    over_BWT = torch.cat((starts_BWT[..., 1:], starts_V[history_BWT[..., -1:]]), dim=-1)
    # Where words start: at a word's place the position of its first token, and never used beyond the last word.
    place_BWT = (word_BWT - 1).where(starts_BWT, length)
    position_T = torch.arange(length, device=history_BWT.device)
    first_BWT = history_BWT.new_zeros(*history_BWT.shape[:-1], length + 1)
    first_BWT.scatter_(-1, place_BWT, position_T.expand_as(history_BWT))
    first_BWT = first_BWT.gather(-1, (word_BWT - size).clamp(min=0))  # of the n-gram that ends here
    before_BWT = position_T - first_BWT  # its pieces but the last
    # A history that begins within a word holds a word there that nothing later can repeat.
    enough_BWT = over_BWT & (word_BWT >= size) & starts_V[history_BWT].gather(-1, first_BWT)
    most = int((before_BWT * enough_BWT).max())
    return enough_BWT & (_common_suffix(history_BWT, most) >= before_BWT)


def _common_suffix(history_BWT: Tensor, most: int) -> Tensor:
    """How many tokens before each position are the same as the latest ones, counted up to ``most``."""
    if most == 0:
        return torch.zeros_like(history_BWT)
    padded = torch.nn.functional.pad(history_BWT, (most, 0), value=-1)
    past_BWTm = padded.unfold(-1, most, 1)[..., : history_BWT.shape[-1], :]
    latest_BW1m = history_BWT[..., None, -most:]
    return (past_BWTm == latest_BW1m).flip(-1).to(torch.int64).cumprod(dim=-1).sum(dim=-1)


def _block(log_probability_BWV: Tensor, history_BWT: Tensor, repeated_BWT: Tensor, end_id: int) -> None:
    """Set the tokens of the history that would repeat to minus infinity, in place. The end never is."""
    # What is no repetition writes the end's own value to the end: scatter needs a place for every element, and equal
    # values make the order of its writes irrelevant.
    place_BWT = history_BWT.where(repeated_BWT, end_id)
    value_BWT = log_probability_BWV[..., end_id, None].where(place_BWT == end_id, -torch.inf)
    log_probability_BWV.scatter_(-1, place_BWT, value_BWT)


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
