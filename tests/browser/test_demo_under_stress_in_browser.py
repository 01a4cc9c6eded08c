"""The demo page in a real browser: texts too long, hostile or from files, failures, any width, dark colours."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from demo_page import TEXT, finished, lit, paste, problem, summarize, words
from fake_engine import FakeEngine
from webdriver import Browser

from summarizer.demo.requests import MOST_CHARACTERS
from summarizer.demo.server import DemoServer

Open = Callable[..., None]


def test_a_text_that_is_too_long_is_told_and_not_sent(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine, text="word " * 10)
    paste(browser, "word " * (MOST_CHARACTERS // 5 + 1))
    assert "5 too many" in browser.find("#count").text
    browser.find("#go").click()
    assert "100,000 characters are the most" in browser.find("#problem").text
    assert engine.requests == []


def test_no_text_is_told(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    browser.find("#text").type("  ")
    browser.find("#go").click()
    assert "no text to summarize" in browser.find("#problem").text
    assert engine.requests == []


HOSTILE = "<script>document.title='gone'</script> <img src=x onerror=alert(1)> </textarea><b>bold</b> &lt;i&gt; end"


def test_text_that_looks_like_markup_stays_text(browser: Browser, open_page: Open) -> None:
    open_page(FakeEngine("<b>run</b>", copies=8))
    summarize(browser, HOSTILE)
    assert words(browser) == HOSTILE.split()
    assert browser.find(".others .text").text == HOSTILE
    assert browser.find("#reader").text.startswith(HOSTILE)
    assert browser.find(".result .name").text == "<b>run</b>"
    browser.hover(browser.all(".summary [role=option]")[0])
    assert (
        browser.run(
            "return document.querySelectorAll('main script, main img, .summary b, #reader b, .others .text b b').length"
        )
        == 0
    )
    assert browser.run("return document.title") == "Summarize"


def test_no_script_but_the_pages_own_can_run(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    browser.run("""const script = document.createElement("script"); script.textContent = "document.title = 'gone'";
        document.body.append(script); document.body.setAttribute("onclick", "document.title = 'gone'");
        document.body.click();""")
    assert browser.run("return document.title") == "Summarize"
    assert any("Content Security Policy" in complaint for complaint in browser.complaints())


def test_a_text_file_is_opened_and_what_is_no_text_is_told(
    browser: Browser, open_page: Open, engine: FakeEngine, tmp_path: Path
) -> None:
    files = {"good.txt": "Été über alles".encode(), "latin.txt": "Été".encode("latin-1"), "zip.bin": b"PK\0\0",
             "large.txt": b"x" * 700_000}  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    open_page(engine)
    browser.find("#file").type(str(tmp_path / "good.txt"))
    browser.wait(lambda: browser.find("#text").live("value") == "Été über alles")
    for name, reason in (("latin.txt", "not UTF-8 text"), ("zip.bin", "binary file"), ("large.txt", "too large")):
        browser.find("#file").type(str(tmp_path / name))
        browser.wait(lambda name=name, reason=reason: f"{name} is" in problem(browser) and reason in problem(browser))
        assert browser.find("#text").live("value") == "Été über alles"


def test_a_file_can_be_dropped_anywhere(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    browser.run("""const transfer = new DataTransfer();
        transfer.items.add(new File(["dropped text"], "a.txt", { type: "text/plain" }));
        const drop = (kind) => document.body.dispatchEvent(
            new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer }));
        drop("dragover");
        window.wasMarked = document.getElementById("form").classList.contains("dropping");
        drop("drop");""")
    browser.wait(lambda: browser.find("#text").live("value") == "dropped text")
    assert browser.run("return window.wasMarked")
    assert browser.find("#form").attribute("class") == "panel"


def test_an_edited_text_makes_the_summary_pale_until_it_is_made_anew(
    browser: Browser, open_page: Open, engine: FakeEngine
) -> None:
    open_page(engine)
    summarize(browser)
    browser.find("#edit").click()
    browser.find("#text").type(" more")
    assert "stale" in (browser.find(".summary").attribute("class") or "")
    browser.find("#read").click()
    assert browser.find("#reader").displayed
    browser.find("#edit").click()
    browser.find("#go").click()
    browser.wait(lambda: browser.find("#reader").displayed)
    assert "stale" not in (browser.find(".summary").attribute("class") or "")


def test_a_failure_is_told_where_the_summary_would_be(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    browser.find("#text").type("!user")
    browser.find("#go").click()
    browser.wait(lambda: browser.find(".state").text == "the text is of the wrong kind: take another")
    assert "failed" in (browser.find(".state").attribute("class") or "")


def test_a_server_that_has_ended_is_told(browser: Browser, engine: FakeEngine) -> None:
    server = DemoServer([engine])
    server.start()
    browser.open(server.address)
    browser.wait(lambda: browser.find("#runs").text)
    engine.gate.clear()
    paste(browser, TEXT)
    browser.find("#go").click()
    browser.wait(lambda: browser.find(".summary").text == "alpha")
    server.stop()
    browser.wait(lambda: "the program behind this page is ending" in browser.find(".state").text)
    browser.find("#go").click()
    browser.wait(lambda: "still running?" in browser.find(".state").text)
    browser.complaints()  # the browser tells of the lost connection


def test_a_closed_tab_ends_its_summary(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    engine.gate.clear()
    paste(browser, TEXT)
    browser.find("#go").click()
    browser.wait(lambda: engine.at_once == 1)
    browser.open("about:blank")
    browser.wait(lambda: engine.at_once == 0)
    assert engine.finished == []


def test_nothing_is_wider_than_the_screen(browser: Browser, open_page: Open) -> None:
    open_page(FakeEngine("a" * 60), FakeEngine("second run"))
    browser.find("#decoding summary").click()
    summarize(browser, "x" * 200 + " " + TEXT)
    for button in ("#edit", "#read"):
        for width in (320, 390, 768, 1280, 1920):
            browser.resize(width, 800)
            assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), (button, width)
        browser.find(button).click()


def test_dark_colours_are_used_where_they_are_wanted(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    summarize(browser)
    browser.all(".summary [role=option]")[0].click()
    light = browser.find("body").style("background-color")
    brightest = browser.find("#reader span").style("background-color")
    browser.prefer("dark")
    assert browser.find("body").style("background-color") != light
    assert browser.find("#reader span").style("background-color") != brightest, "the shades follow at once"


def test_the_page_starts_with_the_text_it_was_given(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine, text="Given <b>text</b>")
    assert browser.find("#text").live("value") == "Given <b>text</b>"
    browser.find("#go").click()
    finished(browser)
    assert words(browser) == ["Given", "<b>text</b>"]


def test_a_long_text_of_many_hypotheses_is_shown_in_time(browser: Browser, open_page: Open) -> None:
    open_page(FakeEngine(reads=1000, copies=120), text="word " * 1000)
    started = time.monotonic()
    browser.find("#go").click()
    finished(browser)
    browser.hover(browser.all(".summary [role=option]")[50])
    assert lit(browser)
    assert time.monotonic() - started < 15
