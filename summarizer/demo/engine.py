"""A loaded run as the page uses it: it says what it is, and turns a request into a computation."""

from __future__ import annotations

import time
from dataclasses import fields
from enum import Enum
from typing import Any, Protocol

from summarizer.decoding.config import DecodingConfig, DecodingMethod
from summarizer.decoding.generator import PartDraft, Summary
from summarizer.decoding.reading import LongDocument
from summarizer.demo.jobs import Report, Work
from summarizer.demo.requests import SummaryRequest
from summarizer.inference import Summarizer
from summarizer.presentation.word_view import WordView
from summarizer.tokenizer import normalize

_REPORT_SECONDS = 0.1


class Engine(Protocol):
    """What the server asks of a run."""

    def describe(self) -> dict[str, Any]:
        """For the page: name, size, and the settings it decodes with."""
        ...

    def prepare(self, request: SummaryRequest) -> Work:
        """The computation that answers ``request``. Raises UserError at once if its settings cannot work."""
        ...


class RunEngine:
    """A trained run."""

    def __init__(self, name: str, summarizer: Summarizer, long_document: LongDocument = LongDocument.truncate) -> None:
        """:param long_document: where a request says nothing of it."""
        self._name = name
        self._summarizer = summarizer
        self._long_document = long_document

    def describe(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "step": self._summarizer.step,
            "parameters": self._summarizer.model.num_parameters,
            "reads": self._summarizer.generator.max_source_tokens - 1,
            "pointer": self._summarizer.config.model.pointer.enabled,
            "long_document": self._long_document.name,
            "decoding": _plain(self._summarizer.generator.config),
        }

    def prepare(self, request: SummaryRequest) -> Work:
        chosen = self._summarizer.with_decoding(request.decoding)

        def work(report: Report) -> dict[str, Any]:
            (summaries,) = chosen.n_best(
                [request.text],
                _possible(request.summaries, chosen.generator.config),
                long_document=request.long_document or self._long_document,
                prefix=request.prefix,
                on_draft=lambda _, draft: report(draft.text),
                on_part=_PartsReport(report),
            )
            return self._answer(request.text, summaries, report)

        return work

    def _answer(self, text: str, summaries: list[Summary], report: Report) -> dict[str, Any]:
        views = []
        for summary in summaries:
            report(summaries[0].text)  # a moment to stop at: the model reads and writes everything once more
            views.append(WordView.of(self._summarizer.trace(summary)).as_json())
        first = summaries[0]
        return {
            "read": first.tokens_read,
            "total": first.tokens_total,
            "parts": first.parts,
            "document": views[0]["document"],
            "unread": _unread(text, self._summarizer.tokenizer.decode(first.source[:-1])),
            "summaries": [
                {
                    **{key: value for key, value in view.items() if key != "document"},
                    "text": summary.text,
                    "score": summary.score,
                    "log_probability": summary.log_probability,
                    "tokens": len(summary.target),
                }
                for summary, view in zip(summaries, views, strict=True)
            ],
        }


def _possible(summaries: int, config: DecodingConfig) -> int:
    """A beam has no more hypotheses than it follows, and minimum Bayes risk decoding no more than its samples."""
    most = {DecodingMethod.beam: config.beam_size, DecodingMethod.mbr: config.num_samples}
    return min(summaries, most.get(config.method, summaries))


class _PartsReport:
    """Reports the drafts of all parts of a round as one text: a few times a second, for there may be many."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._drafts: list[str] = []
        self._reported = 0.0

    def __call__(self, draft: PartDraft) -> None:
        if len(self._drafts) != draft.part.of:  # another round
            self._drafts = [""] * draft.part.of
        self._drafts[draft.part.number] = draft.text
        if time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._reported = time.monotonic()
            self._report("\n".join(filter(None, self._drafts)), parts=draft.part.of)


def _unread(text: str, read: str) -> str:
    """The rest of the text, as far as it can be told from what was read."""
    whole = normalize(text)
    return whole[len(read) :] if whole.startswith(read) else ""


def _plain(config: DecodingConfig) -> dict[str, Any]:
    values = {each.name: getattr(config, each.name) for each in fields(config)}
    return {name: value.name if isinstance(value, Enum) else value for name, value in values.items()}
