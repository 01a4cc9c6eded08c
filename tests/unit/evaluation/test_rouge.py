"""What must hold for a ROUGE number to be worth printing."""

import logging
import random

import pytest

from summarizer.errors import UserError
from summarizer.evaluation import rouge, workers
from summarizer.evaluation.rouge import ROUGE_TYPES, PairScores, Score, score_pairs

REFERENCE = "the ministers met on monday .\nthey signed nothing ."


def same_score_everywhere(value: float) -> PairScores:
    return {rouge_type: Score(value, value, value) for rouge_type in ROUGE_TYPES}


def test_a_perfect_prediction_scores_one_and_an_empty_one_zero() -> None:
    perfect, empty = score_pairs([REFERENCE, REFERENCE], [REFERENCE, ""])
    assert perfect == same_score_everywhere(1.0)
    assert empty == same_score_everywhere(0.0)


def test_precision_and_recall_are_not_exchanged() -> None:
    (scores,) = score_pairs(["one two three four"], ["one two"])
    assert scores["rouge1"].precision == 1.0
    assert scores["rouge1"].recall == 0.5


def test_words_match_by_their_stems() -> None:
    (scores,) = score_pairs(["he was walking"], ["he was walked"])
    assert scores["rouge1"].f1 == 1.0


def test_newlines_are_the_sentences_of_rouge_lsum() -> None:
    swapped = "they signed nothing .\nthe ministers met on monday ."
    one_line = [text.replace("\n", " ") for text in (REFERENCE, swapped)]
    in_lines, in_one_line = score_pairs([REFERENCE, one_line[0]], [swapped, one_line[1]])
    assert in_lines["rougeLsum"].f1 == 1.0
    assert in_one_line["rougeLsum"].f1 < 1.0
    assert in_lines["rougeL"] == in_one_line["rougeL"], "rougeL must not see newlines"


def test_two_processes_give_the_numbers_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_FEWEST", 100)
    rng = random.Random(1)
    words = ["talks", "talking", "minister", "left", "a", "storm", ".", "\n"]
    references, predictions = ([" ".join(rng.choices(words, k=20)) for _ in range(150)] for _ in range(2))
    assert score_pairs(references, predictions, processes=2) == score_pairs(references, predictions)


def test_bad_input_is_told_to_the_user() -> None:
    with pytest.raises(UserError, match=r"predictions \(1\) must be as many as references \(2\)"):
        score_pairs(["a", "b"], ["a"])
    with pytest.raises(UserError, match=r"processes \(0\)"):
        score_pairs(["a"], ["a"], processes=0)


def test_text_that_the_tokenizer_deletes_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    rouge._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        score_pairs(["the café opened on monday with twenty guests from three small towns"], ["a café"])
        assert not caplog.records, "a foreign name is no foreign language"
        score_pairs(["министры встретились в понедельник"], ["министры"])
        score_pairs(["министры встретились в понедельник"], ["министры"])
    assert len(caplog.records) == 1
    assert "100% of the reference words" in caplog.text


def test_the_protocol_names_what_changes_the_numbers() -> None:
    protocol = rouge.protocol(seed=7, resamples=50)
    for part in ("rouge-score 0.", "stemmer", "newlines", "untruncated", "mean", "50 resamples", "seed 7"):
        assert part in protocol
