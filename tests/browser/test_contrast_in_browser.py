"""All text of our pages stands out from what it is written on, as WCAG 2 asks at level AA, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from demo_page import summarize
from fake_engine import FakeEngine
from webdriver import Browser

from summarizer.evaluation.cases import Case
from summarizer.evaluation.evaluator import evaluate
from summarizer.evaluation.report_page import Subject, report_page

# Of each element with text of its own that is shown, by tag and class: the least contrast below 4.5.
# https://www.w3.org/TR/WCAG22/#contrast-minimum
TOO_PALE = """
const colour = (text) => { const c = text.match(/[\\d.]+/g).map(Number); return c.length > 3 ? c : [...c, 1]; };
const over = (c, below) => [0, 1, 2].map((i) => c[i] * c[3] + below[i] * (1 - c[3])).concat(1);
const luminance = (c) => c.slice(0, 3).map((v) => (v /= 255, v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ancestors = (element) => element ? [element, ...ancestors(element.parentElement)] : [];
const found = {};
for (const element of document.querySelectorAll("body *")) {
  const written = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  if (!written || !element.getClientRects().length) continue;
  const styles = ancestors(element).map((each) => getComputedStyle(each));
  const papers = styles.map((style) => colour(style.backgroundColor));
  const paper = papers.reduceRight((below, c) => over(c, below), [255, 255, 255, 1]);
  const ink = colour(element instanceof SVGElement ? styles[0].fill : styles[0].color);
  ink[3] *= styles.reduce((product, style) => product * style.opacity, 1);
  const [darker, lighter] = [luminance(over(ink, paper)), luminance(paper)].sort((a, b) => a - b);
  const contrast = (lighter + 0.05) / (darker + 0.05);
  const name = `${element.tagName} ${element.getAttribute("class") ?? ""}`;
  if (contrast < 4.5) found[name] = Math.min(found[name] ?? 99, Math.round(100 * contrast) / 100);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_readable(browser: Browser, tmp_path: Path, scheme: str) -> None:
    document = "The crew of Anna came home on Monday. It rained."
    cases = [Case(str(number), document, ("The crew of Anna is home.",)) for number in range(4)]
    evaluation = evaluate(lambda documents: ["Bert's crew of Anna came home on Friday."] * 4, cases, resamples=10)
    (tmp_path / "report.html").write_text(report_page(evaluation, Subject("mine", {"run": "a"}, "xsum")), "utf-8")
    browser.prefer(scheme)
    browser.open((tmp_path / "report.html").as_uri())
    assert browser.all("mark.copied")
    assert browser.all("mark.unsupported")
    assert browser.run(TOO_PALE) == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_demo_page_is_readable(browser: Browser, open_page: Callable[..., None], scheme: str) -> None:
    browser.prefer(scheme)
    open_page(FakeEngine(), FakeEngine("second run", pointer=False))
    assert browser.run(TOO_PALE) == {}
    for fold in ("#decoding", "#more"):
        browser.find(f"{fold} > summary").click()
    summarize(browser)
    browser.all(".summary [role=option]")[1].click()
    assert browser.run(TOO_PALE) == {}
    browser.find("#edit").click()
    browser.find("#text").type(" more")
    assert browser.all(".stale")
    assert browser.run(TOO_PALE) == {}
