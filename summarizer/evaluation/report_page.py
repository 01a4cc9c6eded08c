"""An evaluation in, one HTML page to read it on out: it needs no network, no other file and no program to open."""

from __future__ import annotations

import html
import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from summarizer.evaluation.bootstrap import Interval
from summarizer.evaluation.charts import Series, histogram, scale, sign
from summarizer.evaluation.evaluator import Evaluation, Record
from summarizer.evaluation.marked_text import mark_pair
from summarizer.evaluation.published import PUBLISHED
from summarizer.evaluation.rouge import ROUGE_TITLES
from summarizer.evaluation.tables import baseline_title, described_p, few_note, trait_text
from summarizer.evaluation.traits import TRAITS
from summarizer.evaluation.words import unicode_words

REPORT_FILE = "report.html"

_TEMPLATE = Path(__file__).with_name("report_page.html")
_STYLE_LINK = '<link rel="stylesheet" href="house.css">'
_LENGTH_BINS = 24
_LONG = 1500  # characters of a document that may be torn apart on paper: half a page
_GROUPS = ("worst", "middle", "best", "random")  # of examples


@dataclass(frozen=True)
class Subject:
    """What was evaluated, as the page calls it."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)  # label -> value, in order
    data_name: str | None = None  # to look for published scores


class Pick(NamedTuple):
    """An example to show."""

    record: Record
    group: str  # one of _GROUPS
    place: int  # in the order of the evaluation, from 1


def report_page(evaluation: Evaluation, subject: Subject, *, examples: int = 200, seed: int = 0) -> str:
    """The page; every text of others in it is escaped."""
    picks = pick_examples(evaluation.records, examples, seed=seed)
    style = resources.files("summarizer.presentation").joinpath("house.css").read_text(encoding="utf-8")
    parts = {
        _STYLE_LINK: f"<style>\n{style}</style>",
        "<!-- title -->": html.escape(subject.title),
        "<!-- facts -->": _facts(evaluation, subject),
        "<!-- scores -->": _score_table(evaluation),
        "<!-- signs -->": _signs(evaluation),
        "<!-- published -->": _published_table(subject.data_name),
        "<!-- traits -->": _trait_table(evaluation),
        "<!-- histograms -->": _histograms(evaluation),
        "<!-- count -->": f"{len(picks):,} of {len(evaluation.records):,}",
        "<!-- examples -->": "\n".join(map(_example, picks)),
    }
    page = _TEMPLATE.read_text(encoding="utf-8")
    for place in parts:
        assert page.count(place) == 1, f"{_TEMPLATE} has no {place}, or more than one"
    # All at once: what is put in one place is not searched for the others.
    return re.sub("|".join(map(re.escape, parts)), lambda found: parts[found[0]], page)


def quality(record: Record) -> float:
    """What examples are ranked by: the mean F1 of ROUGE-1, ROUGE-2 and ROUGE-Lsum."""
    return sum(record.scores[rouge_type].f1 for rouge_type in ("rouge1", "rouge2", "rougeLsum")) / 3


def pick_examples(records: Sequence[Record], count: int, *, seed: int) -> list[Pick]:
    """A quarter each of the worst, those around the median, the best, and any of the rest; in this order."""
    ranked = sorted(range(len(records)), key=lambda place: (quality(records[place]), place))
    count = min(count, len(ranked))
    share = count // 4
    middle = (len(ranked) - share) // 2
    groups = {
        "worst": ranked[:share],
        "middle": ranked[middle : middle + share],
        "best": ranked[len(ranked) - share :][::-1],
    }
    chosen = {place for places in groups.values() for place in places}
    others = [place for place in ranked if place not in chosen]
    groups["random"] = sorted(random.Random(seed).sample(others, min(count - len(chosen), len(others))))
    return [Pick(records[place], group, place + 1) for group in _GROUPS for place in groups[group]]


def _facts(evaluation: Evaluation, subject: Subject) -> str:
    count = len(evaluation.records)
    examples = "; ".join(filter(None, [f"{count:,}", few_note(count)]))
    facts = {**subject.facts, "examples": examples, "protocol": evaluation.protocol}
    return "".join(f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>" for k, v in facts.items())


def _score_table(evaluation: Evaluation) -> str:
    names = list(evaluation.baselines)
    greatest = max(
        [evaluation.model[kind].f1.high for kind in ROUGE_TITLES]
        + [summary[kind].f1.mean for summary in evaluation.baselines.values() for kind in ROUGE_TITLES]
        + [0.01]
    )
    lead = baseline_title(f"lead{evaluation.baseline_sentences}")
    header = ["", "precision", "recall", "F1", "95% interval", *map(baseline_title, names)]
    header += [f"less {lead}", "p"] if evaluation.difference else []
    rows = []
    for kind, title in ROUGE_TITLES.items():
        measure = evaluation.model[kind]
        beside = [(baseline_title(name), evaluation.baselines[name][kind].f1.mean) for name in names]
        cells = [
            _points(measure.precision.mean),
            _points(measure.recall.mean),
            f"<b>{_points(measure.f1.mean)}</b>",
            _span(measure.f1),
            *(_points(value) for _, value in beside),
        ]
        if evaluation.difference:
            difference = evaluation.difference[kind]
            cells += [
                f"{100 * difference.mean:+.2f} <span class='faint'>({100 * difference.low:+.2f} to "
                f"{100 * difference.high:+.2f})</span>",
                html.escape(described_p(difference.p, evaluation.resamples)),
            ]
        rows.append([f"<span>{title}</span>{scale(measure.f1, beside, greatest)}", *cells])
    return _table(header, rows)


def _signs(evaluation: Evaluation) -> str:
    """What dots, bands and lines stand for."""
    labels = ["F1 and its 95% interval", *map(baseline_title, evaluation.baselines)]
    return "".join(f"<span>{sign(number)}{html.escape(label)}</span>" for number, label in enumerate(labels, start=-1))


def _published_table(data_name: str | None) -> str:
    scores = PUBLISHED.get(data_name or "")
    if not scores:
        return ""
    rows = [
        [
            f"{html.escape(s.system)} <small>{html.escape(s.source)}</small>",
            f"{s.rouge1:.2f}",
            f"{s.rouge2:.2f}",
            f"{s.rougeLsum:.2f}",
        ]
        for s in scores
    ]
    return (
        '<section class="panel published"><h2>Published</h2>'
        "<p class='hint'>On the whole test split, as their papers report it: other texts, another tokenization or "
        "another ROUGE than here. For orientation.</p>"
        f"{_table(['', 'ROUGE-1', 'ROUGE-2', 'ROUGE-Lsum'], rows)}</section>"
    )


def _trait_table(evaluation: Evaluation) -> str:
    mine, theirs = evaluation.traits, evaluation.reference_traits
    rows = [
        [html.escape(TRAITS[name]), trait_text(name, mine.get(name)), trait_text(name, theirs.get(name))]
        for name in TRAITS
        if name in mine or name in theirs
    ]
    return _table(["", "predictions", "references"], rows)


def _histograms(evaluation: Evaluation) -> str:
    lead = baseline_title(f"lead{evaluation.baseline_sentences}")
    figures = []
    for kind in ("rouge1", "rouge2", "rougeLsum"):
        series = [Series("predictions", [100 * record.scores[kind].f1 for record in evaluation.records])]
        if evaluation.lead_scores:
            series.append(Series(lead, [100 * scores[kind].f1 for scores in evaluation.lead_scores]))
        title = f"{ROUGE_TITLES[kind]} of an example"
        figures.append(_figure(title, histogram(title, "F1", series, width=5, most=100), series))
    lengths = [
        Series("predictions", [len(unicode_words(record.prediction)) for record in evaluation.records]),
        Series("references", [len(unicode_words(record.case.references[0])) for record in evaluation.records]),
    ]
    together = sorted([*lengths[0].values, *lengths[1].values])
    nearly_all = together[int(0.99 * (len(together) - 1))]
    width = max(1, math.ceil(nearly_all / _LENGTH_BINS))
    most = width * max(1, math.ceil(nearly_all / width))
    figures.append(_figure("Length", histogram("Length", "words", lengths, width=width, most=most), lengths))
    return "".join(figures)


def _figure(title: str, picture: str, series: Sequence[Series]) -> str:
    keys = " ".join(
        f'<span><i class="key key{n}"></i>{html.escape(each.label)}</span>' for n, each in enumerate(series)
    )
    return f'<figure><figcaption>{html.escape(title)} <span class="legend">{keys}</span></figcaption>{picture}</figure>'


def _example(pick: Pick) -> str:
    record, case = pick.record, pick.record.case
    pair = mark_pair(case.document, record.prediction)
    references = [mark_pair(case.document, reference).summary for reference in case.references]
    f1 = {kind: 100 * score.f1 for kind, score in record.scores.items()}
    scores = " ".join(f"<span>{ROUGE_TITLES[kind]} <b>{value:.1f}</b></span>" for kind, value in f1.items())
    data = " ".join(f'data-{kind.lower()}="{value:.4f}"' for kind, value in f1.items())
    several = len(references) > 1
    shown = "".join(
        f"<h4>Reference{f' {n}' if several else ''}</h4><div class='text'>{text}</div>"
        for n, text in enumerate(references, 1)
    )
    document = (
        f"<h4>Document</h4><div class='text document' tabindex='0'>{pair.document}</div>" if case.document else ""
    )
    long = " data-long" if len(case.document) > _LONG else ""
    prediction = pair.summary or "<span class='faint'>(empty)</span>"
    return (
        f'<article class="example"{long} tabindex="-1" data-group="{pick.group}" data-place="{pick.place}" {data}>'
        f'<h3><span class="group">{pick.group}</span> <span class="id">{html.escape(case.id)}</span> '
        f'<span class="scores">{scores}</span></h3>'
        f'<div class="texts"><div>{document}</div><div class="reference">{shown}</div>'
        f"<div class='prediction'><h4>Prediction</h4><div class='text'>{prediction}</div></div></div></article>"
    )


def _table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML; the first of each row is its header."""
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _points(value: float) -> str:
    return f"{100 * value:.2f}"


def _span(interval: Interval) -> str:
    return f"{_points(interval.low)} to {_points(interval.high)}"
