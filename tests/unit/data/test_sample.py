"""The bundled sample: made by its script, varied, and not solved by copying the first sentences."""

import gzip
import importlib.util
import json
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from rouge_score.rouge_scorer import RougeScorer

DATA = Path(__file__).parents[3] / "data"
SIZES = {"train": 5000, "validation": 300, "test": 300}
MAX_TOTAL_BYTES = 1_500_000


@cache
def read(split: str) -> list[dict[str, str]]:
    with gzip.open(DATA / "sample" / f"{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def make_sample() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sample", DATA / "make_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_sample"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def first_sentences(document: str, count: int) -> str:
    return "\n".join(re.split(r'(?<=[.!?]) (?=["A-Z0-9])', document)[:count])


@pytest.mark.parametrize("split", ["validation", "test", pytest.param("train", marks=pytest.mark.slow)], ids=str)
def test_the_script_writes_exactly_the_committed_text(split: str, make_sample: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / f"{split}.jsonl.gz"
    make_sample.write_split(split, path, make_sample.DEFAULT_SEED)
    committed = DATA / "sample" / path.name
    # Not the compressed bytes: another zlib may pack the same text differently.
    assert gzip.decompress(path.read_bytes()) == gzip.decompress(committed.read_bytes())


def test_the_file_header_holds_no_time_so_that_a_rerun_changes_nothing(make_sample: ModuleType, tmp_path: Path) -> None:
    make_sample.write_split("test", tmp_path / "test.jsonl.gz", seed=1)
    assert (tmp_path / "test.jsonl.gz").read_bytes()[4:8] == b"\0\0\0\0"


def test_another_seed_tells_other_stories(make_sample: ModuleType) -> None:
    other = {report.document for report in make_sample.make_reports("test", seed=1)}
    assert other.isdisjoint(row["document"] for row in read("test"))


def test_the_sample_stays_small_enough_to_be_committed() -> None:
    assert sum(path.stat().st_size for path in (DATA / "sample").iterdir()) <= MAX_TOTAL_BYTES


@pytest.mark.parametrize("split", SIZES)
def test_every_row_is_a_report_with_a_summary_of_two_or_three_lines(split: str) -> None:
    rows = read(split)
    assert len(rows) == SIZES[split]
    for row in rows:
        assert list(row) == ["id", "document", "summary"]
        assert 50 <= len(row["document"].split()) <= 180, row["id"]
        assert row["summary"].count("\n") in (1, 2), row["id"]


@pytest.mark.parametrize("split", SIZES)
def test_text_has_no_traces_of_the_templates(split: str) -> None:
    slips = re.compile(
        r"[{}<>|]|  |,,|\.\.|,\."  # slots and punctuation left over
        r"|\b(\w+) \1\b"  # the same word twice
        r"|\ba (?!uni|eu|one)[aeiou]|\ban (?!hour)[^aeiou\W18]"  # a for an, an for a
        r"|[.!?]\"? [a-z]|^[a-z]|\n[a-z]"  # a sentence without a capital
    )
    texts = [row[column] for row in read(split) for column in ("document", "summary")]
    found = [match[0] for text in texts if (match := slips.search(text))]
    assert not found


def test_no_document_serves_twice() -> None:
    documents = [row["document"] for split in SIZES for row in read(split)]
    assert len(set(documents)) == len(documents)


def test_most_names_in_the_test_split_are_new(make_sample: ModuleType) -> None:
    seen = {word for row in read("train") for word in words(row["document"] + " " + row["summary"])}
    names = {name for report in make_sample.make_reports("test") for name in report.names & words(report.document)}
    assert len(names) > 300
    assert len(names - seen) / len(names) > 0.9


def test_every_name_in_a_summary_comes_from_its_document(make_sample: ModuleType) -> None:
    for report in make_sample.make_reports("test"):
        named = report.names & words(report.summary)
        assert named, report.id
        assert named <= words(report.document), report.id


def test_every_summary_leaves_names_of_its_document_out(make_sample: ModuleType) -> None:
    """Without names that do not belong in the summary, there would be nothing to select."""
    reports = list(make_sample.make_reports("test"))
    selective = [r for r in reports if (r.names & words(r.document)) - words(r.summary)]
    assert len(selective) > 0.8 * len(reports)


def test_the_same_facts_always_give_the_same_summary(make_sample: ModuleType) -> None:
    """A model cannot know what was drawn by chance, so a summary template must have no alternatives."""
    for name, domain in make_sample.load_domains().items():
        templates = [line.text for key in domain if key.startswith("summary ") for line in domain[key]]
        assert not [template for template in templates if "<" in template], name


def test_the_first_three_sentences_are_no_answer() -> None:
    scorer = RougeScorer(["rouge1"], use_stemmer=True)
    scores = [
        scorer.score(row["summary"], first_sentences(row["document"], 3))["rouge1"].fmeasure for row in read("test")
    ]
    assert 0.15 < sum(scores) / len(scores) < 0.27


def test_ten_subjects_share_the_splits_evenly() -> None:
    for split, size in SIZES.items():
        subjects = [row["id"].rsplit("-", 1)[1] for row in read(split)]
        assert len(set(subjects)) >= 10
        assert all(subjects.count(subject) >= size // len(set(subjects)) for subject in set(subjects))
