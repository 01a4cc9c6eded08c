"""The demo page in a real browser, as somebody uses it: types, clicks, points, presses keys."""

from __future__ import annotations

from collections.abc import Callable

from demo_page import LOOKED, SUMMARY, TEXT, finished, lit, note, paste, summarize, words
from fake_engine import FakeEngine
from webdriver import Browser

Open = Callable[..., None]


def test_type_click_and_read_the_summary(browser: Browser, open_page: Open, engine: FakeEngine) -> None:
    open_page(engine)
    assert browser.find("#runs").text == "first run: 1.5 M parameters, update 900, reads 8 tokens, has a pointer"
    browser.find("#text").type(TEXT)
    browser.find("#go").click()
    finished(browser)
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
    paste(browser, TEXT)
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
    paste(browser, TEXT)
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
