"""The demo page in a real browser, as somebody uses it: types, clicks, points, presses keys, drops a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from webdriver import Browser

from summarizer.demo.requests import MOST_CHARACTERS
from summarizer.demo.server import DemoServer

TEXT = "alpha beta gamma delta epsilon zeta eta theta iota kappa"  # ten words, of which a FakeEngine reads eight
SUMMARY = "alpha beta gamma delta"
COPIED, LOOKED = "source", "looked"

Open = Callable[..., None]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine("first run")


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    servers: list[DemoServer] = []

    def make(*engines: FakeEngine, text: str = "") -> None:
        server = DemoServer(engines, text=text)
        server.start()
        servers.append(server)
        browser.open(server.address)
        browser.wait(lambda: browser.find("#runs").text)

    yield make
    browser.open("about:blank")
    for server in servers:
        server.stop()


def summarize(browser: Browser, text: str = TEXT) -> None:
    """Type the text, click, and wait for all summaries."""
    box = browser.find("#text")
    box.clear()
    box.type(text)
    browser.find("#go").click()
    finished(browser)


def finished(browser: Browser) -> None:
    browser.wait(lambda: not browser.find("#stop").displayed)
    browser.wait(lambda: browser.all(".summary [role=option]"))


def words(browser: Browser, run: int = 0) -> list[str]:
    script = "return [...document.querySelectorAll('.summary')[arguments[0]].querySelectorAll('[role=option]')]"
    return list(browser.run(f"{script}.map((word) => word.textContent)", run))


def lit(browser: Browser) -> list[str]:
    """The words of the document from the brightest to the palest that has a colour."""
    script = """return [...document.querySelectorAll("#reader span")].filter((word) => word.style.backgroundColor)
        .sort((a, b) => light(a) - light(b)).map((word) => word.textContent);
        function light(word) {
            return word.style.backgroundColor.match(/\\d+/g).reduce((sum, colour) => sum + Number(colour), 0);
        }"""
    return list(browser.run(script))


def test_type_click_and_read_the_summary(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    assert browser.find("#runs").text == "first run: 1.5 M parameters, update 900, reads 8 tokens, has a pointer"
    summarize(browser)
    assert words(browser) == SUMMARY.split()
    assert "read 80% of 10 tokens" in browser.find(".facts").text
    assert "Read the first 8 of 10 tokens (80%)" in browser.find("#unread").text
    assert browser.find("#reader .rest").text == "iota kappa"
    assert "4 words, 5 tokens; 0 not in the document" in browser.find(".share").text
    assert not browser.find("#text").displayed


def test_the_summary_grows_word_by_word_and_can_be_stopped(
    browser: Browser, open_page: Open, engine: FakeEngine
) -> None:
    open_page(engine)
    engine.gate.clear()
    browser.find("#text").type(TEXT)
    browser.find("#go").click()
    browser.wait(lambda: browser.find(".summary").text == "alpha")
    assert browser.find(".state").text == "writing"
    browser.find("#stop").click()
    browser.wait(lambda: browser.find(".state").text == "stopped")
    browser.wait(lambda: engine.at_once == 0)
    assert engine.finished == []
    engine.gate.set()
    summarize(browser)
    assert words(browser) == SUMMARY.split()


def test_pointing_at_a_word_lights_up_where_it_comes_from(
    browser: Browser, open_page: Open, engine: FakeEngine
) -> None:
    """A FakeEngine copies word t from word t, and looks at word t + 1."""
    open_page(engine)
    summarize(browser)
    options = browser.all(".summary [role=option]")
    for place, word in enumerate(SUMMARY.split()):
        browser.hover(options[place])
        assert lit(browser)[0] == word
        assert f"“{word}” was copied with probability 1.00; the pointer pointed at “{word}” 100%" in note(browser)
    browser.leave()
    assert lit(browser) == []
    browser.find("#view").choose(LOOKED)
    browser.hover(options[1])
    assert lit(browser)[0] == "gamma"
    assert "the model looked at “gamma” 82%" in note(browser)


def note(browser: Browser) -> str:
    return browser.find(".result .word").text


def test_what_was_not_copied_shows_where_the_model_looked(
    browser: Browser, open_page: Open, engine: FakeEngine
) -> None:
    open_page(engine)
    summarize(browser)
    browser.all(".others button")[1].click()
    assert words(browser) == ["alpha", "beta", "gamma", "new1"]
    browser.hover(browser.all(".summary [role=option]")[3])
    assert lit(browser)[0] == "epsilon"
    assert "“new1” was copied with probability 0.00; the model looked at “epsilon”" in note(browser)


def test_copied_and_novel_words_are_marked(browser: Browser, open_page: Open) -> None:
    open_page(FakeEngine(pointer=False))
    assert not browser.find("#view").displayed
    summarize(browser)
    browser.all(".others button")[1].click()
    classes = [each.attribute("class") for each in browser.all(".summary [role=option]")]
    assert classes == ["mark", "mark", "mark", "novel"]
    assert "1 not in the document (25%)" in browser.find(".share").text
    assert "also in the document" in browser.find(".result .legend").text


def test_a_click_keeps_a_word_and_the_keyboard_moves_on(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    summarize(browser)
    browser.all(".summary [role=option]")[0].click()
    browser.hover(browser.all(".summary [role=option]")[2])
    assert lit(browser)[0] == "gamma"
    browser.leave()
    assert lit(browser)[0] == "alpha"
    browser.press("ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight")
    assert lit(browser)[0] == "delta"
    browser.press("Home")
    assert lit(browser)[0] == "alpha"
    selected = browser.all('.summary [aria-selected="true"]')
    assert [each.text for each in selected] == ["alpha"]


def test_everything_can_be_done_with_the_keyboard_alone(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    browser.wait(lambda: browser.run("return document.activeElement.id") == "text")
    browser.press(*"one two three", "Control+Enter")
    finished(browser)
    assert words(browser) == ["one", "two", "three"]
    for _ in range(20):
        browser.press("Tab")
        if browser.run("return document.activeElement.getAttribute('role')") == "option":
            break
    assert lit(browser)[0] == "one"
    browser.press("ArrowRight", "Tab", "Tab", "Enter")  # the second of the hypotheses
    assert words(browser) == ["one", "two", "new1"]


def test_the_hypotheses_have_scores_and_what_differs_stands_out(
    browser: Browser, open_page: Open, engine: FakeEngine
) -> None:
    open_page(engine)
    summarize(browser)
    assert browser.find(".result h3").text == "4 hypotheses, best first"
    assert [each.text for each in browser.all(".others .score")] == ["-0.100", "-0.200", "-0.300", "-0.400"]
    assert [each.text for each in browser.all(".others b")] == ["new1", "new2", "new3"]
    pressed = [each.attribute("aria-pressed") for each in browser.all(".others button")]
    assert pressed == ["true", "false", "false", "false"]


def test_settings_reach_the_model_and_empty_ones_do_not(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    summarize(browser)
    chosen = engine.requests[-1].decoding
    assert {value for name, value in vars(chosen).items()} == {None}
    browser.find("#decoding summary").click()
    browser.find('[name="beam_size"]').type("8")
    browser.find('[name="length_penalty"]').type("0.5")
    browser.find('[name="summaries"]').type("2")
    assert browser.find("#chosen").text == "beam search, summaries shown 2, hypotheses followed 8, length penalty 0.5"
    browser.find("#go").click()
    browser.wait(lambda: len(engine.requests) == 2)
    finished(browser)
    assert engine.requests[-1].summaries == 2
    assert (engine.requests[-1].decoding.beam_size, engine.requests[-1].decoding.length_penalty) == (8, 0.5)
    browser.run("""const method = document.querySelector('[name="method"]'); method.value = "sample";
        method.dispatchEvent(new Event("input", { bubbles: true }))""")
    assert not browser.find('[name="beam_size"]').displayed
    browser.find('[name="temperature"]').type("0.7")
    browser.find("#go").click()
    browser.wait(lambda: len(engine.requests) == 3)
    decoding = engine.requests[-1].decoding
    assert (decoding.method.name, decoding.beam_size, decoding.temperature) == ("sample", None, 0.7)


def test_a_setting_that_cannot_work_is_told_on_the_page(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    browser.find("#text").type(TEXT)
    browser.find("#decoding summary").click()
    browser.find('[name="beam_size"]').type("99")
    browser.find("#go").click()
    assert browser.find("#problem").text.startswith("Hypotheses followed: ")
    assert engine.requests == []
    browser.find('[name="beam_size"]').clear()
    browser.find('[name="beam_size"]').type("13")
    browser.find("#go").click()
    browser.wait(lambda: "is unlucky: take another" in browser.find(".state").text)
    assert not browser.find("#problem").displayed
    browser.complaints()  # the browser tells of every answer with status 400


def test_two_runs_stand_side_by_side(browser: Browser, open_page: Open) -> None:
    first, second = FakeEngine("first run"), FakeEngine("second run", copies=2, reads=5, pointer=False)
    open_page(first, second)
    browser.resize(1600, 900)
    summarize(browser)
    browser.wait(lambda: len(words(browser, 1)) > 0)
    assert [each.text for each in browser.all(".result .name")] == ["first run", "second run"]
    assert (words(browser, 0), words(browser, 1)) == (SUMMARY.split(), ["alpha", "beta"])
    left, right = (browser.run("return arguments[0].getBoundingClientRect().toJSON()", panel)
                   for panel in browser.all(".result"))  # fmt: skip
    assert left["right"] < right["left"]
    assert left["top"] == right["top"]
    browser.all(".result:nth-child(2) [role=option]")[0].click()
    assert "“alpha”: the model looked at “beta”" in browser.find(".result:nth-child(2) .word").text
    assert browser.find("#reader .rest").text == "zeta eta theta iota kappa", "the document as the second run read it"
    browser.all(".result:nth-child(1) [role=option]")[0].click()
    assert browser.find("#reader .rest").text == "iota kappa"
    assert len(browser.all('[aria-selected="true"]')) == 1


def test_a_text_that_is_too_long_is_told_and_not_sent(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine, text="word " * 10)
    fill = 'const box = document.getElementById("text"); box.value = "word ".repeat(arguments[0]);'
    browser.run(fill + 'box.dispatchEvent(new Event("input", { bubbles: true }))', MOST_CHARACTERS // 5 + 1)
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


def problem(browser: Browser) -> str:
    return browser.find("#problem").text


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
    browser.find("#text").type(TEXT)
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
    browser.find("#text").type(TEXT)
    browser.find("#go").click()
    browser.wait(lambda: engine.at_once == 1)
    browser.open("about:blank")
    browser.wait(lambda: engine.at_once == 0)
    assert engine.finished == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_nothing_is_wider_than_the_screen(browser: Browser, open_page: Open, width: int) -> None:
    open_page(FakeEngine("a" * 60), FakeEngine("second run"))
    browser.resize(width, 800)
    browser.find("#decoding summary").click()
    summarize(browser, "x" * 200 + " " + TEXT)
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    browser.find("#edit").click()
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")


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
