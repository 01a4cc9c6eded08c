"""Documents in, summaries out, in the same order: encodes, batches by length, searches and decodes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from tqdm import tqdm

from summarizer.decoding.bayes_risk import Utility
from summarizer.decoding.config import DecodingConfig, DecodingMethod, NgramUnit
from summarizer.decoding.encoder_memory import EncoderMemory
from summarizer.decoding.model_search import ModelSearch
from summarizer.decoding.reading import (
    FEWEST_TOKENS,
    LongDocument,
    Part,
    Passage,
    Reading,
    first_sentences,
    longest_part_summary,
    read_in_parts,
)
from summarizer.decoding.search import Draft, Hypothesis, Observer, SpecialIds
from summarizer.errors import UserError
from summarizer.model.mode import evaluating
from summarizer.model.transformer import Transformer
from summarizer.tokenizer import END_ID, PAD_ID, START_ID, UNK_ID, Tokenizer

# Byte fallback spells out whatever has no piece, so the unknown id is never needed.
_SPECIAL = SpecialIds(start=START_ID, end=END_ID, never=(PAD_ID, START_ID, UNK_ID))


@dataclass(frozen=True)
class Summary:
    """What was generated for one document."""

    text: str
    score: float  # what summaries of one document are compared by: the log-probability, normalised for length, or the
    # expected utility (mbr)
    log_probability: float  # of all tokens of ``target``, less their penalties
    tokens_read: int  # of the document; fewer than tokens_total if the rest of it was left out
    tokens_total: int
    parts: int  # that the document was read in: of more than one, ``source`` is their summaries
    source: list[int]  # ids the model read, the end id among them
    target: list[int]  # ids it wrote, the end id among them unless the summary was cut off, or is not finished yet

    @property
    def share_read(self) -> float:
        """Of the tokens of the document, 0 to 1."""
        return self.tokens_read / self.tokens_total


@dataclass(frozen=True)
class PartDraft:
    """What would be the summary of a part of a document if the search for it stopped now."""

    part: Part
    text: str


class Generator:
    """Summarizes documents with a trained model.

    A summary depends on its document and the settings alone, not on the documents beside it, their number or
    order. Copies of one document therefore get one summary, even sampled: another seed gives another one.

    :param max_source_tokens: what the model reads of a document, the end token counted; the rest is not used.
    :param autocast: makes the context that the model computes in, for example of lower precision.
    :param utility: by which minimum Bayes risk decoding compares texts.
    :param static: decode in steps of few shapes, which a CUDA device records once; elsewhere they gain nothing.
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
        utility: Utility | None = None,
        static: bool = False,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self.config = config
        self.max_source_tokens = max_source_tokens
        self._device = device
        self._autocast = autocast
        self._utility = utility
        self.encoder_memory: EncoderMemory | None = None  # for those who search the same documents again
        self._static = static
        by_words = config.no_repeat_ngram_size and config.block_ngrams_of is NgramUnit.words
        self._special = replace(_SPECIAL, word_starts=tokenizer.word_starts() if by_words else None)

    def with_config(self, config: DecodingConfig) -> "Generator":
        """The same, searching in another way. The model is shared."""
        return self._with(self._model, self._autocast, config)

    def with_model(self, model: Transformer, autocast: Callable[[], AbstractContextManager[object]]) -> "Generator":
        """The same, asking another model, which computes within another context."""
        return self._with(model, autocast, self.config)

    def _with(
        self, model: Transformer, autocast: Callable[[], AbstractContextManager[object]], config: DecodingConfig
    ) -> "Generator":
        return Generator(
            model,
            self._tokenizer,
            config,
            max_source_tokens=self.max_source_tokens,
            device=self._device,
            autocast=autocast,
            utility=self._utility,
            static=self._static,
        )

    def generate(
        self,
        documents: Sequence[str],
        *,
        long_document: LongDocument = LongDocument.truncate,
        prefix: str = "",
        progress: bool = False,
        before_batch: Callable[[], None] = lambda: None,
    ) -> list[Summary]:
        """One summary per document: the first that :meth:`n_best` gives.

        :raises UserError: a document holds no text, or the prefix is too long.
        """
        found = self.n_best(
            documents, 1, long_document=long_document, prefix=prefix, progress=progress, before_batch=before_batch
        )
        return [summaries[0] for summaries in found]

    def n_best(
        self,
        documents: Sequence[str],
        count: int,
        *,
        long_document: LongDocument = LongDocument.truncate,
        prefix: str = "",
        progress: bool = False,
        before_batch: Callable[[], None] = lambda: None,
        on_draft: Callable[[int, Summary], None] | None = None,
        on_part: Callable[[PartDraft], None] | None = None,
    ) -> list[list[Summary]]:
        """Up to ``count`` hypotheses of each document, best score first: of a beam or of minimum Bayes risk decoding,
        where they differ from one another, or so many samples.

        :param long_document: what becomes of a document longer than the model reads. What is told of a summary is
            told of the last search, which read the best summaries of the parts.
        :param prefix: what every summary begins with: whole words. Summaries of parts begin as they like.
        :param progress: shows a bar on standard error, if that is a terminal.
        :param before_batch: called before each batch of documents, and free to raise.
        :param on_draft: called after each step, for each document not yet done, with its position in ``documents``
            and with what would be its summary if the search stopped now. Of samples, it shows the first one drawn.
            What it raises ends the search.
        :param on_part: the same while parts are summarized, which is before.
        :raises UserError: a document holds no text, the prefix is too long, or the beam is narrower than ``count``.
        """
        self._beams_for(count)  # refused before parts are summarized, which may take long
        prefix_ids = self._encode_prefix(prefix)

        def summarize_parts(parts: Sequence[Part]) -> list[Passage]:
            observe = None if on_part is None else lambda i, draft: on_part(PartDraft(parts[i], draft.text))
            readings = [Reading(part.source, len(part.source), len(part.source)) for part in parts]
            found = self._for_parts()._summarize(readings, 1, [], "part", progress, before_batch, observe)
            return [Passage.of(best.text, self._tokenizer) for (best,) in found]

        readings = self._read(documents, long_document, summarize_parts)
        return self._summarize(readings, count, prefix_ids, "document", progress, before_batch, on_draft)

    def _summarize(
        self,
        readings: Sequence[Reading],
        count: int,
        prefix: Sequence[int],
        unit: str,
        progress: bool,
        before_batch: Callable[[], None],
        on_draft: Callable[[int, Summary], None] | None,
    ) -> list[list[Summary]]:
        """:meth:`n_best` of what was read."""
        num_beams = self._beams_for(count)
        found: dict[int, list[Summary]] = {}
        with (
            torch.inference_mode(),
            evaluating(self._model),
            self._autocast(),
            tqdm(total=len(readings), desc="summarizing", unit=unit, disable=None if progress else True) as bar,
        ):
            search = self._searcher()
            for batch in self._batches([len(reading.source) + 1 for reading in readings], num_beams):
                before_batch()
                observe = None if on_draft is None else self._observer(on_draft, batch, readings)
                sources = [[*readings[index].source, END_ID] for index in batch]
                for index, hypotheses in zip(batch, search(sources, num_beams, prefix, observe), strict=True):
                    best = sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)[:count]
                    found[index] = [self._summary(readings[index], hypothesis) for hypothesis in best]
                bar.update(len(batch))
        return [found[index] for index in range(len(readings))]

    def _for_parts(self) -> "Generator":
        """The same, for summaries of which two fit into what the model reads."""
        most = min(self.config.max_tokens, longest_part_summary(self.max_source_tokens - 1))
        return self.with_config(replace(self.config, max_tokens=most, min_tokens=min(self.config.min_tokens, most - 1)))

    def _beams_for(self, count: int) -> int:
        """Hypotheses to follow for each document."""
        if count < 1:
            raise UserError(f"the number of summaries a document ({count}) must be at least 1")
        if self.config.method is DecodingMethod.sample:
            return count
        name = "num_samples" if self.config.method is DecodingMethod.mbr else "beam_size"
        most: int = getattr(self.config, name)
        if count > most:
            raise UserError(
                f"decoding.{name} ({most}) must be at least the number of summaries a document ({count}): raise it, or "
                "ask for fewer"
            )
        return most

    def _encode_prefix(self, prefix: str) -> list[int]:
        ids = self._tokenizer.encode(prefix)
        if len(ids) >= self.config.max_tokens:
            raise UserError(
                f"prefix ({prefix}) is {len(ids)} tokens long and must be shorter than decoding.max_tokens "
                f"({self.config.max_tokens}): shorten it, or raise that"
            )
        return ids

    def _read(
        self,
        documents: Sequence[str],
        long_document: LongDocument,
        summarize: Callable[[Sequence[Part]], list[Passage]],
    ) -> list[Reading]:
        """:param summarize: what :func:`read_in_parts` calls."""
        encoded = self._tokenizer.encode_batch(documents)
        for number, (document, ids) in enumerate(zip(documents, encoded, strict=True), start=1):
            if not ids or not document.strip():
                raise UserError(f"document {number} of {len(documents)} holds no text; remove it or give it some")
        size = self.max_source_tokens - 1
        if long_document is LongDocument.truncate:
            return [Reading(ids[:size], min(size, len(ids)), len(ids)) for ids in encoded]
        passages = [
            Passage(ids, [0], self._tokenizer.newline_id) if len(ids) <= size else Passage.of(document, self._tokenizer)
            for document, ids in zip(documents, encoded, strict=True)
        ]
        if long_document is LongDocument.lead:
            return [first_sentences(passage, size) for passage in passages]
        if size < FEWEST_TOKENS:
            raise UserError(
                f"long_document (split) needs a model that reads {FEWEST_TOKENS + 1} tokens or more, its end token "
                f"counted, and this one reads {self.max_source_tokens}: leave it at truncate"
            )
        return read_in_parts(passages, size, summarize)

    def _batches(self, lengths: Sequence[int], num_beams: int) -> Iterator[list[int]]:
        """Indices of documents of like length; the longest first: what exceeds the memory fails at once."""
        positions_beside_source = num_beams * self.config.max_tokens
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
            positions = lengths[batch[0] if batch else index] + positions_beside_source
            if batch and (len(batch) + 1) * positions > self.config.max_batch_tokens:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _observer(
        self, on_draft: Callable[[int, Summary], None], batch: Sequence[int], readings: Sequence[Reading]
    ) -> Observer:
        """Tells of the drafts of one batch."""

        def observe(drafts: Sequence[Draft]) -> None:
            for draft in drafts:
                index = batch[draft.document]
                on_draft(index, self._summary(readings[index], draft.hypothesis))

        return observe

    def _searcher(self) -> ModelSearch:
        """Made anew within each autocast context, whose copies of weights its recorded steps read."""
        return ModelSearch(
            self._model,
            self.config,
            self._special,
            device=self._device,
            decode=self._tokenizer.decode,
            utility=self._utility,
            static=self._static,
            encoder_memory=self.encoder_memory,
        )

    def _summary(self, reading: Reading, hypothesis: Hypothesis) -> Summary:
        return Summary(
            text=self._tokenizer.decode(hypothesis.ids),
            score=hypothesis.score,
            log_probability=hypothesis.log_probability,
            tokens_read=reading.tokens_read,
            tokens_total=reading.tokens_total,
            parts=reading.parts,
            source=[*reading.source, END_ID],
            target=[*hypothesis.ids, END_ID] if hypothesis.ended else hypothesis.ids,
        )
