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


@dataclass(kw_only=True)
class DecodingConfig:
    """How summaries are searched for."""

    method: DecodingMethod = DecodingMethod.beam
    """Beam search for the most probable summary, or random sampling. A beam of 1 is greedy search."""

    beam_size: int = 4
    """Hypotheses kept per document. Sampling always follows one."""

    length_penalty: float = 1.0
    """Power of the length that divides a log-probability: 0 compares sums and so favours short summaries,
    1 compares averages per token, larger values favour long ones."""

    early_stop: bool = False
    """Stop a document at its first beam_size finished hypotheses. Faster, but a longer one may score better;
    otherwise the search goes on until none can."""

    min_tokens: int = 0
    """Tokens a summary has before it may end, the end token not counted."""

    max_tokens: int = 128
    """Tokens at which a summary is cut off, the end token counted."""

    no_repeat_ngram_size: int = 3
    """No sequence of this many tokens appears twice in a summary. 0 allows all repetition."""

    coverage_penalty: float = 0.0
    """What a hypothesis loses, before its length is considered, for each time it copies a source token again. For
    models with a pointer (Gehrmann et al. 2018, https://arxiv.org/abs/1808.10792, section 4.2)."""

    temperature: float = 1.0
    """Sampling only: divides the logits; below 1 is more careful, above 1 more random."""

    top_k: int = 0
    """Sampling only: draw from this many most probable tokens. 0 means no limit."""

    top_p: float = 1.0
    """Sampling only: draw from the fewest tokens that together have this probability (after top_k)."""

    seed: int = 0
    """Sampling only: with the text of a document, it decides the summary of that document."""

    max_batch_tokens: int = 32768
    """Positions of one batch: padded source, and max_tokens of each beam. Concerns memory and speed only."""

    def validate(self) -> None:
        self._validate_search()
        self._validate_sampling()

    def _validate_search(self) -> None:
        for name in ("beam_size", "max_tokens", "max_batch_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"decoding.{name} ({getattr(self, name)}) must be at least 1")
        for name, most in (("beam_size", _WIDEST_BEAM), ("max_tokens", _LONGEST_SUMMARY)):
            if getattr(self, name) > most:
                raise UserError(f"decoding.{name} ({getattr(self, name)}) must be at most {most:,}")
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

    def _validate_sampling(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UserError(
                f"decoding.temperature ({self.temperature}) must be above 0; for the most probable token"
                " at each step use decoding=greedy (method=BEAM beam_size=1)"
            )
        if self.top_k < 0:
            raise UserError(f"decoding.top_k ({self.top_k}) must be 0 or more; 0 means no limit")
        if not 0 < self.top_p <= 1:
            raise UserError(f"decoding.top_p ({self.top_p}) must be above 0 and at most 1; 1 means no limit")
