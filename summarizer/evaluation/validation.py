"""A model in training and the validation split in; loss, ROUGE beside lead-3, samples and heat-maps out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from summarizer.data.example import Example
from summarizer.data.loader import BatchLoader
from summarizer.decoding.generator import Generator, Summary
from summarizer.decoding.twin import made_for_inference
from summarizer.errors import UserError
from summarizer.evaluation.baselines import lead
from summarizer.evaluation.rouge import ROUGE_TYPES, PairScores, score_pairs
from summarizer.evaluation.words import ENGLISH, words_of
from summarizer.model.mode import evaluating
from summarizer.model.transformer import Transformer
from summarizer.parallel import ALONE, Processes
from summarizer.presentation.pictures import Pixels, attention_pictures
from summarizer.presentation.trace import trace_attention
from summarizer.runtime import Runtime
from summarizer.tokenizer import Tokenizer
from summarizer.training.loss import batch_loss
from summarizer.training.validation import Sample, Validation, ValidationStopped

T = TypeVar("T")

BatchSums: TypeAlias = tuple[int, dict[str, float]]  # target tokens of a batch, and what is summed over them


@dataclass(kw_only=True)
class ValidationConfig:
    """What a validation during training looks at, besides the loss of the whole split."""

    rouge_examples: int = 64
    """Examples to summarize and score, the first of the split; 0 leaves ROUGE out."""

    samples: int = 3
    """How many of these to log as text."""

    language: str = ENGLISH
    """Of the texts, a two-letter code: en is scored as by rouge-score, others with the letters it deletes."""

    def validate(self) -> None:
        """Raise UserError for values out of range."""
        for name in ("rouge_examples", "samples"):
            if getattr(self, name) < 0:
                raise UserError(f"validation.{name} ({getattr(self, name)}) must be at least 0")
        words_of(self.language)


class Validator:
    """Called by the trainer: the validation of the model as it is at that moment.

    :param model: which this process holds all of, at least within the context of ``with_weights``.
    :param loader: the whole validation split.
    :param examples: its first ``rouge_examples`` as text.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        loader: BatchLoader,
        examples: Sequence[Example],
        generator: Generator,
        tokenizer: Tokenizer,
        runtime: Runtime,
        samples: int,
        language: str = ENGLISH,
        processes: Processes = ALONE,
        with_weights: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.model = model
        self.loader = loader
        self.examples = examples
        self.generator = generator
        self.tokenizer = tokenizer
        self.runtime = runtime
        self.samples = samples
        self.language = language
        self.processes = processes
        self.with_weights = with_weights
        leads = [lead(example.document) for example in examples]
        self.lead_metrics = {f"lead3/{name}": value for name, value in self._rouge(leads).items()}

    def __call__(self, stop_requested: Callable[[], bool] = lambda: False) -> Validation:
        """Raises ValidationStopped soon after ``stop_requested`` says yes, in any of the processes."""
        with self.with_weights():
            return self._validate(stop_requested)

    def _validate(self, stop_requested: Callable[[], bool]) -> Validation:
        def stop_if_requested() -> None:
            if stop_requested():
                raise ValidationStopped

        metrics = _means(self._gathered(lambda: self._losses(stop_if_requested)))
        if not self.examples:
            return Validation(metrics, samples=[], images={})
        documents = self.processes.share([example.document for example in self.examples])
        # As evaluate.py searches, so that its scores of the same weights are the same.
        generator = self.generator.with_model(*made_for_inference(self.model, self.runtime))
        summaries = self._gathered(lambda: generator.generate(documents, before_batch=stop_if_requested))
        predictions = [summary.text for summary in summaries]
        metrics |= self._rouge(predictions) | self.lead_metrics
        samples = [
            Sample(example.id, example.document, example.summary, prediction)
            for example, prediction in zip(self.examples[: self.samples], predictions, strict=False)
        ]
        return Validation(metrics, samples, images=self._attention_pictures(summaries[0]))

    def _gathered(self, work: Callable[[], Sequence[T]]) -> list[T]:
        """What all processes make of their shares, in order. If one is stopped, all are."""
        mine: Sequence[T] | None
        try:
            mine = work()
        except ValidationStopped:
            mine = None
        if self.processes.largest(mine is None):
            raise ValidationStopped
        assert mine is not None
        return self.processes.gather(mine)

    def _losses(self, before_batch: Callable[[], None]) -> list[BatchSums]:
        """What each batch of this process's share adds. Loss is -log p in nats, without label smoothing."""
        names: list[str] = []
        values: list[Tensor] = []
        target_tokens: list[int] = []
        with torch.inference_mode(), evaluating(self.model):
            for batch in self.loader.one_pass():
                before_batch()
                with self.runtime.autocast():
                    sums = batch_loss(self.model, batch.to(self.runtime.device))
                mine = {"loss": sums.nll, "accuracy": sums.correct, **sums.pointer}
                names = list(mine)
                values.append(torch.stack([value.double() for value in mine.values()]))
                target_tokens.append(batch.num_target_tokens)
        rows = torch.stack(values).tolist() if values else []  # one wait for the device
        return [(count, dict(zip(names, row, strict=True))) for count, row in zip(target_tokens, rows, strict=True)]

    def _rouge(self, predictions: Sequence[str]) -> dict[str, float]:
        """Mean F1 by ROUGE type; nothing where there is nothing to score."""
        if not self.examples:
            return {}
        references = [example.summary for example in self.examples]
        scores: list[PairScores] = score_pairs(references, predictions, language=self.language)
        return {name: sum(score[name].f1 for score in scores) / len(scores) for name in ROUGE_TYPES}

    def _attention_pictures(self, summary: Summary) -> dict[str, Pixels]:
        """Where the model looked while it wrote ``summary``."""
        trace = trace_attention(
            self.model,
            self.tokenizer,
            source=summary.source,
            target=summary.target,
            device=self.runtime.device,
            autocast=self.runtime.autocast,
        )
        return {f"cross_attention/{name}": picture for name, picture in attention_pictures(trace).items()}


def _means(batches: Sequence[BatchSums]) -> dict[str, float]:
    """Means over target tokens; more with a pointer. Added up in the order of the batches, whoever computed them."""
    target_tokens = sum(count for count, _ in batches)
    names = batches[0][1]
    means = {name: sum(sums[name] for _, sums in batches) / target_tokens for name in names}
    return {"loss": means["loss"], "perplexity": math.exp(min(means["loss"], 700.0)), **means}
