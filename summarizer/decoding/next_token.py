"""A Transformer as what a search calls: the tokens of all hypotheses in, logits of the next ones out.

B documents, W beams.
"""

from torch import Tensor

from summarizer.decoding.scores import CoveragePenalty
from summarizer.model.cache import DecoderCache
from summarizer.model.transformer import Transformer


class ModelNextToken:
    """A Transformer and its cache as the next-token function that a search calls."""

    def __init__(self, model: Transformer, cache: DecoderCache, *, coverage_penalty: float = 0.0) -> None:
        self._model = model
        self._cache = cache
        self._coverage = CoveragePenalty(coverage_penalty) if coverage_penalty else None

    def __call__(self, token_BW: Tensor, step: int) -> Tensor:
        return self._model.decode_step(token_BW, step, self._cache)

    def penalty(self) -> Tensor | None:
        if self._coverage is None:
            return None
        assert self._cache.copying is not None, "coverage is about what a pointer copies"
        return self._coverage.charge(self._cache.copying.copied())

    def reorder(self, parent_BW: Tensor) -> None:
        self._cache.reorder(parent_BW)
        if self._coverage is not None:
            self._coverage.reorder(parent_BW)

    def keep(self, documents_B: Tensor) -> None:
        self._cache.keep(documents_B)
        if self._coverage is not None:
            self._coverage.keep(documents_B)
