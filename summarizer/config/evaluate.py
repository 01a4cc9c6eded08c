"""The schema of scripts/evaluate.py."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum

from summarizer.config.decoding import DecodingOverrides
from summarizer.config.parts import validate_parts
from summarizer.decoding.reading import LongDocument
from summarizer.errors import UserError
from summarizer.evaluation.rouge import ROUGE_TYPES
from summarizer.evaluation.words import words_of
from summarizer.runtime import RuntimeConfig


@dataclass(kw_only=True)
class EvaluateConfig:
    """scripts/evaluate.py."""

    run: str | None = None
    """Run folder of a training run: its summaries are scored, or predictions of the split it was trained beside."""

    predictions: str | None = None
    """Score this file instead of summarizing: one prediction a line, as JSON (.jsonl) or as text."""

    references: str | None = None
    """File with the references of ``predictions``, where they are neither in that file nor a run's split."""

    compare: list[str] = field(default_factory=list)
    """Compare two: run folders scored before, folders of evaluations, or files of predictions."""

    language: str | None = None
    """Of the texts, a two-letter code: en is scored as by rouge-score, others with the letters it deletes.
    By default that of the run, or en."""

    empty_predictions: bool = False
    """Let empty predictions of a file score 0 instead of refusing them."""

    checkpoint: str = "best"
    """Which checkpoint: best, last, or the number of a step."""

    split: str = "test"
    """Split to score: train, validation or test."""

    limit: int | None = None
    """Score only the first so many examples of the split."""

    long_document: LongDocument = LongDocument.truncate
    """What becomes of a document longer than the model reads: truncate summarizes its first tokens, lead its first
    whole sentences, split all of its parts, and then their summaries."""

    data_path: str | None = None
    """Read the split from these files instead of where the run read it."""

    output: str | None = None
    """Folder for metrics.json, predictions.jsonl and report.html; by default one inside the run folder."""

    tensorboard: bool = True
    """Write the scores of a run into its TensorBoard log too."""

    samples: int = 3
    """Summaries to print beside their references, spread evenly over the split."""

    resamples: int = 1000
    """Bootstrap resamples behind each 95% interval."""

    baseline_sentences: int = 3
    """Sentences in each of the extracts to compare with: lead-3 is usual for CNN/DailyMail, lead-1 for XSum."""

    processes: int | None = None
    """Processes that share the scoring; by default one for each core."""

    report: bool = True
    """Write report.html, a page to read the examples on."""

    report_examples: int = 200
    """Examples on that page: the worst, the best, those in the middle, and others at random."""

    objective: str = "rougeLsum"
    """What settings are compared by in a --multirun: the F1 of rouge1, rouge2, rougeL or rougeLsum."""

    seed: int = 0
    """Of the bootstrap."""

    decoding: DecodingOverrides = field(default_factory=DecodingOverrides)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        validate_parts(self)
        self._validate_choice()
        if self.language is not None:
            words_of(self.language)
        if self.split not in ("train", "validation", "test"):
            raise UserError(f"split ({self.split}) must be train, validation or test")
        for name in ("limit", "resamples", "baseline_sentences", "processes", "report_examples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} ({value}) must be at least 1")
        if self.objective not in ROUGE_TYPES:
            raise UserError(f"objective ({self.objective}) must be one of {', '.join(ROUGE_TYPES)}")
        if self.samples < 0:
            raise UserError(f"samples ({self.samples}) must be at least 0")

    def _refuse_what_writes(self) -> None:
        """Settings of a model, where none is asked, would be ignored."""
        given = {f"decoding.{each.name}": getattr(self.decoding, each.name) for each in fields(self.decoding)}
        given["checkpoint"] = None if self.checkpoint == "best" else self.checkpoint
        given["long_document"] = None if self.long_document is LongDocument.truncate else self.long_document
        for name, value in given.items():
            if value is not None:
                shown = value.value if isinstance(value, Enum) else value
                does = "reads" if name == "long_document" else "writes"
                raise UserError(
                    f"{name} ({shown}) is how a run {does}, and here texts that were written before are scored: "
                    "leave it out"
                )

    def _validate_choice(self) -> None:
        if self.compare:
            for name in ("run", "predictions"):
                if getattr(self, name) is not None:
                    raise UserError(f"{name} ({getattr(self, name)}) and compare are both given: leave one out")
            if len(self.compare) != 2:
                raise UserError(
                    f"compare must name two, as in compare=[outputs/a,outputs/b], and has {len(self.compare)}"
                )
        elif self.run is None and self.predictions is None:
            raise UserError(
                "run is missing: add run=<folder>, predictions=<file> or compare=[<one>,<other>] to the command"
            )
        if self.predictions is not None or self.compare:
            self._refuse_what_writes()
        if self.references is not None and self.predictions is None and not self.compare:
            raise UserError(f"references ({self.references}) belong to predictions: add predictions=<file>")
