"""Two sets of predictions for the same cases in; whether one is better, and how sure that is, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from summarizer.errors import UserError
from summarizer.evaluation.bootstrap import Difference, RougeSummary, aggregate, f1_difference
from summarizer.evaluation.cases import Case
from summarizer.evaluation.rouge import protocol, score_pairs
from summarizer.evaluation.words import ENGLISH
from summarizer.evaluation.workers import Workers


@dataclass(frozen=True)
class Comparison:
    """What both scored, and the first less the second."""

    first: RougeSummary
    second: RougeSummary
    difference: dict[str, Difference]  # by ROUGE type, of F1, paired
    examples: int
    resamples: int
    protocol: str

    def metrics(self) -> dict[str, Any]:
        """Plain data for JSON, by ROUGE type; scores lie between 0 and 1."""
        by_type = {
            rouge_type: {
                "first": self.first[rouge_type].f1.mean,
                "second": self.second[rouge_type].f1.mean,
                "difference": difference.mean,
                "difference_low": difference.low,
                "difference_high": difference.high,
                "p": difference.p,
            }
            for rouge_type, difference in self.difference.items()
        }
        return {**by_type, "examples": self.examples, "protocol": self.protocol}


def compare(
    cases: Sequence[Case],
    first: Sequence[str],
    second: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 1000,
    processes: int = 1,
    language: str = ENGLISH,
) -> Comparison:
    """Score both and resample the cases together: which cases were drawn is luck that both share.

    Raises UserError for no cases, a number below 1, or an unknown language.
    """
    if resamples < 1:
        raise UserError(f"resamples ({resamples}) must be at least 1; 1000 is usual")
    references = [case.references for case in cases]
    with Workers(processes) as workers:
        scores = [score_pairs(references, texts, language=language, workers=workers) for texts in (first, second)]
    return Comparison(
        first=aggregate(scores[0], seed=seed, resamples=resamples),
        second=aggregate(scores[1], seed=seed, resamples=resamples),
        difference=f1_difference(*scores, seed=seed, resamples=resamples),
        examples=len(cases),
        resamples=resamples,
        protocol=protocol(
            seed=seed, resamples=resamples, language=language, most_references=max(map(len, references), default=1)
        ),
    )
