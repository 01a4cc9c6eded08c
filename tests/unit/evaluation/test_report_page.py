"""The report holds the numbers of the evaluation, the right examples, and nothing that a text could smuggle in."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest

from summarizer.evaluation.cases import Case
from summarizer.evaluation.charts import Series, histogram
from summarizer.evaluation.evaluator import Evaluation, evaluate
from summarizer.evaluation.report_page import Subject, pick_examples, quality, report_page

HOSTILE = "</script><script>alert(1)</script> <img src=x onerror=alert(2)> <!-- examples --> & \"quoted\" 'too'"
WORDS = "storm court vote fire team price law film bank road".split()  # noqa: SIM905


def made(count: int, hostile: str = "") -> Evaluation:
    rng = random.Random(0)
    cases = [
        Case(
            f"case {n} {hostile}",
            " ".join(rng.choices(WORDS, k=40)) + f". {hostile}.",
            (" ".join(rng.choices(WORDS, k=9)),),
        )
        for n in range(count)
    ]

    def summarize(documents: Sequence[str]) -> list[str]:
        return [" ".join(document.split()[: 4 + n % 5]) + hostile for n, document in enumerate(documents)]

    return evaluate(summarize, cases, resamples=50)


class Outline(HTMLParser):
    """Which elements a page has, and what it would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "action")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]


def page_of(evaluation: Evaluation, **settings: int) -> str:
    return report_page(evaluation, Subject("mine", {"run": "outputs/mine"}, "cnn_dailymail"), **settings)


def test_the_page_holds_the_numbers() -> None:
    evaluation = made(12)
    page = page_of(evaluation)
    for measure in evaluation.model.values():
        for value in (measure.precision.mean, measure.recall.mean, measure.f1.mean, measure.f1.low):
            assert f"{100 * value:.2f}" in page
    for summary in evaluation.baselines.values():
        assert f"{100 * summary['rougeL'].f1.mean:.2f}" in page
    for words in ("outputs/mine", "rouge-score", "See et al. 2017", "novel 2-grams"):
        assert words in page
    assert page.count('<article class="example"') == 12
    assert page.count("<svg viewBox") == 4


@pytest.mark.parametrize(("count", "is_few"), [(29, True), (30, False)])
def test_a_page_of_few_examples_says_what_their_intervals_are_worth(count: int, is_few: bool) -> None:
    assert ("intervals are narrower than they should be" in page_of(made(count))) == is_few


def test_the_page_needs_nothing_else() -> None:
    outline = Outline(page_of(made(3)))
    assert outline.addresses == []
    assert outline.tags.count("script") == 1


def test_no_text_becomes_markup_or_a_place_of_the_template() -> None:
    plain, hostile = Outline(page_of(made(5))), Outline(page_of(made(5, HOSTILE)))
    for tag in ("script", "img", "style", "article", "section", "form"):
        assert hostile.tags.count(tag) == plain.tags.count(tag)
    assert hostile.handlers == plain.handlers
    assert page_of(made(5, HOSTILE)).count('<article class="example"') == 5


def test_a_quarter_each_is_worst_middle_and_best() -> None:
    records = made(40).records
    picks = pick_examples(records, 16, seed=0)
    ranked = sorted(map(quality, records))
    by_group = {
        name: [quality(pick.record) for pick in picks if pick.group == name] for name in ("worst", "middle", "best")
    }
    assert by_group["worst"] == ranked[:4]
    assert by_group["best"] == ranked[-4:][::-1]
    assert by_group["middle"] == ranked[18:22]
    assert [pick.group for pick in picks].count("random") == 4
    assert len({pick.place for pick in picks}) == 16
    for pick in picks:
        assert records[pick.place - 1] is pick.record


@pytest.mark.parametrize(("count", "wanted"), [(1, 200), (3, 200), (10, 10), (10, 7), (10, 1)])
def test_examples_are_shown_once_and_no_more_than_wanted(count: int, wanted: int) -> None:
    picks = pick_examples(made(count).records, wanted, seed=0)
    assert len(picks) == min(count, wanted)
    assert len({pick.place for pick in picks}) == len(picks)


def test_the_same_seed_picks_the_same() -> None:
    records = made(40).records
    assert pick_examples(records, 12, seed=1) == pick_examples(records, 12, seed=1)
    assert pick_examples(records, 12, seed=1) != pick_examples(records, 12, seed=2)


def test_without_documents_and_published_scores_the_page_is_shorter() -> None:
    evaluation = evaluate(lambda documents: ["a storm"], [Case("1", "", ("a storm", "a fire"))], resamples=10)
    page = report_page(evaluation, Subject("mine"))
    for words in ("lead-3", "Published", "<h4>Document"):
        assert words not in re.sub("<p class=.hint.*?</p>", "", page, flags=re.DOTALL)
    assert "Reference 2" in page


def test_a_long_document_alone_may_be_torn_apart_on_paper() -> None:
    documents = ["A storm came. " * count for count in (3, 300, 30)]
    cases = [Case(str(number), document, ("a storm",)) for number, document in enumerate(documents)]
    page = report_page(evaluate(lambda documents: ["a storm"] * 3, cases, resamples=10), Subject("mine"))
    torn = re.findall(r'<article class="example" data-long [^>]*data-place="(\d)"', page)
    assert torn == ["2"]


def test_the_signs_of_the_scores_are_explained() -> None:
    legend = re.findall(r'<p class="legend">(.*?)</p>', page_of(made(4)), re.DOTALL)[0]
    assert re.findall(r"</svg>([^<]*)", legend) == ["F1 and its 95% interval", "lead-3", "random-3", "oracle-3"]
    assert re.findall(r"other\d", legend) == ["other0", "other1", "other2"], "as on the scale of each score"


def test_bars_count_the_values_and_the_last_one_what_lies_beyond() -> None:
    picture = histogram("t", "u", [Series("mine", [1, 1, 7, 99])], width=5, most=10)
    assert picture.count('class="bar"') == 2
    assert "10+" in picture
    assert "mean 27.0, median 4.0" in picture
    assert histogram("t", "u", [Series("mine", [0, 0])], width=5).count("<rect") == 1
