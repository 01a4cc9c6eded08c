"""No letter of any language is lost, and what an accent is made of makes no difference."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.errors import UserError
from summarizer.evaluation import words
from summarizer.evaluation.rouge import score_pairs
from summarizer.evaluation.words import LANGUAGES, describe_words, unicode_words, words_of

VIETNAMESE = "Thủ tướng gặp các bộ trưởng ở Hà Nội hôm thứ Hai"
RUSSIAN = "Министры встретились в Москве в понедельник"
CHINESE = "部长们星期一在北京会面, COVID-19 之后"
HINDI = "मंत्री सोमवार को मिले"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thủ tướng ở Hà Nội.", ["thủ", "tướng", "ở", "hà", "nội"]),
        ("Министры — в Москве!", ["министры", "в", "москве"]),
        ("北京, COVID-19", ["北", "京", "covid", "19"]),
        ("東京タワーへ", list("東京タワーへ")),
        ("मंत्री मिले", ["मंत्री", "मिले"]),
        ("snake_case, it's 3.5%", ["snake", "case", "it", "s", "3", "5"]),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_marks_and_digits(text: str, expected: list[str]) -> None:
    assert unicode_words(text) == expected


@given(st.text())
def test_no_letter_or_digit_is_lost(text: str) -> None:
    def kept(characters: str) -> str:
        return "".join(each for each in characters if unicodedata.category(each)[0] in "LMN")

    assert "".join(unicode_words(text)) == kept(unicodedata.normalize("NFC", text.lower()))


@pytest.mark.parametrize(("language", "text"), [("vi", VIETNAMESE), ("ru", RUSSIAN), ("zh", CHINESE), ("hi", HINDI)])
def test_a_text_is_its_own_perfect_summary_however_its_accents_are_written(language: str, text: str) -> None:
    forms = [unicodedata.normalize(form, text).upper() for form in ("NFC", "NFD")]
    for scores in score_pairs([text, text], forms, language=language):
        assert {score.f1 for score in scores.values()} == {1.0}


def test_words_of_other_scripts_are_told_apart() -> None:
    (scores,) = score_pairs([VIETNAMESE], ["Thu tuong gap cac bo truong o Ha Noi hom thu Hai"], language="vi")
    assert 0 < scores["rouge1"].f1 < 0.5, "words without their accents are other words"
    (scores,) = score_pairs(["天气很好"], ["天气不好"], language="zh")
    assert scores["rouge1"].f1 == 0.75


def test_an_unknown_language_is_told_to_the_user() -> None:
    for language in ("xx", "english", "", "EN"):
        with pytest.raises(UserError, match=rf"language \({language}\) must be a two-letter code"):
            words_of(language)
        with pytest.raises(UserError, match="two-letter code"):
            score_pairs(["a"], ["a"], language=language)


def test_every_language_is_described() -> None:
    assert {"en", "vi", "ru", "zh", "hi", "ar", "fr"} <= LANGUAGES
    assert "a-z and 0-9 only" in describe_words("en")
    assert "Unicode tokenizer for vi" in describe_words("vi")


def test_the_memory_of_stems_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_MOST_STEMS", 3)
    stems = words._Stems()
    assert [stems[word] for word in ("running", "runs", "talked", "talks", "running")] == [
        "run", "run", "talk", "talk", "run",
    ]  # fmt: skip
    assert len(stems) <= 3
