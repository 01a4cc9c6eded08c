"""Lead and the oracle: a bar set too low flatters every model measured against it."""

import random
from itertools import combinations

import pytest
from rouge_score.rouge_scorer import RougeScorer

from summarizer.errors import UserError
from summarizer.evaluation.baselines import lead, oracle, random_sentences
from summarizer.sentences import split_sentences


def test_lead_is_the_first_sentences_one_a_line() -> None:
    document = "one. two. three. four."
    assert lead(document) == "one.\ntwo.\nthree."
    assert lead(document, 1) == "one."
    assert lead(document, 9) == "one.\ntwo.\nthree.\nfour."
    assert lead("", 3) == ""


def test_a_count_below_one_is_told_to_the_user() -> None:
    with pytest.raises(UserError, match=r"number of sentences \(0\)"):
        lead("one.", 0)
    with pytest.raises(UserError, match=r"number of sentences \(-1\)"):
        oracle("one.", "one.", -1)


_SCORER = RougeScorer(["rouge1", "rouge2"], use_stemmer=True)


def objective(reference: str, prediction: str) -> float:
    scores = _SCORER.score(reference, prediction)
    return float(scores["rouge1"].fmeasure + scores["rouge2"].fmeasure)


def random_pair(rng: random.Random, num_sentences: int) -> tuple[str, str]:
    words = "storm court vote fire team price law film bank road".split()  # noqa: SIM905
    sentences = [" ".join(rng.choices(words, k=rng.randint(2, 6))) + "." for _ in range(num_sentences)]
    return " ".join(sentences), " ".join(rng.choices(words, k=8))


def test_the_oracle_lies_between_lead_and_the_best_of_all_choices() -> None:
    rng = random.Random(0)
    found_the_best = 0
    for _ in range(60):
        document, reference = random_pair(rng, 6)
        sentences = split_sentences(document)
        choices = [c for size in (1, 2, 3) for c in combinations(sentences, size)]
        best = max(objective(reference, "\n".join(choice)) for choice in choices)
        reached = objective(reference, oracle(document, reference))
        assert objective(reference, lead(document)) <= reached <= best
        found_the_best += reached == best
    assert found_the_best > 30, "greedy search should usually find the best choice of a tiny document"


def test_an_oracle_of_one_sentence_is_the_best_sentence() -> None:
    rng = random.Random(1)
    for _ in range(30):
        document, reference = random_pair(rng, 8)
        best = max(objective(reference, sentence) for sentence in split_sentences(document))
        assert objective(reference, oracle(document, reference, 1)) == best


def test_the_oracle_finds_planted_sentences_and_keeps_their_order() -> None:
    document = "rain fell. the court ruled on monday. dogs bark. the team won again. cats sleep."
    reference = "the team won again.\nthe court ruled on monday."
    assert oracle(document, reference) == "the court ruled on monday.\nthe team won again."


def test_the_oracle_of_nothing_is_nothing() -> None:
    assert oracle("", "a reference") == ""


def test_the_fast_oracle_is_the_plain_one() -> None:
    """The same greedy search, with every choice scored by the package on the whole text."""
    rng = random.Random(2)
    for _ in range(40):
        document, reference = random_pair(rng, 7)
        sentences = split_sentences(document + " ... !")
        chosen: list[int] = []
        best = 0.0
        while len(chosen) < 3:
            choices = [sorted([*chosen, place]) for place in range(len(sentences)) if place not in chosen]
            values = [objective(reference, "\n".join(sentences[p] for p in choice)) for choice in choices]
            if max(values) <= best:
                break
            best, chosen = max(values), choices[values.index(max(values))]
        first = list(range(3))
        plain = max(chosen, first, key=lambda places: objective(reference, "\n".join(sentences[p] for p in places)))
        assert oracle(document + " ... !", reference) == "\n".join(sentences[place] for place in plain)


def test_the_oracle_of_several_references_follows_the_best() -> None:
    document = "rain fell. the court ruled. dogs bark."
    assert oracle(document, ["dogs bark.", "something else"], 1) == "dogs bark."
    assert oracle(document, ["the court ruled."], 1) == oracle(document, "the court ruled.", 1)


def test_the_oracle_reads_other_languages() -> None:
    document = "天气很好。部长们见面。他们走了。"
    assert oracle(document, "部长见面", 1, language="zh") == "部长们见面。"


def test_random_sentences_depend_on_seed_and_document_alone() -> None:
    document = " ".join(f"sentence {number} ends." for number in range(30))
    drawn = random_sentences(document, 3, seed=1)
    assert drawn == random_sentences(document, 3, seed=1)
    assert len({random_sentences(document, 3, seed=seed) for seed in range(10)}) > 5
    places = [split_sentences(document).index(sentence) for sentence in drawn.splitlines()]
    assert places == sorted(set(places))
    assert len(places) == 3


def test_random_sentences_are_at_most_those_there_are() -> None:
    assert random_sentences("one. two.", 5) == "one.\ntwo."
    assert random_sentences("", 3) == ""
