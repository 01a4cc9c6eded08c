"""The bits give what the table gives, ties included."""

from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import lcs_ind

from summarizer.evaluation.lcs import lcs_length, lcs_places, places_of

# Few different words make many longest subsequences to choose from; more than 64 leave one machine word.
sequences = st.lists(st.sampled_from("abcd"), max_size=90)


def set_bits(value: int) -> list[int]:
    return [place for place in range(value.bit_length()) if value >> place & 1]


@given(sequences, sequences | st.lists(st.sampled_from("abcdwxyz"), max_size=90))
def test_the_words_taken_are_those_of_the_package(reference: list[str], candidate: list[str]) -> None:
    taken = lcs_places(places_of(reference), len(reference), candidate)
    assert set_bits(taken) == lcs_ind(reference, candidate)


@given(sequences, sequences)
def test_the_length_is_that_of_the_words_taken(reference: list[str], candidate: list[str]) -> None:
    places = places_of(reference)
    length = lcs_length(places, len(reference), candidate)
    assert length == lcs_places(places, len(reference), candidate).bit_count()
    assert length == lcs_length(places_of(candidate), len(candidate), reference)


def test_places_are_those_of_the_words() -> None:
    assert places_of(["a", "b", "a"]) == {"a": 0b101, "b": 0b010}
    assert places_of([]) == {}
