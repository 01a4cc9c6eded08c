from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import example, given
from hypothesis import strategies as st

from summarizer.errors import UserError
from summarizer.tokenizer import (
    END_ID,
    NEWLINE_LABEL,
    NEWLINE_PIECE,
    PAD_ID,
    START_ID,
    UNK_ID,
    Tokenizer,
    TokenizerConfig,
    TokenizerKind,
    normalize,
)


def make_texts(count: int = 200) -> list[str]:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 8))) for _ in range(300)]
    return [
        "\n".join(" ".join(rng.choices(words, k=12)) + f" 1984 {rng.randint(0, 10**6)}." for _ in range(3))
        for _ in range(count)
    ]


TEXTS = make_texts()
TOKENIZERS = {kind: Tokenizer.train(TEXTS, TokenizerConfig(kind=kind, vocab_size=400)) for kind in TokenizerKind}
BPE = TOKENIZERS[TokenizerKind.bpe]

both_kinds = pytest.mark.parametrize("kind", TokenizerKind)


@both_kinds
@given(text=st.text(st.characters(exclude_categories=())))  # surrogates too
@example(text="cats 😀 in 北京, café; cafe\u0301")
@example(text="literal <n> <s> </s> <unk> <pad> <0x0A> stay as they are")
@example(text=f"{NEWLINE_PIECE} \u2581 \x00 \ud83d\ude00 \u2028 \x85 \u00a0")
@example(text=" \n\n first  line \t\r\n \n second\n")
def test_every_string_survives_encoding_in_its_normal_form(kind: TokenizerKind, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == normalize(text)
    assert all(END_ID < i < tokenizer.vocab_size for i in ids), "a special id stands for part of the text"


@given(st.text())
def test_normal_form_is_stable_and_has_only_single_inner_newlines_and_spaces(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once
    assert all(line == " ".join(line.split()) != "" for line in once.split("\n")) or once == ""


def test_sentences_of_a_summary_stay_apart() -> None:
    text = "One sentence .\nAnother one .\nThe third ."
    ids = BPE.encode(text)
    assert BPE.decode(ids) == text
    assert BPE.pieces(ids).count(NEWLINE_LABEL) == 2


def test_a_word_has_the_same_pieces_at_the_start_of_every_line() -> None:
    word, newline = BPE.encode("abide"), BPE.encode("a\na")[1]
    assert BPE.encode("abide abide\nabide") == [*word, *word, newline, *word]


def test_several_line_breaks_of_any_kind_are_one_newline() -> None:
    assert BPE.encode("a \r\n \n\u2029 b") == BPE.encode("a\nb")


def test_text_that_looks_like_the_newline_piece_does_not_become_a_newline() -> None:
    assert "\n" not in BPE.decode(BPE.encode(f"a {NEWLINE_LABEL} b{NEWLINE_PIECE}c"))
    assert NEWLINE_LABEL in BPE.decode(BPE.encode(f"a {NEWLINE_LABEL} b"))


@both_kinds
def test_numbers_are_spelled_in_digits(kind: TokenizerKind) -> None:
    pieces = TOKENIZERS[kind].pieces(TOKENIZERS[kind].encode("in 1984 and 20500"))
    assert all(len(piece.strip("\u2581")) == 1 for piece in pieces if any(c.isdigit() for c in piece))


def test_batch_encoding_equals_encoding_one_by_one_for_any_number_of_threads() -> None:
    expected = [BPE.encode(text) for text in TEXTS]
    assert BPE.encode_batch(TEXTS) == BPE.encode_batch(TEXTS, num_threads=3) == expected


def test_decoding_drops_special_ids() -> None:
    ids = BPE.encode("hello there")
    assert BPE.decode([START_ID, *ids, UNK_ID, END_ID, PAD_ID, PAD_ID]) == "hello there"
    assert BPE.decode([START_ID, END_ID]) == ""


@given(st.lists(st.integers(0, BPE.vocab_size - 1)))
def test_anything_a_model_can_generate_decodes_to_normalized_text(ids: list[int]) -> None:
    text = BPE.decode(ids)
    assert "\n\n" not in text
    assert text == text.strip()
    assert NEWLINE_PIECE not in text


@both_kinds
def test_same_texts_give_the_same_tokenizer_and_other_texts_another(kind: TokenizerKind) -> None:
    config = TokenizerConfig(kind=kind, vocab_size=400)
    assert Tokenizer.train(iter(TEXTS), config).fingerprint == TOKENIZERS[kind].fingerprint
    assert Tokenizer.train(make_texts(150), config).fingerprint != TOKENIZERS[kind].fingerprint


def test_the_two_kinds_are_told_apart() -> None:
    assert BPE.fingerprint != TOKENIZERS[TokenizerKind.unigram].fingerprint


def test_saving_and_pickling_keep_the_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(BPE.to_bytes())
    for copy in (Tokenizer.load(tmp_path / "tokenizer.model"), pickle.loads(pickle.dumps(BPE))):
        assert copy.fingerprint == BPE.fingerprint
        assert copy.encode(TEXTS[0]) == BPE.encode(TEXTS[0])


def test_training_reads_texts_from_the_whole_split_within_the_bound() -> None:
    # Documents and summaries alternate, and the end differs from the beginning.
    texts = [part for i in range(300) for part in ("x" * 50 + " doc", "y" * 5 + (" late" if i > 150 else ""))]
    tokenizer = Tokenizer.train(texts, TokenizerConfig(vocab_size=275, max_training_characters=2000))
    spelled = tokenizer.pieces(tokenizer.encode("xydl"))
    assert not any(piece.startswith("<0x") for piece in spelled), f"never saw all kinds of text: {spelled}"


def test_the_bound_on_training_text_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    train = sentencepiece.SentencePieceTrainer.train

    def spy(*, sentence_iterator: list[str], **options: Any) -> None:
        seen.extend(sentence_iterator)
        train(sentence_iterator=iter(seen), **options)

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", spy)
    Tokenizer.train(TEXTS, TokenizerConfig(vocab_size=300, max_training_characters=5000))
    assert 1000 < sum(map(len, seen)) <= 5000


def test_endless_lines_and_words_do_not_break_training() -> None:
    texts = ["long line " * 5000, "word" * 20_000, "北京" * 5000]
    tokenizer = Tokenizer.train(texts, TokenizerConfig(vocab_size=280))
    pieces = tokenizer.pieces(tokenizer.encode("line word 北"))
    assert not any(piece.startswith("<0x") for piece in pieces), f"a line was skipped: {pieces}"


@both_kinds
def test_too_large_a_vocabulary_is_refused_with_the_largest_possible(kind: TokenizerKind) -> None:
    with pytest.raises(UserError, match=r"vocab_size \(100000\) must be at most \d+") as raised:
        Tokenizer.train(TEXTS, TokenizerConfig(kind=kind, vocab_size=100_000))
    assert "\n" not in str(raised.value)
    largest = int(str(raised.value).split("at most ")[1].split()[0])
    assert Tokenizer.train(TEXTS, TokenizerConfig(kind=kind, vocab_size=largest)).vocab_size == largest


def test_too_small_a_vocabulary_is_refused_with_the_smallest_possible() -> None:
    with pytest.raises(UserError, match=r"vocab_size \(263\) must be at least \d+"):
        Tokenizer.train(TEXTS, TokenizerConfig(vocab_size=263))


@pytest.mark.parametrize("texts", [[], ["", " \n "]])
def test_nothing_to_train_on_is_the_users_error(texts: list[str]) -> None:
    with pytest.raises(UserError, match="empty"):
        Tokenizer.train(texts, TokenizerConfig())


def test_missing_and_damaged_files_are_the_users_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.model cannot be read"):
        Tokenizer.load(tmp_path / "absent.model")
    (tmp_path / "tokenizer.model").write_bytes(BPE.to_bytes())
    content = (tmp_path / "tokenizer.model").read_bytes()
    for damaged in (b"", b"no model", content[: len(content) // 2]):
        (tmp_path / "tokenizer.model").write_bytes(damaged)
        with pytest.raises(UserError, match=r"tokenizer\.model"):
            Tokenizer.load(tmp_path / "tokenizer.model")


def test_a_foreign_model_is_refused(tmp_path: Path) -> None:
    prefix = str(tmp_path / "foreign")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_prefix=prefix, vocab_size=100, minloglevel=2
    )
    with pytest.raises(UserError, match="other special ids"):
        Tokenizer.load(f"{prefix}.model")


@pytest.mark.parametrize(
    "config",
    [
        TokenizerConfig(vocab_size=261),
        TokenizerConfig(character_coverage=0.0),
        TokenizerConfig(character_coverage=float("nan")),
        TokenizerConfig(max_training_characters=0),
    ],
)
def test_values_out_of_range_are_refused(config: TokenizerConfig) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.\w+ \(.*\) must be"):
        config.validate()


@both_kinds
def test_words_start_where_spaces_and_newlines_are(kind: TokenizerKind) -> None:
    tokenizer = TOKENIZERS[kind]
    starts = tokenizer.word_starts()
    ids = tokenizer.encode("cab 1984\nfeed 66.")
    words = "".join(("|" if starts[i] else "") + piece for i, piece in zip(ids, tokenizer.pieces(ids), strict=True))
    assert words == "|\u2581cab|\u25811984|<n>|\u2581feed|\u258166."
