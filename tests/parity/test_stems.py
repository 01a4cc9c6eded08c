"""Our stems are exactly those of NLTK's Porter stemmer, which rouge-score takes."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer

from summarizer.evaluation.stemming import stem

NLTK = PorterStemmer()
ENDINGS = """
    s es ies ss sses ed ied eed ing y ly ally alli ational tional enci anci izer bli abli entli eli ousli ization ation
    ator alism iveness fulness ousness aliti iviti biliti fulli logi logy icate ative alize iciti ical ful ness al ance
    ence er ic able ible ant ement ment ent ion sion tion ou ism ate iti ous ive ize e ee l ll at bl iz ated izing bled
""".split()  # noqa: SIM905 - a list of so many would be a column
endings = st.lists(st.sampled_from(ENDINGS), max_size=3).map("".join)
beginnings = st.text(alphabet="aeioubstlzwxy", max_size=5) | st.text(
    alphabet="abcdefghijklmnopqrstuvwxyz09", max_size=7
)


@given(beginnings, endings)
def test_a_stem_is_that_of_nltk(beginning: str, ending: str) -> None:
    assert stem(beginning + ending) == NLTK.stem(beginning + ending)


def test_irregular_words_have_nltks_stems() -> None:
    words = [word for forms in NLTK.pool for word in (forms, f"{forms}s", f"un{forms}", f"{forms}ed", f"{forms}ing")]
    assert len(words) > 50
    assert [stem(word) for word in words] == [NLTK.stem(word) for word in words]


@pytest.mark.parametrize("letters", ["vc", "vcy", "vcyl"])
def test_every_short_shape_before_every_ending_is_cut_as_by_nltk(letters: str) -> None:
    rng = random.Random(letters)
    beginnings = ["".join(shape) for size in range(5) for shape in itertools.product(letters, repeat=size)]
    for beginning, ending in itertools.product(beginnings, ENDINGS):
        word = beginning.replace("v", rng.choice("aeiou")).replace("c", rng.choice("bdlstwxz")) + ending
        assert stem(word) == NLTK.stem(word), word
