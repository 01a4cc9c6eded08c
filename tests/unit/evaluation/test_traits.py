"""What ROUGE does not see, on texts where one can count it."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.evaluation.traits import TRAITS, fragments, names_and_numbers, traits_of, unsupported

DOCUMENT = "The storm hit Kent on Monday. Mr. O'Brien lost 12,500 pounds. He said the NATO talks cost 3.5 billion."

words = st.lists(st.sampled_from("abc"), max_size=12)


def longest_run(summary: Sequence[str], start: int, document: Sequence[str]) -> int:
    """By trying every length."""
    for length in range(len(summary) - start, 0, -1):
        wanted = list(summary[start : start + length])
        if any(list(document[place : place + length]) == wanted for place in range(len(document))):
            return length
    return 0


@given(words, words)
def test_fragments_are_the_longest_runs_taken_from_the_left(summary: list[str], document: list[str]) -> None:
    expected, start = [], 0
    while start < len(summary):
        length = longest_run(summary, start, document)
        expected += [length] if length else []
        start += max(1, length)
    found = fragments(summary, document)
    assert [fragment.length for fragment in found] == expected
    for start, place, length in found:
        assert summary[start : start + length] == document[place : place + length]


def test_an_extract_is_copied_whole_and_holds_nothing_new() -> None:
    traits = traits_of("The storm hit Kent on Monday.", DOCUMENT)
    assert traits["coverage"] == 1.0
    assert traits["density"] == 6.0
    assert [traits[f"novel_{n}grams"] for n in (1, 2, 3, 4)] == [0, 0, 0, 0]
    assert traits["unsupported_names"] == 0.0
    assert traits["compression"] == pytest.approx(22 / 6)


def test_new_words_in_old_order_and_old_words_in_new_order_are_told_apart() -> None:
    reordered = traits_of("Monday on Kent hit storm", DOCUMENT)
    assert (reordered["novel_1grams"], reordered["novel_2grams"]) == (0.0, 1.0)
    assert (reordered["coverage"], reordered["density"]) == (1.0, 1.0)
    new = traits_of("floods ruined farmland everywhere", DOCUMENT)
    assert (new["novel_1grams"], new["coverage"], new["density"]) == (1.0, 0.0, 0.0)


def test_repetition_is_the_share_of_trigrams_that_came_before() -> None:
    assert traits_of("a b c d e", "")["repeated_trigrams"] == 0.0
    assert traits_of("a b c a b c", "")["repeated_trigrams"] == 0.25
    assert traits_of("a a a a a", "")["repeated_trigrams"] == pytest.approx(2 / 3)


def test_length_is_compared_with_the_mean_of_the_references() -> None:
    assert traits_of("a b c", "", ["a b", "a b c d"])["length_ratio"] == 1.0
    assert traits_of("", "", ["a b"])["length_ratio"] == 0.0


def test_names_are_words_with_a_capital_that_the_sentence_does_not_explain() -> None:
    text = "Storms hit Kent. NATO and McDonald's met; J.K. Rowling's 12,500 books, the 3rd in 2015."
    names, numbers = names_and_numbers(text)
    assert names == ["Kent", "NATO", "McDonald", "J", "K", "Rowling"]
    assert numbers == ["12500", "3rd", "2015"]


def test_names_and_numbers_are_looked_for_in_any_case_and_form() -> None:
    assert unsupported("In KENT O'Brien's 12500 and the Nato talks.", DOCUMENT) == ([], [])
    assert unsupported("Yesterday Smith lost 13,000 in Kent.", DOCUMENT) == (["Smith"], ["13000"])
    assert traits_of("Then Smith met O'Brien. He lost 7.", DOCUMENT)["unsupported_names"] == 0.5


def test_lower_case_text_has_numbers_and_no_names() -> None:
    traits = traits_of("smith lost 13,000 in kent", DOCUMENT.lower())
    assert "unsupported_names" not in traits
    assert traits["unsupported_numbers"] == 1.0


def test_what_cannot_be_measured_is_absent() -> None:
    assert traits_of("", DOCUMENT) == {"words": 0}
    assert set(traits_of("one two", DOCUMENT)) == {
        "words", "compression", "coverage", "density", "novel_1grams", "novel_2grams",
    }  # fmt: skip
    assert set(traits_of("one two three four five", "", ["x"])) == {"words", "length_ratio", "repeated_trigrams"}


@given(st.text(), st.text())
def test_any_text_has_shares_between_0_and_1(summary: str, document: str) -> None:
    traits = traits_of(summary, document, [document or "a"])
    assert set(traits) <= set(TRAITS)
    for name, value in traits.items():
        assert value >= 0
        if name.startswith(("novel", "repeated", "unsupported", "coverage")):
            assert value <= 1


def test_long_repetitive_texts_take_little_time() -> None:
    rng = random.Random(0)
    document = " ".join(rng.choices("ab", k=5000))
    start = time.perf_counter()
    traits_of("a b " * 50, document)
    assert time.perf_counter() - start < 2
