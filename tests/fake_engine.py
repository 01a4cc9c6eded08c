"""A run without a model: it copies the first words of a text, one after the other, and can be held up."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from summarizer.decoding.reading import LongDocument
from summarizer.demo.jobs import Report, Work
from summarizer.demo.requests import SummaryRequest
from summarizer.errors import UserError
from summarizer.presentation.trace import AttentionTrace
from summarizer.presentation.word_view import WordView

_PATIENCE = 60.0  # seconds
_PARTS = 3  # in which a text that is too long is read, if it is split


class FakeEngine:
    """Keeps what happened to it in order. ``gate`` closed, a computation waits before its second word.

    A text that begins with "!" fails: "!user" as a user can mend it, "!bug" as only we can.
    """

    def __init__(self, name: str = "fake", *, reads: int = 8, copies: int = 4, pointer: bool = True) -> None:
        self.name = name
        self._reads, self._copies, self._pointer = reads, copies, pointer
        self.gate = threading.Event()
        self.gate.set()
        self.pause = 0.0  # seconds for a word
        self.requests: list[SummaryRequest] = []
        self.begun: list[str] = []
        self.finished: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    def describe(self) -> dict[str, Any]:
        decoding = {"method": "beam", "beam_size": 4, "temperature": 1.0, "max_tokens": 64, "length_penalty": 1.0}
        return {
            "name": self.name, "step": 900, "parameters": 1_500_000, "reads": self._reads, "pointer": self._pointer,
            "long_document": "truncate", "decoding": decoding,
        }  # fmt: skip

    def prepare(self, request: SummaryRequest) -> Work:
        if request.decoding.beam_size == 13:
            raise UserError("decoding.beam_size (13) is unlucky: take another")
        self.requests.append(request)
        return lambda report: self._work(request, report)

    def _work(self, request: SummaryRequest, report: Report) -> dict[str, Any]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.append(request.text)
        try:
            return self._answer(request, report)
        finally:
            self.at_once -= 1

    def _answer(self, request: SummaryRequest, report: Report) -> dict[str, Any]:
        if request.text == "!user":
            raise UserError("the text is of the wrong kind: take another")
        if request.text == "!bug":
            raise RuntimeError("/secret/path.py is broken")
        words = request.text.split()
        target = words[: self._copies]
        for count in range(1, len(target) + 1):
            report(" ".join(target[:count]))
            deadline = time.monotonic() + _PATIENCE
            while not self.gate.wait(0.02) and time.monotonic() < deadline:
                report(" ".join(target[:count]))
            time.sleep(self.pause)
        self.finished.append(request.text)
        hypotheses = [target, *([*target[:-1], f"new{n}"] for n in range(1, request.summaries))]
        views = [self._view(words[: self._reads], hypothesis) for hypothesis in hypotheses]
        rest = " ".join(words[self._reads :])
        split = request.long_document is LongDocument.split and len(words) > self._reads
        return {
            "read": len(words) if split else min(len(words), self._reads),
            "total": len(words),
            "parts": _PARTS if split else 1,
            "document": views[0]["document"],
            "unread": f" {rest}" if rest and not split else "",
            "summaries": [
                {**view, "text": " ".join(hypothesis), "score": -0.1 * n, "log_probability": -1.0 * n, "tokens": 5}
                for n, (hypothesis, view) in enumerate(zip(hypotheses, views, strict=True), start=1)
            ],
        }

    def _view(self, source: list[str], target: list[str]) -> dict[str, Any]:
        """Word t looked at word t + 1, and the pointer at word t."""
        rows, columns = len(target), len(source) + 1
        looked = np.full((1, 1, rows + 1, columns), 0.2 / columns, dtype=np.float32)
        for t in range(rows + 1):
            looked[0, 0, t, (t + 1) % columns] += 0.8
        trace = AttentionTrace(
            sources=[*(f"▁{word}" for word in source), "</s>"],
            targets=[*(f"▁{word}" for word in target), "</s>"],
            weights_LHTS=looked,
            copy_TS=np.eye(rows + 1, columns, dtype=np.float32) if self._pointer else None,
            copied_T=np.array([word in source for word in [*target, ""]], dtype=np.float32) if self._pointer else None,
        )
        return WordView.of(trace).as_json()
