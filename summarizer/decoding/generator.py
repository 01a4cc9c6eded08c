"""Documents in, summaries out, in the same order: encodes, batches by length, searches and decodes.

B documents of a batch, S source positions, W beams.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from summarizer.decoding.beam import beam_search
from summarizer.decoding.sampling import sample
from summarizer.decoding.scores import CoveragePenalty
from summarizer.decoding.search import DecodingConfig, DecodingMethod, Hypothesis, SpecialIds
from summarizer.errors import UserError
from summarizer.model.cache import DecoderCache
from summarizer.model.masks import length_mask
from summarizer.model.mode import evaluating
from summarizer.model.transformer import Transformer
from summarizer.tokenizer import END_ID, PAD_ID, START_ID, UNK_ID, Tokenizer

# Byte fallback spells out whatever has no piece, so the unknown id is never needed.
_SPECIAL = SpecialIds(start=START_ID, end=END_ID, never=(PAD_ID, START_ID, UNK_ID))


@dataclass(frozen=True)
class Summary:
    """What was generated for one document."""

    text: str
    score: float  # log-probability, normalised for length
    tokens_read: int  # of the document; fewer than tokens_total if it was too long for the model
    tokens_total: int
    source: list[int]  # ids the model read, the end id among them
    target: list[int]  # ids it wrote, the end id among them unless the summary was cut off


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


class Generator:
    """Summarizes documents with a trained model.

    A summary depends on its document and the settings alone, not on the documents beside it, their number or
    order. Copies of one document therefore get one summary, even sampled: another seed gives another one.

    :param max_source_tokens: what the model reads of a document, the end token counted; the rest is not used.
    :param autocast: makes the context that the model computes in, for example of lower precision.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        config: DecodingConfig,
        *,
        max_source_tokens: int,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._config = config
        self.max_source_tokens = max_source_tokens
        self._device = device
        self._autocast = autocast

    def generate(
        self,
        documents: Sequence[str],
        *,
        progress: bool = False,
        before_batch: Callable[[], None] = lambda: None,
    ) -> list[Summary]:
        """One summary per document. ``progress`` shows a bar on standard error, if that is a terminal.

        :param before_batch: called before each batch of documents, and free to raise.
        :raises UserError: a document holds no text.
        """
        encoded = self._encode(documents)
        sources = [[*ids[: self.max_source_tokens - 1], END_ID] for ids in encoded]
        hypotheses: dict[int, Hypothesis] = {}
        with (
            torch.inference_mode(),
            evaluating(self._model),
            self._autocast(),
            tqdm(total=len(sources), desc="summarizing", unit="document", disable=None if progress else True) as bar,
        ):
            for batch in self._batches([len(source) for source in sources]):
                before_batch()
                found = self._search([sources[index] for index in batch])
                hypotheses.update(zip(batch, found, strict=True))
                bar.update(len(batch))
        return [
            Summary(
                text=self._tokenizer.decode(hypotheses[index].ids),
                score=hypotheses[index].score,
                tokens_read=len(sources[index]) - 1,
                tokens_total=len(encoded[index]),
                source=sources[index],
                target=[*hypotheses[index].ids, END_ID][: self._config.max_tokens],
            )
            for index in range(len(sources))
        ]

    def _encode(self, documents: Sequence[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch(documents)
        for number, (document, ids) in enumerate(zip(documents, encoded, strict=True), start=1):
            if not ids or not document.strip():
                raise UserError(f"document {number} of {len(documents)} holds no text; remove it or give it some")
        return encoded

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices of documents of like length; the longest first: what exceeds the memory fails at once."""
        positions_beside_source = self._num_beams * self._config.max_tokens
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
            positions = lengths[batch[0] if batch else index] + positions_beside_source
            if batch and (len(batch) + 1) * positions > self._config.max_batch_tokens:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    @property
    def _num_beams(self) -> int:
        return self._config.beam_size if self._config.method is DecodingMethod.beam else 1

    def _search(self, sources: Sequence[list[int]]) -> list[Hypothesis]:
        """The best hypothesis of each document of one batch."""
        source_BS = pad_sequence([torch.tensor(source) for source in sources], batch_first=True, padding_value=PAD_ID)
        lengths_B = torch.tensor([len(source) for source in sources])
        source_mask_BS = length_mask(lengths_B, source_BS.shape[1]).to(self._device)
        source_BS = source_BS.to(self._device)
        encoder_output_BSD = self._model.encode(source_BS, source_mask_BS)
        cache = self._model.start_cache(
            source_BS,
            encoder_output_BSD,
            source_mask_BS,
            num_beams=self._num_beams,
            max_length=self._config.max_tokens,
        )
        next_token = ModelNextToken(self._model, cache, coverage_penalty=self._config.coverage_penalty)
        match self._config.method:
            case DecodingMethod.beam:
                found = beam_search(
                    next_token,
                    num_documents=len(sources),
                    config=self._config,
                    special=_SPECIAL,
                    device=self._device,
                )
                return [hypotheses[0] for hypotheses in found]
            case DecodingMethod.sample:
                seeds = [_seed(self._config.seed, source) for source in sources]
                return sample(next_token, seeds=seeds, config=self._config, special=_SPECIAL, device=self._device)


def _seed(seed: int, source: Iterable[int]) -> int:
    """A seed for one document, from its tokens: wherever it stands in a batch, it is drawn the same."""
    digest = hashlib.sha256(np.array([seed, *source], dtype="<i8").tobytes()).digest()
    return int.from_bytes(digest[:4], "little")
