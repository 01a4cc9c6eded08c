"""The attention page in a real browser: what is pointed at lights up what the model looked at."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from webdriver import Browser

from summarizer.presentation.attention_page import PageEntry, attention_page
from summarizer.presentation.trace import AttentionTrace, Weights

SOURCES = ["▁the", "▁council", "▁met", "▁on", "▁Tues", "day", "</s>"]
TARGETS = ["▁council", "▁met", "<n>", "▁Never", "</s>"]
LAYERS, HEADS = 2, 2

Open = Callable[..., AttentionTrace]


def one_hot(*shape: int) -> Weights:
    """Layer l, head h, token t: nine tenths on one source token, which differs with each of them."""
    weights = np.full(shape, 0.1 / (shape[-1] - 1), dtype=np.float32)
    for place in np.ndindex(*shape[:-1]):
        weights[(*place, looked_at(*place))] = 0.9
    return weights


def looked_at(layer: int, head: int, t: int) -> int:
    return (3 * layer + head + t) % len(SOURCES)


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Open:
    def make(*, pointer: bool = False, unread: int = 0, sources: list[str] = SOURCES) -> AttentionTrace:
        rows, columns = len(TARGETS), len(sources)
        trace = AttentionTrace(
            sources,
            TARGETS,
            one_hot(LAYERS, HEADS, rows, columns),
            copy_TS=np.eye(rows, columns, k=1, dtype=np.float32) if pointer else None,
            copied_T=np.linspace(1, 0, rows, dtype=np.float32) if pointer else None,
        )
        file = tmp_path / "attention.html"
        file.write_text(attention_page([PageEntry("first", trace, unread), PageEntry("second", trace)]), "utf-8")
        browser.open(file.as_uri())
        return trace

    return make


def brightest(browser: Browser) -> int:
    """The source token whose background differs most from that of the panel, as levels of light."""
    shades = [each.style("background-color") for each in browser.all("#document .token")]
    light = [sum(map(int, re.findall(r"\d+", shade)[:3])) if "0)" not in shade else 765 for shade in shades]
    return int(np.argmin(light))


def option_values(browser: Browser, select: str) -> list[str | None]:
    return [each.attribute("value") for each in browser.all(f"{select} option")]


def test_pointing_at_a_token_lights_up_the_document(browser: Browser, open_page: Open) -> None:
    open_page()
    browser.find("#layer").choose("1")
    browser.find("#head").choose("1")
    tokens = browser.all("#summary .token")
    for t in (1, 3, 0):
        browser.hover(tokens[t])
        assert brightest(browser) == looked_at(0, 0, t)
        assert f"is token {t + 1} of {len(TARGETS)}" in browser.find("#status").text
        assert "90%" in browser.find("#most li").text


def test_layer_and_head_choose_other_weights(browser: Browser, open_page: Open) -> None:
    open_page()
    browser.all("#summary .token")[1].click()
    for layer in range(LAYERS):
        for head in range(HEADS):
            browser.find("#layer").choose(str(layer + 1))
            browser.find("#head").choose(str(head + 1))
            assert brightest(browser) == looked_at(layer, head, 1)
    assert option_values(browser, "#layer") == ["mean", "1", "2"]
    browser.find("#layer").choose("mean")
    browser.find("#head").choose("mean")
    assert "24%" in browser.find("#most li").text  # 0.9 of one of four, and what the others leave there


def test_the_pointer_is_one_more_layer_and_marks_what_was_copied(browser: Browser, open_page: Open) -> None:
    open_page(pointer=True)
    browser.find("#layer").choose("pointer")
    assert browser.find("#head").live("disabled")
    tokens = browser.all("#summary .token")
    browser.hover(tokens[2])
    assert brightest(browser) == 3
    assert "100%" in browser.find("#most li").text
    marked = ["mark" in (each.attribute("class") or "") for each in tokens]
    assert marked == [True, True, True, True, False]


def test_a_click_keeps_a_token_and_the_keyboard_moves_on(browser: Browser, open_page: Open) -> None:
    open_page()
    tokens = browser.all("#summary .token")
    tokens[0].click()
    browser.hover(tokens[3])
    assert "token 4 of" in browser.find("#status").text
    browser.leave()
    assert "token 1 of" in browser.find("#status").text, "pointing elsewhere is only a glance"
    browser.press("ArrowDown")  # to what stands below it
    assert "token 4 of" in browser.find("#status").text
    browser.press("ArrowLeft", "ArrowLeft")
    assert "token 2 of" in browser.find("#status").text
    browser.press("End", "ArrowRight")
    assert "token 5 of" in browser.find("#status").text
    browser.press("Home")
    assert "token 1 of" in browser.find("#status").text
    assert "token=0" in browser.run("return location.hash")


def test_the_address_brings_back_what_was_chosen(browser: Browser, open_page: Open) -> None:
    open_page()
    browser.find("#article").choose("1")
    browser.find("#layer").choose("2")
    browser.all("#summary .token")[3].click()
    address = browser.run("return location.href")
    browser.open("about:blank")
    browser.open(address)
    assert browser.find("#name").text == "second"
    assert browser.find("#layer").live("value") == "2"
    assert "token 4 of" in browser.find("#status").text


def test_the_heat_map_tells_the_weight_below_the_mouse(browser: Browser, open_page: Open) -> None:
    open_page()
    browser.hover(browser.find("#frame"))
    script = """const box = frame.getBoundingClientRect();
        const clientX = box.left + left + 2.5 * CELL + 1, clientY = box.top + top_ + 1.5 * CELL + 1;
        frame.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX, clientY }));"""
    browser.run(script)
    assert browser.find("#readout").text.startswith("“met” (2) gave “met” (3) 0.")


def test_dark_colours_keep_the_text_readable(browser: Browser, open_page: Open) -> None:
    open_page()
    light = browser.find("body").style("background-color")
    browser.prefer("dark")
    assert browser.find("body").style("background-color") != light
    browser.hover(browser.all("#summary .token")[1])
    for token in browser.all("#document .token"):
        assert token.style("color") != token.style("background-color")


def test_text_that_looks_like_markup_is_shown_as_it_is(browser: Browser, open_page: Open) -> None:
    hostile = ["▁<script>document.title='gone'</script>", "</script>", "<!--", "▁<img", "▁src=x", "▁onerror=1>", "</s>"]
    open_page(sources=hostile, unread=3)
    assert browser.find("#document").text.startswith("<script>document.title='gone'</script></script><!-- <img src=x")
    assert browser.run("return document.title") == "Where the model looked: first"
    assert browser.run("return document.querySelectorAll('#document script, #document img').length") == 0
    assert "the last 3 tokens" in browser.find("#unread").text
