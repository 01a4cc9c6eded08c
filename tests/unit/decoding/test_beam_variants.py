"""Beams that stop when patience ends, and groups of beams that choose apart, against the plainest searches."""

from collections import Counter
from dataclasses import replace

import pytest
from random_language import END, Prefix, RandomLanguage, assert_same, continuations, hypothesis, search

from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.search import Hypothesis


def patient_search(language: RandomLanguage, document: int, config: DecodingConfig) -> list[Hypothesis]:
    """Stops at patience * beam_size ends, and then takes the best of those."""
    live: list[tuple[Prefix, float]] = [((), 0.0)]
    finished: list[Hypothesis] = []
    for _ in range(config.max_tokens):
        candidates = continuations(language, document, live)
        finished += [
            hypothesis(tokens, total, config.length_penalty)
            for tokens, total in candidates[: config.beam_size]
            if tokens[-1] == END
        ]
        if len(finished) >= config.patience * config.beam_size:
            return sorted(finished, key=lambda one: -one.score)[: config.beam_size]
        live = [candidate for candidate in candidates if candidate[0][-1] != END][: config.beam_size]
    finished += [hypothesis(tokens, total, config.length_penalty) for tokens, total in live]
    return sorted(finished, key=lambda one: -one.score)[: config.beam_size]


@pytest.mark.parametrize("patience", [0.5, 1.0, 1.3, 3.0])
def test_a_patient_search_stops_after_so_many_ends(patience: float) -> None:
    config = DecodingConfig(
        beam_size=3, patience=patience, early_stop=True, length_penalty=1.0, max_tokens=9, no_repeat_ngram_size=0
    )
    documents = list(range(12))
    for seed in range(3):
        language = RandomLanguage(seed, vocab_size=6)
        for document, found in zip(documents, search(language, documents, config), strict=True):
            assert_same(found, patient_search(language, document, config))


def diverse_search(language: RandomLanguage, document: int, config: DecodingConfig) -> list[Hypothesis]:
    """Group after group at each step, in its plainest form."""
    width = config.beam_size // config.beam_groups
    live: list[list[tuple[Prefix, float]]] = [[((), 0.0)] for _ in range(config.beam_groups)]
    finished: list[list[Hypothesis]] = [[] for _ in live]
    for _ in range(config.max_tokens):
        taken: Counter[int] = Counter()
        for group in range(config.beam_groups):
            penalty = Counter({token: config.diversity_penalty * count for token, count in taken.items()})
            candidates = continuations(language, document, live[group], penalty)
            taken.update(tokens[-1] for tokens, _ in candidates[:width])
            finished[group] += [
                hypothesis(tokens, total, config.length_penalty)
                for tokens, total in candidates[:width]
                if tokens[-1] == END
            ]
            live[group] = [candidate for candidate in candidates if candidate[0][-1] != END][:width]
    for group in range(config.beam_groups):
        finished[group] += [hypothesis(tokens, total, config.length_penalty) for tokens, total in live[group]]
    best = [one for own in finished for one in sorted(own, key=lambda one: -one.score)[:width]]
    return sorted({(*one.ids, one.ended): one for one in best}.values(), key=lambda one: -one.score)


@pytest.mark.parametrize(("beam_size", "groups"), [(2, 2), (4, 2), (6, 3)])
@pytest.mark.parametrize("diversity", [0.0, 0.7, 50.0])
def test_groups_of_beams_choose_apart_as_in_the_plainest_search(beam_size: int, groups: int, diversity: float) -> None:
    config = DecodingConfig(
        beam_size=beam_size, beam_groups=groups, diversity_penalty=diversity, max_tokens=7, no_repeat_ngram_size=0
    )
    documents = list(range(8))
    # With a beam of one a group is greedy and ends early: the plain search would go on.
    for seed in range(2) if beam_size > groups else ():
        language = RandomLanguage(seed, vocab_size=6)
        together = search(language, documents, config)
        for document, found in zip(documents, together, strict=True):
            assert_same(found, diverse_search(language, document, config))
            assert [one.ids for one in found] == [one.ids for one in search(language, [document], config)[0]]
    language = RandomLanguage(1, vocab_size=6)
    first_tokens = [{one.ids[0] if one.ids else END for one in found} for found in search(language, documents, config)]
    if diversity == 50.0 and groups == 2:  # more than any two tokens differ by, and of those there are enough
        assert all(len(tokens) >= groups for tokens in first_tokens)


def test_groups_that_choose_alike_find_what_one_of_them_finds() -> None:
    language, documents = RandomLanguage(4, vocab_size=6), list(range(6))
    config = DecodingConfig(
        beam_size=4, beam_groups=2, diversity_penalty=0.0, max_tokens=7, no_repeat_ngram_size=0, early_stop=True
    )
    single = search(language, documents, replace(config, beam_size=2, beam_groups=1))
    assert search(language, documents, config) == single
