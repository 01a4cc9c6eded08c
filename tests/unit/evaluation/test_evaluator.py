"""An evaluation is what people quote: its table, its files and its order must be right."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from summarizer.errors import UserError
from summarizer.evaluation.baselines import lead
from summarizer.evaluation.bootstrap import aggregate
from summarizer.evaluation.cases import Case
from summarizer.evaluation.evaluator import Evaluation, evaluate
from summarizer.evaluation.rouge import ROUGE_TYPES, score_pairs
from summarizer.evaluation.tables import described_p, evaluation_table, side_by_side
from summarizer.evaluation.traits import traits_of

CASES = [
    Case(
        id=f"case-{number}",
        document=f"storm {number} hit. it rained. roofs fell. {word} was saved by crews. all slept.",
        references=(f"crews saved {word} .\nstorm {number} is over — {word}.",),
    )
    for number, word in enumerate(["anna", "bert", "carl", "dora", "emil", "fred", "gina"])
]


def last_but_one(documents: Sequence[str]) -> list[str]:
    return [document.split(". ")[-2] for document in documents]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(last_but_one, CASES, seed=5, resamples=100)


def test_model_and_baseline_are_scored_against_the_raw_references(evaluation: Evaluation) -> None:
    references = [example.references[0] for example in CASES]
    documents = [example.document for example in CASES]
    model = score_pairs(references, last_but_one(documents))
    baseline = score_pairs(references, [lead(document) for document in documents])
    assert evaluation.model == aggregate(model, seed=5, resamples=100)
    assert evaluation.lead == aggregate(baseline, seed=5, resamples=100)
    for rouge_type in ROUGE_TYPES:
        expected = evaluation.model[rouge_type].f1.mean - evaluation.lead[rouge_type].f1.mean
        assert evaluation.difference[rouge_type].mean == pytest.approx(expected)


def test_records_keep_the_order_of_the_examples(evaluation: Evaluation) -> None:
    assert [record.case.id for record in evaluation.records] == [example.id for example in CASES]
    for record, example in zip(evaluation.records, CASES, strict=True):
        assert record.prediction == last_but_one([example.document])[0]
        assert [record.scores] == score_pairs([example.references[0]], [record.prediction])


def test_the_number_of_baseline_sentences_reaches_baseline_table_and_metrics() -> None:
    one = evaluate(last_but_one, CASES, baseline_sentences=1, resamples=10)
    assert one.lead != evaluate(last_but_one, CASES, resamples=10).lead
    assert "lead-1" in evaluation_table(one)
    assert "lead1" in one.metrics()


def test_the_table_shows_the_numbers_and_fits_a_terminal(evaluation: Evaluation) -> None:
    table = evaluation_table(evaluation)
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
        shown = [float(cell) for cell in row[1:] if cell not in ("to", "<")]
        assert shown[:-1] == pytest.approx([100 * number for number in [*numbers, *difference[:3]]], abs=0.0051)
        assert table.splitlines()[2].split()[-1] == "p"
        assert " ".join(row).endswith(f" {described_p(difference.p, 100)}")
    assert "paired bootstrap" in table


def test_the_widest_table_still_fits_a_terminal() -> None:
    perfect = {example.document: example.references[0] for example in CASES}
    evaluation = evaluate(lambda documents: [perfect[document] for document in documents], CASES)
    assert "100.00 to 100.00" in evaluation_table(evaluation)
    assert all(len(line) <= 100 for line in evaluation_table(evaluation).splitlines())


def test_how_much_of_the_documents_was_read_is_told_everywhere(evaluation: Evaluation, tmp_path: Path) -> None:
    told = evaluation.with_reading("lead", [1.0, 0.5, 0.25, 1.0, 1.0, 1.0, 0.85])
    metrics = told.metrics()
    assert (metrics["long_document"], metrics["documents_cut"]) == ("lead", 3)
    assert metrics["traits"]["share_read"] == pytest.approx(0.8)
    assert [record.as_data()["share_read"] for record in told.records][:3] == [1.0, 0.5, 0.25]
    row = next(line.split() for line in evaluation_table(told).splitlines() if "document read" in line)
    assert row[-2:] == ["80.0%", "-"]
    for key in ("long_document", "documents_cut"):
        assert key not in evaluation.metrics(), "nobody knows how somebody's predictions were read"
    assert "document read" not in evaluation_table(evaluation)


def test_written_files_read_back(evaluation: Evaluation, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "evaluation"
    evaluation.write(folder)
    evaluation.write(folder)  # a second evaluation replaces the first
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json", "predictions.jsonl"]

    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert metrics == evaluation.metrics()
    assert metrics["examples"] == len(CASES)
    assert metrics["rouge1"]["f1_low"] <= metrics["rouge1"]["f1"] <= metrics["rouge1"]["f1_high"]
    assert set(metrics["lead3"]) == set(metrics["difference"]) == set(ROUGE_TYPES)
    assert "seed 5" in metrics["protocol"]

    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text("utf-8").split("\n")[:-1]]
    assert [row["id"] for row in rows] == [example.id for example in CASES]
    assert set(rows[0]) == {"id", "document", "reference", "prediction", "scores"}
    assert rows[0]["reference"] == CASES[0].references[0]
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
        evaluate(never, CASES, resamples=0)
    with pytest.raises(UserError, match=r"processes \(0\)"):
        evaluate(never, CASES, processes=0)
    with pytest.raises(UserError, match=r"number of sentences \(0\)"):
        evaluate(never, CASES, baseline_sentences=0)


def test_a_lost_summary_is_noticed() -> None:
    with pytest.raises(UserError, match=r"predictions \(6\) must be as many as references \(7\)"):
        evaluate(lambda documents: last_but_one(documents)[1:], CASES)


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
        assert " ".join(CASES[number].references[0].split()) in one_line


def test_samples_are_no_more_than_there_are(evaluation: Evaluation) -> None:
    assert side_by_side(evaluation.records, 50).count("--- ") == len(CASES)
    assert side_by_side(evaluation.records, 0) == ""


def test_a_long_document_is_shortened_and_cannot_steer_the_terminal() -> None:
    hostile = Case("long", "\x1b[2Jword " * 500 + "\n" * 9 + "end.", ("a summary",))
    text = side_by_side(evaluate(lambda _: [""], [hostile], resamples=1).records, 1)
    assert "\x1b" not in text
    assert len(text.splitlines()) < 10
    assert "(empty)" in text


def test_the_baselines_stand_beside_in_their_order(evaluation: Evaluation) -> None:
    assert list(evaluation.baselines) == ["lead3", "random3", "oracle3"]
    oracle, lead_score = (
        sum(evaluation.baselines[name][rouge_type].f1.mean for rouge_type in ("rouge1", "rouge2"))
        for name in ("oracle3", "lead3")
    )
    assert oracle >= lead_score
    table = evaluation_table(evaluation)
    for name in ("lead-3", "random-3", "oracle-3"):
        assert name in table
    assert f"{100 * evaluation.baselines['oracle3']['rougeL'].f1.mean:.2f}" in table


def test_without_documents_there_are_no_baselines_but_scores() -> None:
    cases = [Case(case.id, "", case.references) for case in CASES]
    evaluation = evaluate(lambda documents: ["crews saved anna"] * len(documents), cases, resamples=10)
    assert evaluation.baselines == evaluation.difference == {}
    assert "lead" not in evaluation_table(evaluation)
    assert set(evaluation.traits) == {"words", "length_ratio", "repeated_trigrams"}
    assert evaluation.metrics()["rouge1"]["f1"] > 0


def test_several_references_are_scored_by_the_best_and_told() -> None:
    cases = [Case("1", "a storm. rain.", ("nothing alike", "a storm came"))]
    evaluation = evaluate(lambda documents: ["a storm came"], cases, resamples=10)
    assert evaluation.model["rouge1"].f1.mean == 1.0
    assert "best F1 of up to 2 references" in evaluation.protocol
    assert evaluation.records[0].as_data()["references"] == list(cases[0].references)


def test_the_language_reaches_scores_baselines_and_protocol() -> None:
    cases = [Case("1", "天气很好。部长见面。他们走了。", ("部长见面",))]
    evaluation = evaluate(lambda documents: ["部长"], cases, resamples=10, language="zh")
    assert evaluation.model["rouge1"].precision.mean == 1.0
    assert evaluation.baselines["oracle3"]["rouge1"].f1.mean == 1.0
    assert "Unicode tokenizer for zh" in evaluation.protocol


def test_traits_are_the_means_over_those_that_have_them() -> None:
    cases = [Case("1", "a b c d", ("a b",)), Case("2", "a b c d", ("a b",))]
    evaluation = evaluate(lambda documents: ["a x", ""], cases, resamples=10)
    assert evaluation.traits["words"] == 1.0
    assert evaluation.traits["novel_1grams"] == traits_of("a x", "a b c d")["novel_1grams"] == 0.5


def test_the_number_of_processes_changes_no_number(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("summarizer.evaluation.workers._FEWEST", 2)
    monkeypatch.setattr("summarizer.evaluation.workers._CHUNK", 2)
    shared = evaluate(last_but_one, CASES, seed=5, resamples=100, processes=2)
    assert {**shared.metrics(), "seconds": 0} == {**evaluation.metrics(), "seconds": 0}
