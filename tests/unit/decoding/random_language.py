"""Languages of a few tokens, made up, for searches whose best results can be found by trying everything."""

from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from summarizer.decoding.beam import beam_search
from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.search import Hypothesis, SpecialIds

START, END = 0, 1
SPECIAL = SpecialIds(start=START, end=END, never=(START,))
Prefix = tuple[int, ...]


_MOST = 1 << 17  # remembered prefixes: tests ask for the same languages again and again


@lru_cache(_MOST)
def _logits(seed: int, document: int, prefix: Prefix, vocab_size: int, scale: float) -> Tensor:
    generator = np.random.default_rng([seed, document, len(prefix), *prefix])
    logits = torch.from_numpy(generator.normal(0, scale, vocab_size)).float()
    logits[END] += document % 3 - 1  # documents that end early, and late
    return logits


@lru_cache(_MOST)
def _log_probabilities(seed: int, document: int, prefix: Prefix, vocab_size: int, scale: float) -> tuple[float, ...]:
    return tuple(_logits(seed, document, prefix, vocab_size, scale).log_softmax(-1).tolist())


@lru_cache(_MOST)
def _chance(seed: int, document: int, prefix: Prefix) -> float:
    return float(np.random.default_rng([seed, document, len(prefix), *prefix, 1]).random())


class RandomLanguage:
    """Logits depend on the document and on every token before: a wrong history gives wrong probabilities.

    So do the charges that, unless they are 0, come on top of each step's log-probabilities.
    """

    def __init__(self, seed: int, vocab_size: int, scale: float = 2.0, charges: float = 0.0) -> None:
        self.vocab_size = vocab_size
        self.charges = charges
        self._seed = seed
        self._scale = scale

    def logits(self, document: int, prefix: Prefix) -> Tensor:
        return _logits(self._seed, document, prefix, self.vocab_size, self._scale)

    def charge(self, document: int, prefix: Prefix) -> float:
        return self.charges * _chance(self._seed, document, prefix) if self.charges else 0.0

    def log_probabilities(self, document: int, prefix: Prefix) -> list[float]:
        charge = self.charge(document, prefix)
        values = _log_probabilities(self._seed, document, prefix, self.vocab_size, self._scale)
        return [value - charge for value in values]


class Follower:
    """The stateful side of a next-token function, as a cache is: it knows only what it was told."""

    def __init__(self, language: RandomLanguage, documents: list[int], num_beams: int) -> None:
        self._language = language
        self._documents = documents
        self._histories: list[list[Prefix]] = [[()] * num_beams for _ in documents]
        self.calls: list[int] = []  # documents in each call

    def __call__(self, token_BW: Tensor, step: int) -> Tensor:
        assert token_BW.shape == (len(self._documents), len(self._histories[0]))
        assert all(len(prefix) == step for beams in self._histories for prefix in beams)
        self.calls.append(len(self._documents))
        self._histories = [
            [(*prefix, token) for prefix, token in zip(beams, tokens, strict=True)]
            for beams, tokens in zip(self._histories, token_BW.tolist(), strict=True)
        ]
        assert all(prefix[0] == START for beams in self._histories for prefix in beams)
        rows = [
            torch.stack([self._language.logits(document, prefix[1:]) for prefix in beams])
            for document, beams in zip(self._documents, self._histories, strict=True)
        ]
        return torch.stack(rows)

    def penalty(self) -> Tensor | None:
        if not self._language.charges:
            return None
        rows = zip(self._documents, self._histories, strict=True)
        return torch.tensor([[self._language.charge(row, prefix[1:]) for prefix in beams] for row, beams in rows])

    def reorder(self, parent_BW: Tensor) -> None:
        rows = zip(self._histories, parent_BW.tolist(), strict=True)
        self._histories = [[beams[parent] for parent in parents] for beams, parents in rows]

    def keep(self, documents_B: Tensor) -> None:
        self._documents = [self._documents[row] for row in documents_B.tolist()]
        self._histories = [self._histories[row] for row in documents_B.tolist()]


def search(
    language: RandomLanguage, documents: list[int], config: DecodingConfig, **more: Any
) -> list[list[Hypothesis]]:
    return beam_search(
        Follower(language, documents, config.beam_size),
        num_documents=len(documents),
        config=config,
        special=SPECIAL,
        device=torch.device("cpu"),
        **more,
    )


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [hypothesis.ids for hypothesis in found] == [hypothesis.ids for hypothesis in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-5)
        assert one.log_probability == pytest.approx(other.log_probability, rel=1e-5)


def hypothesis(tokens: Prefix, log_probability: float, penalty: float) -> Hypothesis:
    ids = [token for token in tokens if token != END]
    return Hypothesis(ids, log_probability / len(tokens) ** penalty, log_probability, tokens[-1] == END)


def continuations(
    language: RandomLanguage, document: int, live: list[tuple[Prefix, float]], penalty: Counter[int] | None = None
) -> list[tuple[Prefix, float]]:
    """Of the live hypotheses, best first, each token less its penalty."""
    found = [
        ((*prefix, token), total + language.log_probabilities(document, prefix)[token])
        for prefix, total in live
        for token in range(language.vocab_size)
        if token != START
    ]
    charged = {} if penalty is None else penalty
    return sorted(found, key=lambda candidate: charged.get(candidate[0][-1], 0) - candidate[1])
