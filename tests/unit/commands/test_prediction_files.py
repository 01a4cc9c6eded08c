"""What is scored: which cases, which lines of a file, by the words of which language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from summarizer.commands.evaluation_bench import Bench
from summarizer.commands.prediction_files import language_of, read_cases
from summarizer.config import EvaluateConfig
from summarizer.errors import UserError
from summarizer.evaluation.evaluator import METRICS_FILE, PREDICTIONS_FILE

IDS = ("c", "a", "d", "b")


def evaluation(folder: Path, language: object = None) -> Path:
    """The predictions of an evaluation that was scored by ``language``; None: by a release that did not tell."""
    folder.mkdir()
    (folder / METRICS_FILE).write_text(json.dumps({} if language is None else {"language": language}))
    (folder / PREDICTIONS_FILE).write_text("")
    return folder / PREDICTIONS_FILE


def compared(*files: Path, language: str | None = None) -> str:
    return language_of(EvaluateConfig(compare=[str(file) for file in files], language=language), files)


def test_evaluations_are_compared_by_the_words_they_were_scored_by(tmp_path: Path) -> None:
    first, second = evaluation(tmp_path / "first", "vi"), evaluation(tmp_path / "second", "vi")
    assert compared(first, second) == "vi"
    assert compared(first, second, language="en") == "en"


@pytest.mark.parametrize("other", [None, 7, ["vi"], "ru"])
def test_evaluations_of_two_languages_are_compared_only_by_a_third_word(other: object, tmp_path: Path) -> None:
    first, second = evaluation(tmp_path / "first", "vi"), evaluation(tmp_path / "second", other)
    with pytest.raises(UserError, match=r"compare must be of one language.*first.*vi.*second.*say which with language"):
        compared(first, second)
    assert compared(first, second, language="ru") == "ru"


def test_files_of_anybody_are_english_unless_told(tmp_path: Path) -> None:
    evaluation(tmp_path / "scored", "vi")
    mine = tmp_path / "scored" / "mine.jsonl"
    mine.write_text("")
    assert compared(mine, mine) == "en"


@pytest.mark.parametrize("lines", [4, 2])
@pytest.mark.parametrize("has_ids", [True, False])
def test_a_limit_takes_the_first_cases_and_their_lines(lines: int, has_ids: bool, tmp_path: Path) -> None:
    """Whether the file has a line for each case or only for those, in whatever order."""
    references, predictions = tmp_path / "references.jsonl", tmp_path / "predictions.jsonl"
    references.write_text("".join(json.dumps({"id": one, "reference": f"of {one}"}) + "\n" for one in IDS))
    rows = [{"id": one, "prediction": f"on {one}"} for one in IDS[:lines]]
    shuffled = rows[::-1] if has_ids else [{"prediction": row["prediction"]} for row in rows]
    predictions.write_text("".join(json.dumps(row) + "\n" for row in shuffled))
    config = EvaluateConfig(predictions=str(predictions), references=str(references), limit=2)
    cases, texts = read_cases(config, predictions, Bench())
    assert [case.id for case in cases] == ["c", "a"]
    assert texts == ["on c", "on a"]


def test_too_few_lines_for_a_limit_are_refused_with_what_was_wanted(tmp_path: Path) -> None:
    references, predictions = tmp_path / "references.txt", tmp_path / "predictions.txt"
    references.write_text("one\ntwo\nthree\n")
    predictions.write_text("one\n")
    config = EvaluateConfig(predictions=str(predictions), references=str(references), limit=2)
    with pytest.raises(UserError, match=r"are 1 and must be 2, one line for each of the first 2 of references"):
        read_cases(config, predictions, Bench())


@pytest.mark.parametrize(("ids", "expected"), [(("x:1", "x:2"), ["on x:1", "on x:2"]), (("2", "1"), ["on 1", "on 2"])])
def test_references_without_ids_are_matched_in_order_or_by_the_numbers_of_their_lines(
    ids: tuple[str, str], expected: list[str], tmp_path: Path
) -> None:
    """generate.py names each text, also those of a file without names."""
    references, predictions = tmp_path / "references.jsonl", tmp_path / "predictions.jsonl"
    references.write_text('{"document": "a", "summary": "one"}\n{"document": "b", "summary": "two"}\n')
    predictions.write_text("".join(json.dumps({"id": one, "summary": f"on {one}"}) + "\n" for one in ids))
    config = EvaluateConfig(predictions=str(predictions), references=str(references))
    cases, texts = read_cases(config, predictions, Bench())
    assert [case.references for case in cases] == [("one",), ("two",)]
    assert texts == expected
