"""The words every search shares: what it asks for each step, what it shows meanwhile, and what it answers.

B documents, W beams, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class SpecialIds:
    """The ids a search treats differently from the others."""

    start: int  # what a decoder reads before its first token
    end: int  # what ends a hypothesis
    never: tuple[int, ...]  # what no hypothesis may contain: padding, start, unknown
    word_starts: Sequence[bool] | None = None  # of each id, whether it begins a word; for blocking n-grams of words


@dataclass(frozen=True)
class Hypothesis:
    """A generated sequence."""

    ids: list[int]  # without the start and the end id
    score: float  # the log-probability, normalised for length: what hypotheses are compared by
    log_probability: float  # of all generated tokens, the end token among them, less their penalties
    ended: bool  # by itself: it was not cut off


def hypothesis_of(ids: list[int], score: float, log_probability: float, end_id: int) -> Hypothesis:
    """The hypothesis that ``ids`` spell, the end id the last of them if it has ended."""
    ended = ids[-1] == end_id
    return Hypothesis(ids[:-1] if ended else ids, score, log_probability, ended)


@dataclass(frozen=True)
class Draft:
    """What a search holds best of one document after a step."""

    document: int  # its position among those searched
    hypothesis: Hypothesis  # ended or not yet


Observer = Callable[[Sequence[Draft]], None]  # told after each step about the documents still searched


class NextToken(Protocol):
    """A model as a search sees it: it remembers the tokens it was given, one row per live hypothesis."""

    def __call__(self, token_BW: Tensor, step: int) -> Tensor:
        """Take the token at position ``step`` of every hypothesis; return logits_BWV of what follows it."""
        ...

    def penalty(self) -> Tensor | None:
        """penalty_BW, 0 or more: what each hypothesis of the latest call loses, whatever follows. None: nothing."""
        ...

    def reorder(self, parent_BW: Tensor) -> None:
        """Let hypothesis w of row b continue what was hypothesis ``parent_BW[b, w]`` of the same row."""
        ...

    def keep(self, documents_B: Tensor) -> None:
        """Forget all rows except these (int64 positions in the present batch), in this order."""
        ...
