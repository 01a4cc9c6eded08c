"""The demo's form as somebody fills it in: fields come and go with what was chosen, long texts, keys alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from typing import Any

import pytest
from demo_page import TEXT, finished, paste, problem, summarize
from fake_engine import FakeEngine
from webdriver import Browser

from summarizer.decoding.config import DecodingConfig, DecodingMethod, LengthNormalization
from summarizer.decoding.reading import LongDocument
from summarizer.demo.form import FIELDS

Open = Callable[..., None]


class FullEngine(FakeEngine):
    """A fake run with all the settings that a real one tells of."""

    def describe(self) -> dict[str, Any]:
        config = DecodingConfig()
        values = {each.name: getattr(config, each.name) for each in fields(config)}
        plain = {name: value.name if isinstance(value, Enum) else value for name, value in values.items()}
        return {**super().describe(), "decoding": plain}


@pytest.fixture
def engine() -> FakeEngine:
    return FullEngine("first run")


def choose(browser: Browser, name: str, value: str) -> None:
    browser.find(f'[name="{name}"] option[value="{value}"]').click()


def shown(browser: Browser) -> set[str]:
    """The settings of decoding that can be filled in, with everything unfolded."""
    script = """return [...document.querySelectorAll("#settings input, #settings select")]
        .filter((input) => input.checkVisibility()).map((input) => input.name)"""
    return set(browser.run(script)) & set(FIELDS)


def unfold(browser: Browser) -> None:
    browser.find("#decoding > summary").click()
    browser.find("#more > summary").click()


def test_the_form_is_simple_until_more_is_wanted(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    browser.find("#decoding > summary").click()
    simple = shown(browser)
    assert "beam_size" in simple
    assert simple == {name for name in simple if not FIELDS[name].is_advanced}
    browser.find("#more > summary").click()
    assert {"length_normalization", "repetition_penalty", "beam_groups", "coverage_penalty"} <= shown(browser) - simple


@pytest.mark.parametrize("method", DecodingMethod)
def test_each_method_has_its_own_fields(
    browser: Browser, open_page: Open, engine: FakeEngine, method: DecodingMethod
) -> None:
    open_page(engine)
    unfold(browser)
    choose(browser, "method", method.name)
    useless = {"diversity_penalty", "patience"}  # with one group, and as long as nothing stops early
    assert shown(browser) == {name for name, field in FIELDS.items() if method in field.methods} - useless


def test_fields_come_with_what_they_belong_to_and_are_not_sent_without_it(
    browser: Browser, open_page: Open, engine: FakeEngine
) -> None:
    open_page(engine)
    unfold(browser)
    choose(browser, "early_stop", "true")
    browser.find('[name="patience"]').type("2.5")
    choose(browser, "length_normalization", "none")
    assert "length_penalty" not in shown(browser)
    assert browser.find("#chosen").text == (
        "beam search, scores normalized by length: none, stop at the first finished ones: yes, patience 2.5"
    )
    summarize(browser)
    decoding = engine.requests[-1].decoding
    assert (decoding.early_stop, decoding.patience) == (True, 2.5)
    assert decoding.length_normalization is LengthNormalization.none
    choose(browser, "early_stop", "")
    assert "patience" not in shown(browser)
    browser.find("#go").click()
    browser.wait(lambda: len(engine.requests) == 2)
    assert engine.requests[-1].decoding.patience is None


def test_without_a_pointer_there_is_nothing_to_set_of_it(browser: Browser, open_page: Open) -> None:
    open_page(FullEngine(pointer=False))
    unfold(browser)
    assert "coverage_penalty" not in shown(browser)
    assert "beam_groups" in shown(browser)


def test_a_mistake_in_a_folded_field_is_unfolded_and_told(
    browser: Browser, open_page: Open, engine: FakeEngine
) -> None:
    open_page(engine)
    unfold(browser)
    browser.find('[name="beam_groups"]').type("0")
    browser.find("#decoding > summary").click()
    paste(browser, TEXT)
    browser.find("#go").click()
    assert problem(browser).startswith("Groups that differ: ")
    assert browser.run("return document.activeElement.name") == "beam_groups"
    assert engine.requests == []


def test_a_text_that_is_too_long_can_be_read_in_parts_with_one_click(
    browser: Browser, open_page: Open, engine: FakeEngine
) -> None:
    open_page(engine)
    summarize(browser, "alpha beta gamma")
    assert not browser.find("#all").displayed, "nothing was left out"
    browser.find("#edit").click()
    summarize(browser)
    assert engine.requests[-1].long_document is None
    browser.find("#all").click()
    browser.wait(lambda: len(engine.requests) == 3)
    finished(browser)
    assert engine.requests[-1].long_document is LongDocument.split
    assert "read all of 10 tokens in 3 parts" in browser.find(".facts").text
    assert browser.find("#unread").text.startswith("All 10 tokens were read, in 3 parts.")
    assert "0 not in the summaries of the parts" in browser.find(".share").text
    assert not browser.find("#all").displayed
    assert "long texts: read everything, in parts" in browser.find("#chosen").text


def test_what_a_summary_begins_with_reaches_the_model_as_it_was_typed(
    browser: Browser, open_page: Open, engine: FakeEngine
) -> None:
    open_page(engine)
    browser.find("#decoding > summary").click()
    browser.find('[name="prefix"]').type('The "council" <b>')
    summarize(browser)
    assert engine.requests[-1].prefix == 'The "council" <b>'


def test_keys_alone_reach_every_field_and_back(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    browser.run("document.querySelector('#decoding > summary').focus()")
    browser.press("Enter")
    names = []
    for _ in range(40):
        browser.press("Tab")
        names.append(browser.run("return document.activeElement.name || document.activeElement.parentElement.id"))
        if names[-1] == "more":
            browser.press("Enter")
        if browser.run("return document.activeElement.id") == "go":
            break
    assert names[0] == "method"
    assert set(names) >= {"summaries", "long_document", "prefix", "more"} | shown(browser)
    assert browser.run("return document.activeElement.id") == "go"


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_unfolded_form_is_no_wider_than_the_screen(
    browser: Browser, open_page: Open, engine: FakeEngine, width: int
) -> None:
    open_page(engine)
    browser.resize(width, 800)
    unfold(browser)
    for method in DecodingMethod:
        choose(browser, "method", method.name)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
