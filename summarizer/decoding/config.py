"""How summaries are searched for, as a config dataclass."""

import math
from dataclasses import dataclass
from enum import Enum

from summarizer.errors import UserError

# A run from a stranger brings its own settings, and they shall not fill the memory or take for ever.
_WIDEST_BEAM = 1000
_LONGEST_SUMMARY = 100_000


class DecodingMethod(Enum):
    beam = "beam"
    sample = "sample"
    mbr = "mbr"


class LengthNormalization(Enum):
    """What the log-probability of a hypothesis is divided by, so that longer ones can compete."""

    none = "none"  # nothing: the more probable summary wins, which favours short ones
    average = "average"  # length ** length_penalty: with 1, the average per token
    wu = "wu"  # ((5 + length) / 6) ** length_penalty (Wu et al. 2016): gentler to short ones, whose length counts less


class NgramUnit(Enum):
    """What an n-gram that may not be repeated is made of."""

    pieces = "pieces"  # of the tokenizer
    words = "words"  # between spaces: two numbers may end alike


@dataclass(kw_only=True)
class DecodingConfig:
    """How summaries are searched for."""

    method: DecodingMethod = DecodingMethod.beam
    """beam: search for the most probable summary; a beam of 1 is greedy search. sample: draw one at random. mbr: draw
    num_samples and take the one most like the others (minimum Bayes risk; Eikema & Aziz 2020)."""

    beam_size: int = 4
    """Hypotheses kept per document. Sampling always follows one."""

    beam_groups: int = 1
    """Beam search in so many groups of beams, each kept from the tokens that the groups before it choose at the same
    step (diverse beam search; Vijayakumar et al. 2016, https://arxiv.org/abs/1610.02424)."""

    diversity_penalty: float = 0.5
    """With beam_groups: what a token loses, when beams choose, for each earlier beam that chose it. Scores do not."""

    length_normalization: LengthNormalization = LengthNormalization.average
    """none, average or wu: what makes the log-probabilities of short and long summaries comparable."""

    length_penalty: float = 1.0
    """Power of the length that divides a log-probability: 0 compares sums and so favours short summaries,
    1 compares averages per token, larger values favour long ones. Without effect on length_normalization=none."""

    early_stop: bool = False
    """Stop a document at its first beam_size finished hypotheses. Faster, but a longer one may score better;
    otherwise the search goes on until none can."""

    patience: float = 1.0
    """With early_stop: stop at patience * beam_size finished hypotheses (Kasai et al. 2022,
    https://arxiv.org/abs/2204.05424)."""

    min_tokens: int = 0
    """Tokens a summary has before it may end, the end token not counted."""

    max_tokens: int = 128
    """Tokens at which a summary is cut off, the end token counted."""

    no_repeat_ngram_size: int = 3
    """No sequence of this many pieces or words appears twice in a summary. 0 allows all repetition."""

    block_ngrams_of: NgramUnit = NgramUnit.pieces
    """pieces or words: what no_repeat_ngram_size counts. By pieces, a summary with 2,000 may not have 5,000 in it if
    three of their pieces are the same."""

    repetition_penalty: float = 1.0
    """The log-probability of tokens that the summary already has is multiplied by this (after Keskar et al. 2019,
    https://arxiv.org/abs/1909.05858, who divide logits, which has no fixed effect): above 1, they get less probable."""

    coverage_penalty: float = 0.0
    """What a hypothesis loses, before its length is considered, for each time it copies a source token again. For
    models with a pointer (Gehrmann et al. 2018, https://arxiv.org/abs/1808.10792, section 4.2)."""

    temperature: float = 1.0
    """Sampling only: divides the logits; below 1 is more careful, above 1 more random."""

    top_k: int = 0
    """Sampling only: draw from this many most probable tokens. 0 means no limit."""

    top_p: float = 1.0
    """Sampling only: draw from the fewest tokens that together have this probability (after top_k)."""

    min_p: float = 0.0
    """Sampling only: draw from tokens with at least this share of the best one's probability (after top_p; Nguyen et
    al. 2024, https://arxiv.org/abs/2407.01082)."""

    num_samples: int = 16
    """With method=mbr: samples of each document, the candidates and what they are compared with."""

    seed: int = 0
    """Sampling only: with the text of a document, it decides the summary of that document."""

    max_batch_tokens: int = 32768
    """Positions of one batch: padded source, and max_tokens of each beam. Concerns memory and speed only."""

    def validate(self) -> None:
        self._validate_search()
        self._validate_sampling()

    def _validate_search(self) -> None:
        for name in ("beam_size", "beam_groups", "max_tokens", "max_batch_tokens", "num_samples"):
            if getattr(self, name) < 1:
                raise UserError(f"decoding.{name} ({getattr(self, name)}) must be at least 1")
        for name, most in (
            ("beam_size", _WIDEST_BEAM),
            ("num_samples", _WIDEST_BEAM),
            ("max_tokens", _LONGEST_SUMMARY),
        ):
            if getattr(self, name) > most:
                raise UserError(f"decoding.{name} ({getattr(self, name)}) must be at most {most:,}")
        self._validate_beams()
        if not (math.isfinite(self.length_penalty) and self.length_penalty >= 0):
            raise UserError(
                f"decoding.length_penalty ({self.length_penalty}) must be 0 or more; 0 gives short summaries"
            )
        if not 0 <= self.min_tokens < self.max_tokens:
            raise UserError(
                f"decoding.min_tokens ({self.min_tokens}) must be at least 0 and below decoding.max_tokens"
                f" ({self.max_tokens}); lower min_tokens or raise max_tokens"
            )
        if not (math.isfinite(self.coverage_penalty) and self.coverage_penalty >= 0):
            raise UserError(
                f"decoding.coverage_penalty ({self.coverage_penalty}) must be 0 or more; 0 takes nothing off"
            )
        if self.no_repeat_ngram_size < 0:
            raise UserError(
                f"decoding.no_repeat_ngram_size ({self.no_repeat_ngram_size}) must be 0 or more;"
                " use 0 to allow repetition"
            )

        if not (math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0):
            raise UserError(
                f"decoding.repetition_penalty ({self.repetition_penalty}) must be above 0; 1 changes nothing"
            )

    def _validate_beams(self) -> None:
        if self.beam_size % self.beam_groups:
            raise UserError(
                f"decoding.beam_size ({self.beam_size}) must be divisible by decoding.beam_groups ({self.beam_groups}):"
                f" try decoding.beam_size={-(-self.beam_size // self.beam_groups) * self.beam_groups}"
            )
        if not (math.isfinite(self.diversity_penalty) and self.diversity_penalty >= 0):
            raise UserError(
                f"decoding.diversity_penalty ({self.diversity_penalty}) must be 0 or more; 0 lets groups choose alike"
            )
        if not (math.isfinite(self.patience) and self.patience > 0):
            raise UserError(f"decoding.patience ({self.patience}) must be above 0; 1 stops at beam_size finished ones")
        if self.patience != 1 and not self.early_stop:
            raise UserError(
                f"decoding.patience ({self.patience}) says when to stop early: add decoding.early_stop=true, or leave "
                "it at 1"
            )

    def _validate_sampling(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UserError(
                f"decoding.temperature ({self.temperature}) must be above 0; for the most probable token"
                " at each step use decoding=greedy (method=beam beam_size=1)"
            )
        if self.top_k < 0:
            raise UserError(f"decoding.top_k ({self.top_k}) must be 0 or more; 0 means no limit")
        if not 0 < self.top_p <= 1:
            raise UserError(f"decoding.top_p ({self.top_p}) must be above 0 and at most 1; 1 means no limit")
        if not 0 <= self.min_p < 1:
            raise UserError(f"decoding.min_p ({self.min_p}) must be at least 0 and below 1; 0 means no limit")
