"""An evaluation is what people quote: its table, its files and its order must be right."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from summarizer.data.example import Example
from summarizer.errors import UserError
from summarizer.evaluation.baselines import lead
from summarizer.evaluation.bootstrap import aggregate
from summarizer.evaluation.evaluator import Evaluation, evaluate, side_by_side
from summarizer.evaluation.rouge import ROUGE_TYPES, score_pairs

EXAMPLES = [
    Example(
        id=f"case-{number}",
        document=f"storm {number} hit. it rained. roofs fell. {word} was saved by crews. all slept.",
        summary=f"crews saved {word} .\nstorm {number} is over — {word}.",
    )
    for number, word in enumerate(["anna", "bert", "carl", "dora", "emil", "fred", "gina"])
]


def last_but_one(documents: Sequence[str]) -> list[str]:
    return [document.split(". ")[-2] for document in documents]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(last_but_one, EXAMPLES, seed=5, resamples=100)


def test_model_and_baseline_are_scored_against_the_raw_references(evaluation: Evaluation) -> None:
    references = [example.summary for example in EXAMPLES]
    documents = [example.document for example in EXAMPLES]
    model = score_pairs(references, last_but_one(documents))
    baseline = score_pairs(references, [lead(document) for document in documents])
    assert evaluation.model == aggregate(model, seed=5, resamples=100)
    assert evaluation.lead == aggregate(baseline, seed=5, resamples=100)
    for rouge_type in ROUGE_TYPES:
        expected = evaluation.model[rouge_type].f1.mean - evaluation.lead[rouge_type].f1.mean
        assert evaluation.difference[rouge_type].mean == pytest.approx(expected)


def test_records_keep_the_order_of_the_examples(evaluation: Evaluation) -> None:
    assert [record.id for record in evaluation.records] == [example.id for example in EXAMPLES]
    for record, example in zip(evaluation.records, EXAMPLES, strict=True):
        assert record.prediction == last_but_one([example.document])[0]
        assert [record.scores] == score_pairs([example.summary], [record.prediction])


def test_the_number_of_baseline_sentences_reaches_baseline_table_and_metrics() -> None:
    one = evaluate(last_but_one, EXAMPLES, baseline_sentences=1, resamples=10)
    assert one.lead != evaluate(last_but_one, EXAMPLES, resamples=10).lead
    assert "lead-1" in one.table()
    assert "lead1" in one.metrics()


def test_the_table_shows_the_numbers_and_fits_a_terminal(evaluation: Evaluation) -> None:
    table = evaluation.table()
    assert all(len(line) <= 100 for line in table.splitlines())
    for title, rouge_type in zip(("ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum"), ROUGE_TYPES, strict=True):
        row = next(line.split() for line in table.splitlines() if line.split()[0] == title and len(line.split()) > 5)
        measure, difference = evaluation.model[rouge_type], evaluation.difference[rouge_type]
        numbers = [
            measure.precision.mean,
            measure.recall.mean,
            *measure.f1,
            evaluation.lead[rouge_type].f1.mean,
        ]
        shown = [float(cell) for cell in row[1:] if cell != "to"]
        assert shown == pytest.approx([100 * number for number in [*numbers, *difference[:3]]], abs=0.0051)


def test_the_widest_table_still_fits_a_terminal() -> None:
    perfect = {example.document: example.summary for example in EXAMPLES}
    evaluation = evaluate(lambda documents: [perfect[document] for document in documents], EXAMPLES)
    assert "100.00 to 100.00" in evaluation.table()
    assert all(len(line) <= 100 for line in evaluation.table().splitlines())


def test_written_files_read_back(evaluation: Evaluation, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "evaluation"
    evaluation.write(folder)
    evaluation.write(folder)  # a second evaluation replaces the first
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json", "predictions.jsonl"]

    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert metrics == evaluation.metrics()
    assert metrics["examples"] == len(EXAMPLES)
    assert metrics["rouge1"]["f1_low"] <= metrics["rouge1"]["f1"] <= metrics["rouge1"]["f1_high"]
    assert set(metrics["lead3"]) == set(metrics["difference"]) == set(ROUGE_TYPES)
    assert "seed 5" in metrics["protocol"]

    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text("utf-8").split("\n")[:-1]]
    assert [row["id"] for row in rows] == [example.id for example in EXAMPLES]
    assert set(rows[0]) == {"id", "document", "reference", "prediction", "scores"}
    assert rows[0]["reference"] == EXAMPLES[0].summary
    assert rows[0]["scores"]["rouge2"]["f1"] == evaluation.records[0].scores["rouge2"].f1


def test_a_failed_write_keeps_the_old_file_and_leaves_no_scraps(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation.write(tmp_path)
    before = (tmp_path / "predictions.jsonl").read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        evaluation.write(tmp_path)
    assert (tmp_path / "predictions.jsonl").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "predictions.jsonl"]


def test_bad_input_is_told_to_the_user_before_anything_is_summarized(tmp_path: Path) -> None:
    def never(documents: Sequence[str]) -> list[str]:
        raise AssertionError("summarizing may take hours")

    with pytest.raises(UserError, match=r"examples \(0\)"):
        evaluate(never, [])
    with pytest.raises(UserError, match=r"resamples \(0\)"):
        evaluate(never, EXAMPLES, resamples=0)
    with pytest.raises(UserError, match=r"processes \(0\)"):
        evaluate(never, EXAMPLES, processes=0)
    with pytest.raises(UserError, match=r"number of sentences \(0\)"):
        evaluate(never, EXAMPLES, baseline_sentences=0)


def test_a_lost_summary_is_noticed() -> None:
    with pytest.raises(UserError, match=r"predictions \(6\) must be as many as references \(7\)"):
        evaluate(lambda documents: last_but_one(documents)[1:], EXAMPLES)


def test_a_folder_that_is_a_file_is_told_to_the_user(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot be written: Not a directory"):
        evaluation.write(tmp_path / "taken")


@pytest.mark.parametrize("width", [40, 72, 100])
def test_samples_show_reference_and_prediction_within_the_width(evaluation: Evaluation, width: int) -> None:
    text = side_by_side(evaluation.records, 3, width)
    assert all(len(line) <= width for line in text.splitlines())
    one_line = " ".join(text.split())
    for number in (0, 2, 4):  # spread evenly over the seven
        assert f"case-{number}" in one_line
        assert " ".join(evaluation.records[number].prediction.split()) in one_line
        assert " ".join(EXAMPLES[number].summary.split()) in one_line


def test_samples_are_no_more_than_there_are(evaluation: Evaluation) -> None:
    assert side_by_side(evaluation.records, 50).count("--- ") == len(EXAMPLES)
    assert side_by_side(evaluation.records, 0) == ""


def test_a_long_document_is_shortened_and_cannot_steer_the_terminal() -> None:
    hostile = Example("long", "\x1b[2Jword " * 500 + "\n" * 9 + "end.", "a summary")
    text = side_by_side(evaluate(lambda _: [""], [hostile], resamples=1).records, 1)
    assert "\x1b" not in text
    assert len(text.splitlines()) < 10
    assert "(empty)" in text
