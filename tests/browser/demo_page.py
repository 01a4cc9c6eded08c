"""What somebody does and sees on the demo page."""

from __future__ import annotations

from webdriver import Browser

TEXT = "alpha beta gamma delta epsilon zeta eta theta iota kappa"  # ten words, of which a FakeEngine reads eight
SUMMARY = "alpha beta gamma delta"
COPIED, LOOKED = "source", "looked"


def paste(browser: Browser, text: str) -> None:
    """In place of what stood there, and much faster than keys."""
    browser.run(
        """const box = document.getElementById("text");
        box.value = arguments[0];
        box.dispatchEvent(new Event("input", { bubbles: true }));""",
        text,
    )


def summarize(browser: Browser, text: str = TEXT) -> None:
    """Paste the text, click, and wait for all summaries."""
    paste(browser, text)
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


def note(browser: Browser) -> str:
    return browser.find(".result .word").text


def problem(browser: Browser) -> str:
    return browser.find("#problem").text
