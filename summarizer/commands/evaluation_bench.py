"""What evaluations share that follow one another in one process: the loaded model, the cases, their baselines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from summarizer.checkpoint import CheckpointError, list_checkpoints, read_best, require_run_folder
from summarizer.config import EvaluateConfig
from summarizer.data.config import DataConfig
from summarizer.data.sources import open_split
from summarizer.decoding.encoder_memory import EncoderMemory
from summarizer.evaluation.cases import Case, named_apart
from summarizer.evaluation.evaluator import Baselines
from summarizer.inference import CONFIG_FILE, TOKENIZER_FILE, Summarizer

V = TypeVar("V")

_Reuse = Callable[[Callable[[], Baselines]], Baselines]


class _Last(Generic[V]):
    """The value that was made last. It is made anew where what it is made of has changed."""

    def __init__(self) -> None:
        self._held: tuple[Hashable, V] | None = None

    def get(self, made_of: Hashable, make: Callable[[], V]) -> V:
        if self._held is None or self._held[0] != made_of:
            self._held = None  # two models may be too much for the memory
            self._held = made_of, make()
        return self._held[1]


class Bench:
    """Holds one of each; :meth:`clear` lets go of them.

    :param remembers: also what the encoder made of the documents, up to a gigabyte: a third of the work of a beam of
        four. Batches are found again as long as settings do not change that decide which documents go together.
    """

    def __init__(self, *, remembers: bool = False) -> None:
        self._remembers = remembers
        self.clear()

    def clear(self) -> None:
        self._summarizer: _Last[Summarizer] = _Last()
        self._memory: _Last[EncoderMemory] = _Last()
        self._cases: _Last[list[Case]] = _Last()
        self._baselines: _Last[Baselines] = _Last()

    def summarizer(self, config: EvaluateConfig, run: str, local_rank: int = 0) -> Summarizer:
        """The run's model, decoding as ``config`` wants it."""
        made_of = (
            run, config.checkpoint, config.language, repr(config.runtime), fingerprint(Path(run), config.checkpoint)
        )  # fmt: skip
        load = partial(
            Summarizer.from_run,
            run,
            checkpoint=config.checkpoint,
            runtime=config.runtime,
            language=config.language,
            local_rank=local_rank,
        )
        summarizer = self._summarizer.get(made_of, load).with_decoding(config.decoding)
        if self._remembers:
            search = summarizer.generator.config
            together = (search.method, search.beam_size, search.num_samples, search.max_tokens, search.max_batch_tokens)
            summarizer.generator.encoder_memory = self._memory.get((made_of, together), EncoderMemory)
        return summarizer

    def cases(self, config: EvaluateConfig, data: DataConfig) -> list[Case]:
        """The examples to score: where the run read its data, unless told otherwise."""
        limit = replace(data.limit, **{config.split: config.limit}) if config.limit else data.limit
        chosen = replace(data, path=config.data_path or data.path, limit=limit)
        read = partial(open_split, chosen, config.split)
        return self._cases.get((repr(chosen), config.split), lambda: named_apart([Case.of(each) for each in read()]))

    def baselines(self, cases: list[Case], *settings: Hashable) -> _Reuse:
        """Those of these very cases under these settings."""
        return partial(self._baselines.get, (digest(cases), settings))


def digest(cases: list[Case]) -> str:
    """The same for the same texts."""
    content = hashlib.sha256()
    for case in cases:
        content.update(json.dumps(asdict(case)).encode())
    return content.hexdigest()


def fingerprint(run: Path, checkpoint: str) -> str:
    """Another one where the run's config, tokenizer or the checkpoint of this name are others.

    Raises UserError where there is no run.
    """
    run = require_run_folder(run)
    manifests = [path / "manifest.json" for path in list_checkpoints(run)]
    try:
        best = read_best(run) if checkpoint == "best" else None
    except CheckpointError:
        best = None
    steps = {"last": manifests[-1:]}.get(checkpoint, manifests)
    if best is not None or checkpoint.isdecimal():
        step = best.step if best is not None else int(checkpoint)
        steps = [path for path in manifests if path.parent.name == f"step-{step:07d}"] or manifests
    content = hashlib.sha256()
    for path in (run / CONFIG_FILE, run / TOKENIZER_FILE, *steps):
        content.update(hashlib.sha256(_bytes(path)).digest())
    return content.hexdigest()


def file_digest(path: str | None) -> str | None:
    return None if path is None else hashlib.sha256(_bytes(Path(path))).hexdigest()


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
