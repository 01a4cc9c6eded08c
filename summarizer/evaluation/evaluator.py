"""A summarize function and examples in; ROUGE beside the lead baseline as a table and as files out."""

import json
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from summarizer.checkpoint import write_text_atomically
from summarizer.data.example import Example
from summarizer.errors import UserError
from summarizer.evaluation import rouge
from summarizer.evaluation.baselines import lead
from summarizer.evaluation.bootstrap import Difference, Interval, Measure, RougeSummary, aggregate, f1_difference
from summarizer.evaluation.rouge import PairScores

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.jsonl"

_TITLES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "rougeLsum": "ROUGE-Lsum"}
_DOCUMENT_LINES = 4  # of each document that a sample shows
_NARROWEST = 40  # columns below which a sample is no longer text


@dataclass(frozen=True)
class Record:
    """One example with its prediction; a line of predictions.jsonl has exactly these keys."""

    id: str
    document: str
    reference: str  # raw and untruncated
    prediction: str
    scores: PairScores  # by ROUGE type, 0 to 1


@dataclass(frozen=True)
class Evaluation:
    """What a model scored on a set of examples, and what the first sentences of the same documents scored."""

    model: RougeSummary
    lead: RougeSummary
    difference: dict[str, Difference]  # by ROUGE type: F1 of the model minus F1 of lead, paired
    records: list[Record]  # in the order of the examples
    baseline_sentences: int
    protocol: str
    seconds: float  # spent in the summarize function

    def metrics(self) -> dict[str, Any]:
        """Plain data for JSON; scores lie between 0 and 1.

        Keys: ``rouge1``, ``rouge2``, ``rougeL``, ``rougeLsum``, each with ``precision``, ``recall``, ``f1``
        and the bounds ``f1_low`` and ``f1_high`` of its 95% interval; ``lead3`` (named by its number of
        sentences) with the same four for the baseline; ``difference`` with ``f1``, ``f1_low``, ``f1_high`` of
        model minus baseline; ``examples``, ``seconds`` spent summarizing, and ``protocol``.
        """
        return {
            **_scores_as_data(self.model),
            f"lead{self.baseline_sentences}": _scores_as_data(self.lead),
            "difference": {rouge_type: _f1_as_data(f1) for rouge_type, f1 in self.difference.items()},
            "examples": len(self.records),
            "seconds": self.seconds,
            "protocol": self.protocol,
        }

    def table(self) -> str:
        """ROUGE x 100 beside the baseline, at most 100 columns wide."""
        baseline = f"lead-{self.baseline_sentences}"
        header = ["", "P", "R", "F1", "95% interval", f"{baseline} F1", f"F1 - {baseline}", "95% interval"]
        rows = [header] + [self._row(rouge_type) for rouge_type in rouge.ROUGE_TYPES]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [_aligned(row, widths) for row in rows]
        rule = "-" * len(lines[0])
        count = len(self.records)
        title = f"ROUGE x 100 of {count:,} example{'s' * (count != 1)}, summarized in {self.seconds:,.1f} s"
        return "\n".join([title, rule, lines[0], rule, *lines[1:], rule])

    def write(self, folder: Path) -> None:
        """Write metrics.json (``metrics``) and predictions.jsonl (``Record``), each whole or not at all.

        Raises:
            UserError: the folder cannot be created or written to.
        """
        lines = [json.dumps(_record_as_data(record), ensure_ascii=False) for record in self.records]
        write_text_atomically(folder / PREDICTIONS_FILE, "\n".join(lines) + "\n")
        metrics = json.dumps(self.metrics(), indent=2, ensure_ascii=False)
        write_text_atomically(folder / METRICS_FILE, metrics + "\n")

    def _row(self, rouge_type: str) -> list[str]:
        measure, difference = self.model[rouge_type], self.difference[rouge_type]
        return [
            _TITLES[rouge_type],
            f"{100 * measure.precision.mean:.2f}",
            f"{100 * measure.recall.mean:.2f}",
            f"{100 * measure.f1.mean:.2f}",
            f"{100 * measure.f1.low:.2f} to {100 * measure.f1.high:.2f}",
            f"{100 * self.lead[rouge_type].f1.mean:.2f}",
            f"{100 * difference.mean:+.2f}",
            f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}",
        ]


def evaluate(
    summarize: Callable[[Sequence[str]], list[str]],
    examples: Sequence[Example],
    *,
    seed: int = 0,
    resamples: int = 1000,
    processes: int = 1,
    baseline_sentences: int = 3,
) -> Evaluation:
    """Summarize the documents of ``examples`` in one call, and score the summaries beside the lead baseline.

    Args:
        summarize: gives one summary for each document, in order, its sentences separated by newlines.
        seed: of the bootstrap; with ``resamples``, the number of its resamples, it settles the intervals.
        processes: that share the scoring; they change no number.
        baseline_sentences: taken from the start of each document by the baseline.

    Raises:
        UserError: no examples, a number below 1, or not as many summaries as documents.
    """
    if not examples:
        raise UserError("examples (0) must be at least 1; choose a split that has rows, or raise its limit")
    if resamples < 1:  # said before hours of summarizing, not after
        raise UserError(f"resamples ({resamples}) must be at least 1; 1000 is usual")
    documents = [example.document for example in examples]
    references = [example.summary for example in examples]
    leads = [lead(document, baseline_sentences) for document in documents]
    lead_scores = rouge.score_pairs(references, leads, processes)

    start = time.perf_counter()
    predictions = summarize(documents)
    seconds = time.perf_counter() - start

    scores = rouge.score_pairs(references, predictions, processes)
    return Evaluation(
        model=aggregate(scores, seed=seed, resamples=resamples),
        lead=aggregate(lead_scores, seed=seed, resamples=resamples),
        difference=f1_difference(scores, lead_scores, seed=seed, resamples=resamples),
        records=[
            Record(example.id, example.document, example.summary, prediction, score)
            for example, prediction, score in zip(examples, predictions, scores, strict=True)
        ],
        baseline_sentences=baseline_sentences,
        protocol=rouge.protocol(seed=seed, resamples=resamples),
        seconds=seconds,
    )


def side_by_side(records: Sequence[Record], count: int, width: int = 100) -> str:
    """Samples to read in a terminal: the start of the document, the reference, the prediction, its ROUGE.

    The ``count`` samples are spread evenly over the records: nobody picked them.
    """
    count = min(count, len(records))
    places = [sample * len(records) // count for sample in range(count)]
    return "\n\n".join(_sample(records[place], place + 1, len(records), max(width, _NARROWEST)) for place in places)


def _sample(record: Record, number: int, total: int, width: int) -> str:
    scores = ", ".join(f"{_TITLES[rouge_type]} {100 * score.f1:.1f}" for rouge_type, score in record.scores.items())
    return "\n".join(
        [
            f"--- {number} of {total} (id {_printable(record.id)}) ".ljust(width, "-")[:width],
            _labelled("document", record.document, width, _DOCUMENT_LINES),
            _labelled("reference", record.reference, width),
            _labelled("prediction", record.prediction or "(empty)", width),
            _labelled("F1", scores, width),
        ]
    )


def _labelled(label: str, text: str, width: int, most_lines: int | None = None) -> str:
    margin = " " * 12
    lines = [
        wrapped
        for line in text.splitlines()
        for wrapped in textwrap.wrap(_printable(line), width - len(margin), max_lines=most_lines, placeholder=" ...")
    ]
    if most_lines is not None and len(lines) > most_lines:
        lines = [*lines[: most_lines - 1], "..."]
    return textwrap.indent("\n".join(lines), margin).replace(margin, label.ljust(len(margin)), 1)


def _printable(line: str) -> str:
    """Without control characters: an article is a stranger's text and must not steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in line)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """The first cell to the left, numbers to the right."""
    numbers = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
    return "  ".join([row[0].ljust(widths[0]), *numbers])


def _scores_as_data(summary: RougeSummary) -> dict[str, dict[str, float]]:
    return {rouge_type: _measure_as_data(measure) for rouge_type, measure in summary.items()}


def _measure_as_data(measure: Measure) -> dict[str, float]:
    return {"precision": measure.precision.mean, "recall": measure.recall.mean, **_f1_as_data(measure.f1)}


def _f1_as_data(f1: Interval | Difference) -> dict[str, float]:
    return {"f1": f1.mean, "f1_low": f1.low, "f1_high": f1.high}


def _record_as_data(record: Record) -> dict[str, Any]:
    scores = {rouge_type: score._asdict() for rouge_type, score in record.scores.items()}
    return {**asdict(record), "scores": scores}
