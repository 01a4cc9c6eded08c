"""Encoding by words gives what SentencePiece gives for the whole text, whatever the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.data import token_rows
from summarizer.data.token_rows import RowEncoder
from summarizer.tokenizer import NEWLINE_PIECE, Tokenizer, TokenizerConfig, TokenizerKind

TEXTS = [
    f"the {noun}s of {place} were {verb}ed on the {day}th, said mr. o'{place}; 3,500 others {verb}.\n{noun} by {noun}"
    for noun in ("minister", "storm", "player", "café", "election")
    for place in ("paris", "são paulo", "москва", "hà nội", "lancaster")
    for verb in ("attack", "warn", "elect", "ask", "paint")
    for day in (1, 12, 23)
]


def trained(kind: TokenizerKind) -> Tokenizer:
    return Tokenizer.train(TEXTS, TokenizerConfig(kind=kind, vocab_size=320))


BPE = trained(TokenizerKind.bpe)

odd = st.text(
    alphabet=st.sampled_from(f"aethos \n\r\t.,'é\u0301\u2581\u2028{NEWLINE_PIECE}_日1\ud800\x00"), max_size=50
)
texts = st.lists(odd | st.text(max_size=40) | st.lists(st.sampled_from(TEXTS)).map("\n".join), max_size=6)


@given(texts)
def test_the_rows_are_those_of_the_tokenizer(batch: list[str]) -> None:
    assert BPE.words_are_independent
    encoder = RowEncoder(BPE, num_threads=1)
    for _ in range(2):  # the second time from memory
        assert [row.tolist() for row in encoder(batch)] == [BPE.encode(text) for text in batch]


def test_a_unigram_model_takes_whole_texts() -> None:
    tokenizer = trained(TokenizerKind.unigram)
    assert not tokenizer.words_are_independent
    rows = RowEncoder(tokenizer, num_threads=2)(TEXTS)
    assert [row.tolist() for row in rows] == [tokenizer.encode(text) for text in TEXTS]


@pytest.mark.parametrize(("bound", "value"), [("_MOST_WORDS", 10), ("_MOST_IDS", 40)])
def test_the_memory_of_words_is_bounded(monkeypatch: pytest.MonkeyPatch, bound: str, value: int) -> None:
    monkeypatch.setattr(token_rows, bound, value)
    encoder = RowEncoder(BPE, num_threads=1)
    for text in [*TEXTS, "x" * 5000, "日本" * 5000]:
        assert encoder([text])[0].tolist() == BPE.encode(text)
        assert not encoder._lexicon.is_full


def test_a_word_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = RowEncoder(BPE, num_threads=1)
    encoder(["storm after storm", "storm"])
    encoded: list[str] = []
    original = Tokenizer.encode_words

    def counting(self: Tokenizer, texts: list[str], num_threads: int = 1) -> list[list[int]]:
        encoded.extend(texts)
        return original(self, texts, num_threads)

    monkeypatch.setattr(Tokenizer, "encode_words", counting)
    encoder(["after the storm"])
    assert encoded == ["the"]
