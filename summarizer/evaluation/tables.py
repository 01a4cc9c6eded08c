"""An evaluation, or a comparison of two, in; tables and samples to read in a terminal out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from summarizer.evaluation.bootstrap import RougeSummary
from summarizer.evaluation.compare import Comparison
from summarizer.evaluation.evaluator import Evaluation, Record
from summarizer.evaluation.rouge import ROUGE_TITLES
from summarizer.evaluation.traits import PLAIN_NUMBERS, TRAITS
from summarizer.terminal import printable

_DOCUMENT_LINES = 4  # of each document that a sample shows
_P_NOTE = "p: how often the luck of the examples drawn makes such a difference (paired bootstrap)"
_FEW = 30  # examples below which a percentile bootstrap is known to be too sure
_NARROWEST = 40  # columns below which a sample is no longer text


def evaluation_table(evaluation: Evaluation) -> str:
    """ROUGE x 100 beside the baselines, then what ROUGE does not see; at most 100 columns wide."""
    count = len(evaluation.records)
    title = f"ROUGE x 100 of {count:,} example{'s' * (count != 1)}"
    if evaluation.seconds >= 0.1:  # else they were read
        title += f", summarized in {evaluation.seconds:,.1f} s"
    parts = [_ruled(title, _score_rows(evaluation))]
    if evaluation.difference:
        parts[0] += "\n" + _P_NOTE
    if note := few_note(count):
        parts[0] += "\n" + note
    if evaluation.baselines:
        header = ["F1 of extracts", *ROUGE_TITLES.values()]
        parts.append(_ruled("", [header, *map(_baseline_row, *zip(*evaluation.baselines.items(), strict=True))]))
    parts.append(_ruled("what ROUGE does not see", _trait_rows(evaluation)))
    return "\n\n".join(parts)


def comparison_table(comparison: Comparison) -> str:
    """F1 x 100 of both, their difference, its interval and p; at most 100 columns wide."""
    header = ["", "first", "second", "difference", "95% interval", "p"]
    rows = [header]
    for rouge_type, title in ROUGE_TITLES.items():
        difference = comparison.difference[rouge_type]
        first, second = comparison.first[rouge_type].f1.mean, comparison.second[rouge_type].f1.mean
        rows.append(
            [
                title, f"{100 * first:.2f}", f"{100 * second:.2f}", f"{100 * difference.mean:+.2f}",
                f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}",
                described_p(difference.p, comparison.resamples),
            ]
        )  # fmt: skip
    title = f"ROUGE x 100 of the same {comparison.examples:,} examples; difference: first less second"
    return "\n".join(filter(None, [_ruled(title, rows), few_note(comparison.examples)]))


def few_note(examples: int) -> str:
    """What to know of intervals over so few; empty where there is nothing to know."""
    return f"fewer than {_FEW} examples: intervals are narrower than they should be" if examples < _FEW else ""


def described_p(p: float, resamples: int) -> str:
    """A p-value, or the smallest that so many resamples can tell."""
    smallest = 2 / (resamples + 1)
    return f"< {smallest:.1g}" if p <= smallest else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def trait_text(name: str, value: float | None) -> str:
    """A mean of :data:`TRAITS` as people read it."""
    if value is None:
        return "-"
    return f"{value:.2f}" if name in PLAIN_NUMBERS else f"{100 * value:.1f}%"


def side_by_side(records: Sequence[Record], count: int, width: int = 100) -> str:
    """Samples to read in a terminal: the start of the document, the reference, the prediction, its ROUGE.

    The ``count`` samples are spread evenly over the records: nobody picked them.
    """
    width = max(_NARROWEST, width)
    count = min(count, len(records))
    places = [sample * len(records) // count for sample in range(count)]
    return "\n\n".join(_sample(records[place], place + 1, len(records), width) for place in places)


def _score_rows(evaluation: Evaluation) -> list[list[str]]:
    baseline = f"lead-{evaluation.baseline_sentences}"
    against = [baseline, f"F1 - {baseline}", "95% interval", "p"] if evaluation.lead else []
    rows = [["", "P", "R", "F1", "95% interval", *against]]
    for rouge_type, title in ROUGE_TITLES.items():
        measure = evaluation.model[rouge_type]
        row = [
            title,
            f"{100 * measure.precision.mean:.2f}",
            f"{100 * measure.recall.mean:.2f}",
            f"{100 * measure.f1.mean:.2f}",
            f"{100 * measure.f1.low:.2f} to {100 * measure.f1.high:.2f}",
        ]
        if evaluation.lead:
            difference = evaluation.difference[rouge_type]
            row += [
                f"{100 * evaluation.lead[rouge_type].f1.mean:.2f}",
                f"{100 * difference.mean:+.2f}",
                f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}",
                described_p(difference.p, evaluation.resamples),
            ]
        rows.append(row)
    return rows


def baseline_title(name: str) -> str:
    """``lead-3`` for lead3."""
    letters = name.rstrip("0123456789")
    return f"{letters}-{name[len(letters) :]}"


def _baseline_row(name: str, summary: RougeSummary) -> list[str]:
    return [baseline_title(name), *(f"{100 * summary[rouge_type].f1.mean:.2f}" for rouge_type in ROUGE_TITLES)]


def _trait_rows(evaluation: Evaluation) -> list[list[str]]:
    def values(traits: Mapping[str, float], name: str) -> str:
        return trait_text(name, traits.get(name))

    measured = [name for name in TRAITS if name in evaluation.traits or name in evaluation.reference_traits]
    rows = [["", "predictions", "references"]]
    return rows + [
        [TRAITS[name], values(evaluation.traits, name), values(evaluation.reference_traits, name)] for name in measured
    ]


def _ruled(title: str, rows: Sequence[Sequence[str]]) -> str:
    """The first row is the header, the first cell of each to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([*([title] if title else []), rule, lines[0], rule, *lines[1:], rule])


def _sample(record: Record, number: int, total: int, width: int) -> str:
    scores = ", ".join(
        f"{ROUGE_TITLES[rouge_type]} {100 * score.f1:.1f}" for rouge_type, score in record.scores.items()
    )
    return "\n".join(
        [
            f"--- {number} of {total} (id {printable(record.case.id)}) ".ljust(width, "-")[:width],
            _labelled("document", record.case.document or "(not known)", width, _DOCUMENT_LINES),
            *(_labelled("reference", reference, width) for reference in record.case.references),
            _labelled("prediction", record.prediction or "(empty)", width),
            _labelled("F1", scores, width),
        ]
    )


def _labelled(label: str, text: str, width: int, most_lines: int | None = None) -> str:
    margin = " " * 12
    lines = [
        wrapped
        for line in text.splitlines()
        for wrapped in textwrap.wrap(printable(line), width - len(margin), max_lines=most_lines, placeholder=" ...")
    ]
    if most_lines is not None and len(lines) > most_lines:
        lines = [*lines[: most_lines - 1], "..."]
    return textwrap.indent("\n".join(lines), margin).replace(margin, label.ljust(len(margin)), 1)
