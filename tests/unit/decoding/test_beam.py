"""Beam search over hand-made next-token functions, against brute force and a plain search."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from random_language import END, SPECIAL, START, Follower, Prefix, RandomLanguage, assert_same, hypothesis, search
from torch import Tensor

from summarizer.decoding.beam import _most_probable, beam_search
from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.search import Draft, Hypothesis


def every_sequence(vocab_size: int, config: DecodingConfig) -> Iterator[Prefix]:
    words = [token for token in range(vocab_size) if token not in (START, END)]
    for length in range(config.min_tokens, config.max_tokens):
        yield from ((*sequence, END) for sequence in itertools.product(words, repeat=length))
    yield from itertools.product(words, repeat=config.max_tokens)


def brute_force(language: RandomLanguage, document: int, config: DecodingConfig) -> list[Hypothesis]:
    found = []
    for tokens in every_sequence(language.vocab_size, config):
        steps = [language.log_probabilities(document, tokens[:i])[token] for i, token in enumerate(tokens)]
        found.append(hypothesis(tokens, sum(steps), config.length_penalty))
    return sorted(found, key=lambda one: -one.score)


def plain_search(language: RandomLanguage, document: int, config: DecodingConfig) -> list[Hypothesis]:
    """Beam search in its plainest form: one document, no early stop before max_tokens."""
    live: list[tuple[Prefix, float]] = [((), 0.0)]
    finished: list[Hypothesis] = []
    for step in range(config.max_tokens):
        allowed = [t for t in range(language.vocab_size) if t != START and (t != END or step >= config.min_tokens)]
        candidates = [
            ((*prefix, token), total + language.log_probabilities(document, prefix)[token])
            for prefix, total in live
            for token in allowed
        ]
        candidates.sort(key=lambda candidate: -candidate[1])
        finished += [
            hypothesis(tokens, total, config.length_penalty)
            for tokens, total in candidates[: config.beam_size]
            if tokens[-1] == END
        ]
        live = [candidate for candidate in candidates if candidate[0][-1] != END][: config.beam_size]
    finished += [hypothesis(tokens, total, config.length_penalty) for tokens, total in live]
    return sorted(finished, key=lambda one: -one.score)[: config.beam_size]


def greedy(language: RandomLanguage, document: int, config: DecodingConfig) -> list[int]:
    ids: list[int] = []
    while len(ids) < config.max_tokens:
        log_probabilities = list(language.log_probabilities(document, tuple(ids)))
        log_probabilities[START] = -np.inf
        if len(ids) < config.min_tokens:
            log_probabilities[END] = -np.inf
        token = int(np.argmax(log_probabilities))
        if token == END:
            break
        ids.append(token)
    return ids


@pytest.mark.parametrize("charges", [0.0, 3.0])
@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(("min_tokens", "max_tokens"), [(0, 4), (2, 4), (0, 1), (3, 4)])
def test_a_beam_as_wide_as_the_space_finds_what_brute_force_finds(
    charges: float, penalty: float, min_tokens: int, max_tokens: int
) -> None:
    config = DecodingConfig(
        beam_size=128,
        length_penalty=penalty,
        min_tokens=min_tokens,
        max_tokens=max_tokens,
        no_repeat_ngram_size=0,
    )
    for seed in range(3):
        language = RandomLanguage(seed, vocab_size=5, charges=charges)
        for document, found in enumerate(search(language, [0, 1, 2], config)):
            assert_same(found, brute_force(language, document, config))


@pytest.mark.parametrize("beam_size", [2, 3, 5])
@pytest.mark.parametrize(("penalty", "charges"), [(0.0, 0.0), (0.6, 0.0), (1.0, 0.0), (1.0, 3.0), (2.0, 0.0)])
def test_stopping_early_loses_nothing(beam_size: int, penalty: float, charges: float) -> None:
    config = DecodingConfig(
        beam_size=beam_size, length_penalty=penalty, min_tokens=1, max_tokens=9, no_repeat_ngram_size=0
    )
    documents = list(range(12))
    for seed in range(3):
        language = RandomLanguage(seed, vocab_size=6, charges=charges)
        for document, found in zip(documents, search(language, documents, config), strict=True):
            assert_same(found, plain_search(language, document, config))


@pytest.mark.parametrize("min_tokens", [0, 3])
def test_a_beam_of_one_is_greedy_search(min_tokens: int) -> None:
    config = DecodingConfig(beam_size=1, min_tokens=min_tokens, max_tokens=8, no_repeat_ngram_size=0)
    documents = list(range(40))
    language = RandomLanguage(7, vocab_size=7)
    found = search(language, documents, config)
    assert [len(hypotheses) for hypotheses in found] == [1] * len(documents)
    expected = [greedy(language, document, config) for document in documents]
    assert [hypotheses[0].ids for hypotheses in found] == expected
    assert len({len(ids) for ids in expected}) > 3, "the documents must end at different lengths"


def test_a_beam_of_one_takes_the_better_token_where_rounded_sums_tie() -> None:
    class NearTies:
        def __call__(self, token_BW: Tensor, step: int) -> Tensor:
            logits = torch.tensor([-50.0, -50.0, 0.0, 1e-6, -50.0])
            return logits.expand(1, 1, -1)

        def penalty(self) -> None: ...

        def reorder(self, parent_BW: Tensor) -> None: ...

        def keep(self, documents_B: Tensor) -> None: ...

    config = DecodingConfig(beam_size=1, max_tokens=100, no_repeat_ngram_size=0)
    found = beam_search(NearTies(), num_documents=1, config=config, special=SPECIAL, device=torch.device("cpu"))
    assert found[0][0].ids == [3] * 100


@pytest.mark.parametrize("early_stop", [False, True])
def test_documents_searched_together_give_what_they_give_alone(early_stop: bool) -> None:
    config = DecodingConfig(
        beam_size=3, length_penalty=0.6, max_tokens=10, no_repeat_ngram_size=2, early_stop=early_stop
    )
    language = RandomLanguage(11, vocab_size=6, scale=3.0)
    documents = list(range(15))
    alone = [search(language, [document], config)[0] for document in documents]
    together = search(language, documents, config)
    shuffled = search(language, documents[::-1], config)[::-1]
    assert together == alone == shuffled


def test_with_a_prefix_the_best_of_what_begins_so_is_found() -> None:
    config = DecodingConfig(beam_size=128, length_penalty=0.6, max_tokens=5, no_repeat_ngram_size=0)
    prefix = [3, 3]
    for seed in range(3):
        language = RandomLanguage(seed, vocab_size=5)
        for document, found in enumerate(search(language, [0, 1, 2], config, prefix=prefix)):
            assert_same(found, [one for one in brute_force(language, document, config) if one.ids[:2] == prefix])


def test_each_step_shows_what_would_be_the_result_if_the_search_ended_there() -> None:
    language, documents = RandomLanguage(5, vocab_size=6, scale=3.0), list(range(12))
    config = DecodingConfig(beam_size=2, length_penalty=0.6, max_tokens=9, no_repeat_ngram_size=0)
    shown: dict[int, list[Hypothesis]] = {document: [] for document in documents}

    def observe(drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            shown[draft.document].append(draft.hypothesis)

    found = search(language, documents, config, observe=observe)
    for steps in range(1, 10):
        shorter = search(language, documents, replace(config, max_tokens=steps))
        for document in documents:
            if steps <= len(shown[document]):
                assert_same(shown[document][steps - 1 : steps], shorter[document][:1])
    assert all(shown[document][-1] == found[document][0] for document in documents)
    assert len({len(seen) for seen in shown.values()}) > 1, "documents must be done at different times"


def test_finished_documents_leave_the_batch() -> None:
    config = DecodingConfig(beam_size=2, length_penalty=0.6, max_tokens=12, no_repeat_ngram_size=0)
    follower = Follower(RandomLanguage(5, vocab_size=6, scale=3.0), list(range(12)), num_beams=2)
    beam_search(follower, num_documents=12, config=config, special=SPECIAL, device=torch.device("cpu"))
    assert follower.calls == sorted(follower.calls, reverse=True)
    assert len(set(follower.calls)) > 2


def test_early_stop_ends_sooner_with_as_many_hypotheses() -> None:
    calls = {}
    for early_stop in (False, True):
        config = DecodingConfig(beam_size=3, max_tokens=20, no_repeat_ngram_size=0, early_stop=early_stop)
        follower = Follower(RandomLanguage(5, vocab_size=6), list(range(8)), num_beams=3)
        found = beam_search(follower, num_documents=8, config=config, special=SPECIAL, device=torch.device("cpu"))
        assert [len(hypotheses) for hypotheses in found] == [3] * 8
        calls[early_stop] = sum(follower.calls)
    assert calls[True] < calls[False]


@pytest.mark.parametrize("levels", [1, 3, 40, 100_000])
@pytest.mark.parametrize("count", [1, 8, 200])
def test_the_most_probable_tokens_are_those_of_a_stable_sort(levels: int, count: int) -> None:
    generator = torch.Generator().manual_seed(levels)
    log_probability_BWV = -torch.randint(0, levels, (3, 2, 200), generator=generator) / 7
    log_probability_BWV[0, 0, 5:] = -torch.inf
    expected = log_probability_BWV.sort(dim=-1, descending=True, stable=True).indices[..., :count]
    assert torch.equal(_most_probable(log_probability_BWV, count), expected)


def test_ties_go_to_the_lower_id() -> None:
    class Indifferent:
        def __call__(self, token_BW: Tensor, step: int) -> Tensor:
            return torch.zeros(*token_BW.shape, 5000)

        def penalty(self) -> None: ...

        def reorder(self, parent_BW: Tensor) -> None: ...

        def keep(self, documents_B: Tensor) -> None: ...

    config = DecodingConfig(beam_size=3, min_tokens=1, max_tokens=2, no_repeat_ngram_size=0, length_penalty=0.0)
    found = beam_search(Indifferent(), num_documents=2, config=config, special=SPECIAL, device=torch.device("cpu"))
    assert [[one.ids for one in hypotheses] for hypotheses in found] == [[[2], [2, 2], [2, 3]]] * 2


def test_no_ngram_appears_twice_in_a_summary() -> None:
    config = DecodingConfig(beam_size=4, min_tokens=10, max_tokens=16, no_repeat_ngram_size=2)
    language = RandomLanguage(3, vocab_size=7)
    for hypotheses in search(language, list(range(6)), config):
        for found in hypotheses:
            pairs = list(itertools.pairwise(found.ids))
            assert len(pairs) == len(set(pairs)) >= 9


def test_a_search_in_which_everything_is_blocked_still_answers() -> None:
    config = DecodingConfig(beam_size=2, min_tokens=6, max_tokens=8, no_repeat_ngram_size=1)
    for hypotheses in search(RandomLanguage(3, vocab_size=4), [0, 1, 2], config):
        assert len(hypotheses) == 2
        assert all(len(one.ids) >= 6 and np.isfinite(one.score) for one in hypotheses)
