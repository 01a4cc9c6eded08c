"""Documents with references in; the scoring of their first sentences, by us and by rouge-score, as a contest out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rouge_score.rouge_scorer import RougeScorer

from summarizer.benchmark.contest import OURS, Contender, Contest, Work
from summarizer.data.example import Example
from summarizer.evaluation.baselines import lead
from summarizer.evaluation.rouge import ROUGE_TYPES, score_pairs
from summarizer.evaluation.words import forget_stems


def scoring_contest(examples: Sequence[Example], *, processes: int, peers: bool) -> Contest:
    """ROUGE-1, -2, -L and -Lsum with stemmer, of lead-3. Everybody starts without stems and processes."""
    references = [example.summary for example in examples]
    predictions = [lead(example.document) for example in examples]

    note = f"{processes} processes, of which {processes - 1} started anew in each round" if processes > 1 else ""
    contenders = [Contender(OURS, partial(_ours, references, predictions, processes), note)]
    if peers:
        theirs = partial(_theirs, references, predictions)
        contenders.append(Contender("rouge-score", theirs, "one process, which is all it has; the same numbers"))
    return Contest(f"ROUGE of {len(examples):,} pairs", "pairs", len(examples), contenders)


def _ours(references: Sequence[str], predictions: Sequence[str], processes: int) -> Work:
    def run() -> None:
        forget_stems()
        score_pairs(references, predictions, processes)

    return run


def _theirs(references: Sequence[str], predictions: Sequence[str]) -> Work:
    def run() -> None:
        scorer = RougeScorer(list(ROUGE_TYPES), use_stemmer=True)
        for reference, prediction in zip(references, predictions, strict=True):
            scorer.score(reference, prediction)

    return run
