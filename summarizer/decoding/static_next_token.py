"""A Transformer as what a search calls, in steps of few shapes, each of which a GPU records once and then replays.

B documents still searched, W beams, V vocabulary. R rows of a static cache, some of them without a document.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from summarizer.decoding.recording import Record, recorded
from summarizer.decoding.scores import CoveragePenalty
from summarizer.model.cache import DecoderCache
from summarizer.model.pointer import Copying
from summarizer.model.static_cache import StaticCache, StaticShape
from summarizer.model.transformer import Transformer


@dataclass(frozen=True)
class Buckets:
    """Which shapes there are: each number is the least of its kind, and what a step has of it is rounded up."""

    documents: int = 4  # then 8, 16, 32 ..: a step with a few rows too many takes no longer
    source: int = 128  # then its multiples
    target: int = 128  # then 256, 512 ..: a step reads all of it, written or not

    def shape(self, *, documents: int, beams: int, source: int, target: int) -> StaticShape:
        return StaticShape(
            _doubled(self.documents, documents),
            beams,
            -(-source // self.source) * self.source,
            _doubled(self.target, target),
        )


class StaticSteps:
    """The steps of one decoding, each made when its shape is first asked for.

    Documents come longest first, so of one source length after another: steps of another one are forgotten, and what is
    kept is bounded by the halvings of a batch and the doublings of a summary.

    :param record: for tests; see :func:`recorded`.
    """

    def __init__(self, model: Transformer, buckets: Buckets | None = None, *, record: Record | None = None) -> None:
        self.model = model
        self.buckets = buckets or Buckets()
        self.made = 0
        self._record = record
        self._steps: dict[StaticShape, StaticStep] = {}

    def of(self, shape: StaticShape, like: DecoderCache) -> StaticStep:
        """The step of this shape, whatever its cache holds."""
        family = shape.beams, shape.source
        self._steps = {other: step for other, step in self._steps.items() if (other.beams, other.source) == family}
        if shape not in self._steps:
            self._steps[shape] = StaticStep(self.model, StaticCache(shape, like), record=self._record)
            self.made += 1
        return self._steps[shape]


class StaticStep:
    """One decoding step, and the cache that it works in."""

    def __init__(self, model: Transformer, cache: StaticCache, *, record: Record | None = None) -> None:
        self.cache = cache
        self.token_RW = torch.zeros_like(cache.parent_BW)
        self._model = model
        self._held = list(model.buffers())  # a recording reads their memory, and a table of positions may be replaced
        self._run = recorded(self._step, cache.step_1.device, record=record)

    def __call__(self) -> Tensor:
        """logits_RWV of what follows ``token_RW``, until the next call."""
        return self._run()

    def _step(self) -> Tensor:
        logits_RWV = self._model.decode_step(self.token_RW, self.cache.step_1, self.cache)
        self.cache.step_1.add_(1)
        return logits_RWV


class StaticNextToken:
    """What :class:`ModelNextToken` is, with the same answers.

    :param fresh: a cache of the documents, in which nothing is decoded yet.
    """

    def __init__(self, steps: StaticSteps, fresh: DecoderCache, *, coverage_penalty: float = 0.0) -> None:
        self._steps = steps
        documents, source = fresh.source_mask_BS.shape
        beams = fresh.own_BW.shape[1]
        self._longest = fresh.max_length
        steps.model.reserve_positions(self._longest)
        shape = steps.buckets.shape(documents=documents, beams=beams, source=source, target=1)
        self._step = steps.of(shape, fresh)
        self._step.cache.load(fresh)
        self._row_B = torch.arange(documents, device=fresh.source_mask_BS.device)
        self._coverage = CoveragePenalty(coverage_penalty) if coverage_penalty else None

    def __call__(self, token_BW: Tensor, step: int) -> Tensor:
        assert step < self._longest, f"{step + 1} positions in a cache made for {self._longest}"
        if step == self._step.cache.shape.target:
            self._move(target=2 * step)
        self._step.token_RW.index_copy_(0, self._row_B, token_BW)
        return self._step().index_select(0, self._row_B)

    def penalty(self) -> Tensor | None:
        if self._coverage is None:
            return None
        copying = self._step.cache.copying
        assert copying is not None, "coverage is about what a pointer copies"
        return self._coverage.charge(Copying(*(tensor.index_select(0, self._row_B) for tensor in copying)).copied())

    def reorder(self, parent_BW: Tensor) -> None:
        self._step.cache.parent_BW.index_copy_(0, self._row_B, parent_BW)
        if self._coverage is not None:
            self._coverage.reorder(parent_BW)

    def keep(self, documents_B: Tensor) -> None:
        self._row_B = self._row_B[documents_B]
        if self._coverage is not None:
            self._coverage.keep(documents_B)
        if len(self._row_B) <= self._step.cache.shape.documents // 2:
            self._move(target=self._step.cache.shape.target)

    def _move(self, *, target: int) -> None:
        """Into the cache that fits what is left, with more room for it or in fewer rows."""
        now = self._step.cache
        shape = self._steps.buckets.shape(
            documents=len(self._row_B), beams=now.shape.beams, source=now.shape.source, target=target
        )
        if shape == now.shape:
            return
        following = self._steps.of(shape, now)
        following.cache.take(now, self._row_B)
        self._step, self._row_B = following, torch.arange(len(self._row_B), device=self._row_B.device)


def _doubled(least: int, count: int) -> int:
    """The first of ``least``, twice, four times .. that much which is enough for ``count``."""
    while least < count:
        least *= 2
    return least
