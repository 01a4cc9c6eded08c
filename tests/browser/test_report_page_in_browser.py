"""The report in a real browser: examples are found by text, by score and by key."""

from __future__ import annotations

from pathlib import Path

import pytest
from webdriver import Browser

from summarizer.evaluation.cases import Case
from summarizer.evaluation.evaluator import evaluate
from summarizer.evaluation.report_page import Subject, report_page

NAMES = ("anna", "bert", "carl", "dora")
CASES = [
    Case(name, f"the crew of {name} came home today. it rained.", (f"the crew of {name} is home",)) for name in NAMES
]
PREDICTIONS = ["the crew of anna came home", "bert is lost", "carl", "<script>document.title = 'broken'</script>"]


@pytest.fixture
def report(browser: Browser, tmp_path: Path) -> Browser:
    evaluation = evaluate(lambda documents: PREDICTIONS, CASES, resamples=10)
    file = tmp_path / "report.html"
    file.write_text(report_page(evaluation, Subject("mine")), "utf-8")
    browser.open(file.as_uri())
    return browser


def shown(browser: Browser) -> list[str]:
    return [each.text for each in browser.all(".example .id") if each.displayed]


def test_examples_are_filtered_by_text_and_score(report: Browser) -> None:
    assert sorted(shown(report)) == sorted(NAMES)
    report.find("#text").type("LOST")
    assert shown(report) == ["bert"]
    assert report.find("#shown").text == "1 of 4 examples"
    report.find("#text").clear()
    report.find("#text").type(" ")
    report.find("#low").type("50")
    assert shown(report) == ["anna"]


def test_examples_are_ordered_by_score(report: Browser) -> None:
    report.find("#order").choose("down")
    assert shown(report)[0] == "anna"
    report.find("#order").choose("up")
    assert shown(report)[-1] == "anna"
    report.find("#order").choose("data")
    assert shown(report) == list(NAMES)


def test_a_copy_shows_where_it_came_from(report: Browser) -> None:
    report.hover(report.find(".prediction mark.copied"))
    lit = [each.text for each in report.all("mark.lit")]
    assert lit == ["the crew of anna came home"] * 2


def test_keys_search_and_step_through_the_examples(report: Browser) -> None:
    report.press("/")
    assert report.run("return document.activeElement.id") == "text"
    report.press("Escape")
    report.press("j")
    first = report.run("return document.activeElement.querySelector('.id').textContent")
    report.press("j")
    report.press("k")
    assert report.run("return document.activeElement.querySelector('.id').textContent") == first == shown(report)[0]


def test_texts_are_no_markup(report: Browser) -> None:
    assert report.run("return document.title") == "Evaluation"
    assert "<script>" in report.find("#examples").text


@pytest.mark.parametrize("width", [420, 1280])
def test_the_page_is_no_wider_than_the_window(report: Browser, width: int) -> None:
    report.resize(width, 900)
    assert report.run("return document.documentElement.scrollWidth <= window.innerWidth")


def test_on_paper_every_column_of_numbers_is_there(report: Browser) -> None:
    report.resize(718, 1000)  # what A4 leaves between margins
    assert cut_off(report), "on a screen this narrow, tables scroll"
    report.print_style(True)
    try:
        assert cut_off(report) == []
        assert not any(each.displayed for each in report.all(".keys"))
    finally:
        report.print_style(False)


def cut_off(browser: Browser) -> list[str]:
    """The tables that are wider than their place."""
    script = "return [...document.querySelectorAll('.wide')].filter((place) => place.scrollWidth > place.clientWidth)"
    return list(browser.run(f"{script}.map((place) => place.textContent)"))


def test_each_line_begins_on_the_side_of_its_script(browser: Browser, tmp_path: Path) -> None:
    prediction = "وافق المجلس.\nThe council."
    evaluation = evaluate(lambda _: [prediction], [Case("ar", "", ("وافق.",))], resamples=10, language="ar")
    file = tmp_path / "report.html"
    file.write_text(report_page(evaluation, Subject("mine")), "utf-8")
    browser.open(file.as_uri())
    sides = browser.run(
        """
        const box = document.querySelector(".prediction .text"), text = box.firstChild;
        const middle = box.getBoundingClientRect().left + box.clientWidth / 2;
        return [0, text.data.indexOf("T")].map((place) => {
          const range = document.createRange();
          range.setStart(text, place);
          range.setEnd(text, place + 1);
          return range.getBoundingClientRect().left > middle ? "right" : "left";
        });
        """
    )
    assert sides == ["right", "left"]
