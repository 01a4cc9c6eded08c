"""Our scores are exactly those of the rouge-score package with its own stemmer and tokenizer."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from summarizer.evaluation.rouge import ROUGE_TYPES, score_pairs


def assert_same_as_package(references: list[str], predictions: list[str]) -> None:
    package = RougeScorer(list(ROUGE_TYPES), use_stemmer=True)
    ours = score_pairs(references, predictions)
    for reference, prediction, scores in zip(references, predictions, ours, strict=True):
        expected = package.score(reference, prediction)
        assert {kind: tuple(score) for kind, score in scores.items()} == {
            kind: tuple(score) for kind, score in expected.items()
        }


def package_scores(references: list[str], prediction: str) -> dict[str, tuple[float, ...]]:
    scores = RougeScorer(list(ROUGE_TYPES), use_stemmer=True).score_multi(references, prediction)
    return {kind: tuple(score) for kind, score in scores.items()}


# Few words, so that they repeat and longest subsequences tie; and any characters at all.
few_words = st.lists(st.sampled_from(["a", "b", "c", "running", "runs", "\n", "\n\n", "Ab", "é", "-"]), max_size=40)
texts = (
    few_words.map(" ".join) | st.text(alphabet=st.sampled_from("ab c\nSs0İΣ\u212a\u2028\r'"), max_size=60) | st.text()
)


@given(texts, texts)
def test_any_text_scores_as_in_the_package(reference: str, prediction: str) -> None:
    assert_same_as_package([reference], [prediction])


@given(st.lists(texts, min_size=1, max_size=4), texts)
def test_several_references_score_as_in_the_package(references: list[str], prediction: str) -> None:
    (ours,) = score_pairs([references], [prediction])
    assert {kind: tuple(score) for kind, score in ours.items()} == package_scores(references, prediction)


def random_text(rng: random.Random, alphabet: str, num_words: int) -> str:
    words = ["".join(rng.choices(alphabet, k=rng.randint(1, 9))) for _ in range(num_words)]
    return "".join(word + rng.choice([" ", " ", " . ", "\n", "-", "\t"]) for word in words)


@pytest.mark.parametrize("alphabet", ["ab", "abcdefghijklmnopqrstuvwxyz", "aeinstgd'\u2019éß0 9İ\x00"])
def test_random_text_scores_as_in_the_package(alphabet: str) -> None:
    rng = random.Random(alphabet)
    texts = [random_text(rng, alphabet, rng.randint(0, 30)) for _ in range(120)]
    assert_same_as_package(texts[:60], texts[60:])


def test_news_scores_as_in_the_package() -> None:
    endings = ["", "s", "ed", "ing", "ational", "ies", "fulness", "er's", "ly", "ization"]
    stems = [
        "protest",
        "minist",
        "polic",
        "report",
        "relat",
        "happi",
        "commun",
        "elect",
        "nation",
        "the",
        "of",
        "said",
        "a",
        "u.s.",
        "2,015",
        "co-oper",
    ]
    rng = random.Random(0)

    def sentence() -> str:
        return " ".join(rng.choice(stems) + rng.choice(endings) for _ in range(rng.randint(4, 15))) + " ."

    summaries = ["\n".join(sentence() for _ in range(rng.randint(1, 4))) for _ in range(80)]
    assert_same_as_package(summaries[:40], summaries[40:])


@pytest.mark.parametrize("text", ["", "\n", "...", "The The THE", "a\n\nb\n", "running\nruns ran"])
def test_odd_text_scores_as_in_the_package(text: str) -> None:
    others = ["", "the runs\nrun", "a b", text]
    assert_same_as_package([text] * 4, others)
    assert_same_as_package(others, [text] * 4)


@pytest.mark.slow
def test_real_news_scores_as_in_the_package() -> None:
    folder = os.environ.get("SUMMARIZER_DATA")
    if folder is None:
        pytest.skip("set SUMMARIZER_DATA")
    import pyarrow.parquet as parquet

    from summarizer.evaluation.baselines import lead

    path = next(Path(folder, "cnn_dailymail").glob("test-*.parquet"))
    rows = parquet.read_table(path, columns=["article", "highlights"]).slice(0, 200).to_pylist()
    assert_same_as_package([row["highlights"] for row in rows], [lead(row["article"]) for row in rows])
