"""Tokens become running text again, and words are compared as wholes."""

from __future__ import annotations

import pytest

from summarizer.presentation.words import shared_words, token_texts
from summarizer.tokenizer import Tokenizer, TokenizerConfig, normalize

TEXTS = ["the storm closed every road", "Ōdate 🙂 </script> <0x41>\nsecond line, 50% \u4e2d"]


def marked(source: list[str], target: list[str]) -> list[str]:
    words = shared_words(source, target)
    return [text for text, word in zip(target, words.target_T, strict=True) if word >= 0]


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokens_together_show_the_text(text: str) -> None:
    tokenizer = Tokenizer.train(TEXTS[:1] * 9, TokenizerConfig(vocab_size=300))
    ids = [*tokenizer.encode(text), 3]
    texts = token_texts(tokenizer.pieces(ids))
    assert len(texts) == len(ids)
    assert "".join(texts).lstrip().replace("\n ", "\n") == normalize(text)


@pytest.mark.parametrize(
    ("pieces", "texts"),
    [
        (["<0xC3>"], ["\ufffd"]),
        (["<0xF0>", "<0x9F>"], ["\ufffd", "\ufffd"]),
        (["<0xB6>", "<0xC3>", "<0xB6>", "<0x79>"], ["\ufffd", "ö", "", "y"]),
    ],
)
def test_bytes_that_spell_no_character_show_as_such(pieces: list[str], texts: list[str]) -> None:
    assert token_texts(["▁a", *pieces, "b"]) == [" a", *texts, "b"]


def test_only_whole_words_are_shared_whatever_their_case_or_pieces() -> None:
    source = [" the", " ar", "t", " par", "ty", " costs", " 1", "2", ",", "500", ".", "\n", " It", "'", "s"]
    assert marked(source, [" art", "s"]) == []
    assert marked(source, [" par"]) == []
    assert marked(source, [" PARTY", ",", " Art"]) == [" PARTY", " Art"]
    assert marked(source, [" 500"]) == []
    assert marked(source, [" 12,500", "."]) == [" 12,500"]
    assert marked(source, [" it", " it's", "."]) == [" it's"]
    assert marked(source, [" costs", "\n", "the"]) == [" costs", "the"]


def test_tokens_of_a_shared_word_have_its_number_on_both_sides() -> None:
    words = shared_words([" par", "ty", " of", " two"], [" two", " ", "party"])
    assert words.source_S[0] == words.source_S[1] == words.target_T[2]
    assert words.source_S[3] == words.target_T[0] != words.target_T[2]
    assert words.source_S[2] == words.target_T[1] == -1
