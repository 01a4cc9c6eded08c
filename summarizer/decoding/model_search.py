"""A model and the sources of one batch of documents in, the hypotheses of each out, by the method that is set.

B documents, S source positions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from summarizer.decoding.bayes_risk import Utility, by_expected_utility
from summarizer.decoding.beam import beam_search
from summarizer.decoding.config import DecodingConfig, DecodingMethod
from summarizer.decoding.encoder_memory import EncoderMemory
from summarizer.decoding.next_token import ModelNextToken
from summarizer.decoding.sampling import sample
from summarizer.decoding.search import Hypothesis, NextToken, Observer, SpecialIds
from summarizer.decoding.static_next_token import StaticNextToken, StaticSteps
from summarizer.model.cache import DecoderCache
from summarizer.model.masks import length_mask
from summarizer.model.segments import segments_of
from summarizer.model.transformer import Transformer
from summarizer.tokenizer import PAD_ID


class ModelSearch:
    """Searches batch after batch, within one autocast context.

    :param decode: ids -> text, which ``utility`` compares.
    :param static: decode in steps of few shapes, which a CUDA device records once.
    :param encoder_memory: where encoder output is kept for other searches of the same batches.
    """

    def __init__(
        self,
        model: Transformer,
        config: DecodingConfig,
        special: SpecialIds,
        *,
        device: torch.device,
        decode: Callable[[Sequence[int]], str],
        utility: Utility | None,
        static: bool,
        encoder_memory: EncoderMemory | None,
    ) -> None:
        self._model = model
        self._config = config
        self._special = special
        self._device = device
        self._decode = decode
        self._utility = utility
        self._steps = StaticSteps(model) if static else None
        self._encoder_memory = encoder_memory

    def __call__(
        self, sources: Sequence[list[int]], num_beams: int, prefix: Sequence[int], observe: Observer | None
    ) -> list[list[Hypothesis]]:
        """The hypotheses of each source, best first; samples in the order in which they were drawn."""
        next_token = self._next_token(self._started(sources, num_beams))
        if self._config.method is DecodingMethod.beam:
            return beam_search(
                next_token,
                num_documents=len(sources),
                config=self._config,
                special=self._special,
                device=self._device,
                prefix=prefix,
                observe=observe,
            )
        samples = sample(
            next_token,
            seeds=[[_seed(self._config.seed, source, number) for number in range(num_beams)] for source in sources],
            config=self._config,
            special=self._special,
            device=self._device,
            prefix=prefix,
            observe=observe,
        )
        if self._config.method is DecodingMethod.sample:
            return samples
        assert self._utility is not None, "minimum Bayes risk decoding needs a utility"
        return [by_expected_utility(found, self._decode, self._utility) for found in samples]

    def _started(self, sources: Sequence[list[int]], num_beams: int) -> DecoderCache:
        """A cache of the encoded sources, in which nothing is decoded yet."""
        source_BS = pad_sequence([torch.tensor(source) for source in sources], batch_first=True, padding_value=PAD_ID)
        source_BS = source_BS.to(self._device)
        lengths_B = torch.tensor([len(source) for source in sources]).to(self._device)
        source_mask_BS = length_mask(lengths_B, source_BS.shape[1])
        segments = segments_of(lengths_B, source_BS.shape[1])
        encode = partial(self._model.encode, source_BS, source_mask_BS, segments)
        memory = self._encoder_memory
        return self._model.start_cache(
            source_BS,
            encode() if memory is None else memory.encode(source_BS, encode),
            source_mask_BS,
            num_beams=num_beams,
            max_length=self._config.max_tokens,
        )

    def _next_token(self, cache: DecoderCache) -> NextToken:
        charge = self._config.coverage_penalty
        if self._steps is None:
            return ModelNextToken(self._model, cache, coverage_penalty=charge)
        return StaticNextToken(self._steps, cache, coverage_penalty=charge)


def _seed(seed: int, source: Iterable[int], number: int) -> int:
    """A seed for one sample of a document, from its tokens: wherever it stands in a batch, it is drawn the same.

    No token is negative, so numbers and sources cannot be confused.
    """
    content = [seed, *source, -number] if number else [seed, *source]
    digest = hashlib.sha256(np.array(content, dtype="<i8").tobytes()).digest()
    return int.from_bytes(digest[:4], "little")
