"""Cases and what summarizes them in; ROUGE beside baselines, and what ROUGE does not see, out: as data and as files."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from summarizer.checkpoint import write_text_atomically
from summarizer.errors import UserError
from summarizer.evaluation import rouge
from summarizer.evaluation.baselines import lead, oracles, random_sentences
from summarizer.evaluation.bootstrap import Difference, Interval, Measure, RougeSummary, aggregate, f1_difference
from summarizer.evaluation.cases import Case
from summarizer.evaluation.rouge import PairScores
from summarizer.evaluation.traits import SHARE_READ, TRAITS, traits_of_all
from summarizer.evaluation.words import ENGLISH, words_of
from summarizer.evaluation.workers import Workers

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.jsonl"

Traits = dict[str, float]  # some of TRAITS


@dataclass(frozen=True)
class Record:
    """One case with its prediction."""

    case: Case
    prediction: str
    scores: PairScores  # by ROUGE type, 0 to 1
    traits: Traits
    share_read: float | None = None  # of the document's tokens; None where nobody knows

    def as_data(self) -> dict[str, Any]:
        """A line of predictions.jsonl."""
        several = len(self.case.references) > 1
        return {
            "id": self.case.id,
            "document": self.case.document,
            **({"references": list(self.case.references)} if several else {"reference": self.case.references[0]}),
            "prediction": self.prediction,
            **({} if self.share_read is None else {"share_read": round(self.share_read, 4)}),
            "scores": {rouge_type: score._asdict() for rouge_type, score in self.scores.items()},
        }


@dataclass(frozen=True)
class Evaluation:
    """What predictions scored on a set of cases, and what extracts of the same documents scored."""

    model: RougeSummary
    baselines: dict[str, RougeSummary]  # lead<k>, random<k>, oracle<k>; none where documents are not known
    difference: dict[str, Difference]  # by ROUGE type: F1 of the model minus F1 of lead, paired; empty without lead
    traits: Traits  # means over the predictions that have them
    reference_traits: Traits  # the same of the first reference of each case
    records: list[Record]  # in the order of the cases
    baseline_sentences: int
    language: str  # by whose words
    protocol: str
    seconds: float  # spent in the summarize function
    lead_scores: list[PairScores]  # of each case; empty without lead
    resamples: int  # behind each interval and p
    long_document: str | None = None  # what was done with documents longer than the model reads, where one did

    @property
    def lead(self) -> RougeSummary | None:
        return self.baselines.get(f"lead{self.baseline_sentences}")

    def with_reading(self, long_document: str, shares_read: Sequence[float]) -> Evaluation:
        """The same, telling how much of each document was read: as a trait of the predictions and of each record."""
        records = [replace(record, share_read=share) for record, share in zip(self.records, shares_read, strict=True)]
        traits = {**self.traits, SHARE_READ: float(np.mean(shares_read))}
        return replace(self, records=records, traits=traits, long_document=long_document)

    def metrics(self) -> dict[str, Any]:
        """Plain data for JSON; scores lie between 0 and 1.

        Keys: ``rouge1``, ``rouge2``, ``rougeL``, ``rougeLsum``, each with ``precision``, ``recall``, ``f1``
        and the bounds ``f1_low`` and ``f1_high`` of its 95% interval; ``lead3``, ``random3``, ``oracle3`` (named
        by their number of sentences) with the same four for the baselines; ``difference`` with ``f1``, ``f1_low``,
        ``f1_high`` and ``p`` of model minus lead; ``traits`` and ``reference_traits``, see :data:`TRAITS`;
        ``examples``, ``seconds`` spent summarizing, ``language`` and ``protocol``. Where a model read the documents,
        ``long_document`` and ``documents_cut``, the number of those that it did not read to their end.
        """
        return {
            **_scores_as_data(self.model),
            **{name: _scores_as_data(summary) for name, summary in self.baselines.items()},
            "difference": {
                rouge_type: {**_f1_as_data(difference), "p": difference.p}
                for rouge_type, difference in self.difference.items()
            },
            **self._reading(),
            "traits": self.traits,
            "reference_traits": self.reference_traits,
            "examples": len(self.records),
            "seconds": self.seconds,
            "language": self.language,
            "protocol": self.protocol,
        }

    def _reading(self) -> dict[str, Any]:
        if self.long_document is None:
            return {}
        cut = sum(record.share_read is not None and record.share_read < 1 for record in self.records)
        return {"long_document": self.long_document, "documents_cut": cut}

    def write(self, folder: Path) -> None:
        """Write metrics.json (``metrics``) and predictions.jsonl (``Record.as_data``), each whole or not at all.

        Raises:
            UserError: the folder cannot be created or written to.
        """
        lines = [json.dumps(record.as_data(), ensure_ascii=False) for record in self.records]
        write_text_atomically(folder / PREDICTIONS_FILE, "\n".join(lines) + "\n")
        metrics = json.dumps(self.metrics(), indent=2, ensure_ascii=False)
        write_text_atomically(folder / METRICS_FILE, metrics + "\n")


@dataclass(frozen=True)
class Baselines:
    """What is the same for all that is said of one set of cases."""

    scores: dict[str, list[PairScores]]  # of each extract: lead<k>, random<k>, oracle<k>
    reference_traits: list[Traits]


def evaluate(
    summarize: Callable[[Sequence[str]], list[str]],
    cases: Sequence[Case],
    *,
    seed: int = 0,
    resamples: int = 1000,
    processes: int = 1,
    baseline_sentences: int = 3,
    language: str = ENGLISH,
    reuse: Callable[[Callable[[], Baselines]], Baselines] = lambda make: make(),
) -> Evaluation:
    """Summarize the documents of ``cases`` in one call, and score the summaries beside extracts of the documents.

    Args:
        summarize: gives one summary for each document, in order, its sentences separated by newlines.
        seed: of the bootstrap and the random baseline; with ``resamples``, it settles the intervals.
        processes: that share the scoring; they change no number.
        baseline_sentences: taken from each document by the baselines.
        language: of the texts, see :func:`words_of`.
        reuse: gives the baselines of these cases, if they are known, and else makes them.

    Raises:
        UserError: no cases, a number below 1, an unknown language, or not as many summaries as documents.
    """
    if not cases:
        raise UserError("examples (0) must be at least 1; choose a split that has rows, or raise its limit")
    if resamples < 1:  # said before hours of summarizing, not after
        raise UserError(f"resamples ({resamples}) must be at least 1; 1000 is usual")
    words_of(language)
    with Workers(processes) as workers:
        score = functools.partial(_scores, cases, language=language, workers=workers)

        def make_baselines() -> Baselines:
            extracts = _extracts(cases, baseline_sentences, seed=seed, language=language, workers=workers)
            references = [case.references[0] for case in cases]
            traits = _traits(cases, references, workers, compared=False)
            return Baselines({name: score(texts) for name, texts in extracts.items()}, traits)

        baselines = reuse(make_baselines)
        start = time.perf_counter()
        predictions = summarize([case.document for case in cases])
        seconds = time.perf_counter() - start

        scores = score(predictions)
        traits = _traits(cases, predictions, workers)
    summarized = functools.partial(aggregate, seed=seed, resamples=resamples)
    lead_scores = baselines.scores.get(f"lead{baseline_sentences}")
    return Evaluation(
        model=summarized(scores),
        baselines={name: summarized(each) for name, each in baselines.scores.items()},
        difference=f1_difference(scores, lead_scores, seed=seed, resamples=resamples) if lead_scores else {},
        traits=_means(traits),
        reference_traits=_means(baselines.reference_traits),
        records=[Record(*parts) for parts in zip(cases, predictions, scores, traits, strict=True)],
        baseline_sentences=baseline_sentences,
        language=language,
        protocol=rouge.protocol(
            seed=seed,
            resamples=resamples,
            language=language,
            most_references=max(len(case.references) for case in cases),
        ),
        seconds=seconds,
        lead_scores=lead_scores or [],
        resamples=resamples,
    )


def _scores(cases: Sequence[Case], texts: Sequence[str], *, language: str, workers: Workers) -> list[PairScores]:
    references = [case.references if len(case.references) > 1 else case.references[0] for case in cases]
    return rouge.score_pairs(references, texts, language=language, workers=workers)


def _extracts(
    cases: Sequence[Case], num_sentences: int, *, seed: int, language: str, workers: Workers
) -> dict[str, list[str]]:
    """What each baseline takes from the documents, if they are known."""
    documents = [case.document for case in cases]
    pairs = [(case.document, case.references) for case in cases]
    best = functools.partial(oracles, max_sentences=num_sentences, language=language)
    extracts = {
        f"lead{num_sentences}": [lead(document, num_sentences) for document in documents],
        f"random{num_sentences}": [random_sentences(document, num_sentences, seed=seed) for document in documents],
    }
    return (
        {**extracts, f"oracle{num_sentences}": workers.map(best, pairs, "finding the best extracts")}
        if all(documents)
        else {}
    )


def _traits(cases: Sequence[Case], texts: Sequence[str], workers: Workers, compared: bool = True) -> list[Traits]:
    """:param compared: to the length of the references."""
    references = [case.references if compared else () for case in cases]
    documents = [case.document for case in cases]
    return workers.map(traits_of_all, list(zip(texts, documents, references, strict=True)), "measuring")


def _means(traits: Sequence[Traits]) -> Traits:
    """The mean of each trait over those that have it."""
    values = {name: [each[name] for each in traits if name in each] for name in TRAITS}
    return {name: float(np.mean(each)) for name, each in values.items() if each}


def _scores_as_data(summary: RougeSummary) -> dict[str, Mapping[str, float]]:
    return {rouge_type: _measure_as_data(measure) for rouge_type, measure in summary.items()}


def _measure_as_data(measure: Measure) -> dict[str, float]:
    return {"precision": measure.precision.mean, "recall": measure.recall.mean, **_f1_as_data(measure.f1)}


def _f1_as_data(f1: Interval | Difference) -> dict[str, float]:
    return {"f1": f1.mean, "f1_low": f1.low, "f1_high": f1.high}
