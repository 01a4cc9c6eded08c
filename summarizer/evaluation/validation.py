"""A model in training and the validation split in; loss, ROUGE beside lead-3, samples and a heat-map out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from summarizer.data.batch import Batch, collate
from summarizer.data.example import EncodedExample, Example
from summarizer.data.loader import BatchLoader
from summarizer.decoding.generator import Generator
from summarizer.errors import UserError
from summarizer.evaluation.baselines import lead
from summarizer.evaluation.rouge import ROUGE_TYPES, PairScores, score_pairs
from summarizer.model.inspection import cross_attention_weights
from summarizer.model.masks import length_mask
from summarizer.model.mode import evaluating
from summarizer.model.transformer import Transformer
from summarizer.runtime import Runtime
from summarizer.tokenizer import END_ID, PAD_ID, START_ID, Tokenizer
from summarizer.training.heat_map import draw_heat_map
from summarizer.training.loss import batch_loss
from summarizer.training.validation import Sample, Validation


@dataclass(kw_only=True)
class ValidationConfig:
    """What a validation during training looks at, besides the loss of the whole split."""

    rouge_examples: int = 64
    """Examples to summarize and score, the first of the split; 0 leaves ROUGE out."""

    samples: int = 3
    """How many of these to log as text."""

    def validate(self) -> None:
        """Raise UserError for values out of range."""
        for name in ("rouge_examples", "samples"):
            if getattr(self, name) < 0:
                raise UserError(f"validation.{name} ({getattr(self, name)}) must be at least 0")


class Validator:
    """Called by the trainer: the validation of the model as it is at that moment.

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
    ) -> None:
        self.model = model
        self.loader = loader
        self.examples = examples
        self.generator = generator
        self.tokenizer = tokenizer
        self.runtime = runtime
        self.samples = samples
        leads = [lead(example.document) for example in examples]
        self.lead_metrics = {f"lead3/{name}": value for name, value in self._rouge(leads).items()}

    def __call__(self) -> Validation:
        metrics = self._losses()
        if not self.examples:
            return Validation(metrics, samples=[], images={})
        predictions = [summary.text for summary in self.generator.generate([e.document for e in self.examples])]
        metrics |= self._rouge(predictions) | self.lead_metrics
        samples = [
            Sample(example.id, example.document, example.summary, prediction)
            for example, prediction in zip(self.examples[: self.samples], predictions, strict=False)
        ]
        return Validation(metrics, samples, images={"cross_attention": self._heat_map(predictions[0])})

    def _losses(self) -> dict[str, float]:
        """Means over target tokens. Loss is -log p in nats, without label smoothing; more with a pointer."""
        totals: dict[str, Tensor] = {}
        target_tokens = 0
        with torch.inference_mode(), evaluating(self.model):
            for batch in self.loader.one_pass():
                with self.runtime.autocast():
                    sums = batch_loss(self.model, batch.to(self.runtime.device))
                mine = {"loss": sums.nll, "accuracy": sums.correct, **sums.pointer}
                totals = {name: value.double() + totals.get(name, 0.0) for name, value in mine.items()}
                target_tokens += batch.num_target_tokens
        means = {name: float(total) / target_tokens for name, total in totals.items()}
        return {"loss": means["loss"], "perplexity": math.exp(min(means["loss"], 700.0)), **means}

    def _rouge(self, predictions: Sequence[str]) -> dict[str, float]:
        """Mean F1 by ROUGE type; nothing where there is nothing to score."""
        if not self.examples:
            return {}
        scores: list[PairScores] = score_pairs([example.summary for example in self.examples], predictions)
        return {name: sum(score[name].f1 for score in scores) / len(scores) for name in ROUGE_TYPES}

    def _heat_map(self, prediction: str) -> npt.NDArray[np.uint8]:
        """Where the model looked while it wrote the first prediction, averaged over layers and heads."""
        batch = self._encode(self.examples[0].document, prediction)
        with self.runtime.autocast():
            weights_LBHTS = cross_attention_weights(
                self.model,
                batch.source_BS,
                length_mask(batch.source_lengths_B, batch.source_BS.shape[1]),
                batch.decoder_input_BT,
            )
        return draw_heat_map(
            weights_LBHTS.mean(dim=(0, 1, 2)).float().cpu().numpy(),
            sources=self.tokenizer.pieces(batch.source_BS[0].tolist()),
            targets=self.tokenizer.pieces(batch.target_BT[0].tolist()),
            title="cross-attention, mean of layers and heads",
        )

    def _encode(self, document: str, summary: str) -> Batch:
        source = self.tokenizer.encode(document)[: self.generator.max_source_tokens - 1]
        # What was decoded from n tokens may take more to encode, and learned positions end somewhere.
        target = self.tokenizer.encode(summary)[: self.generator.max_summary_tokens - 1]
        encoded = EncodedExample(
            id=self.examples[0].id,
            source=np.array([*source, END_ID], dtype=np.int32),
            target=np.array([*target, END_ID], dtype=np.int32),
        )
        return collate([encoded], pad_id=PAD_ID, start_id=START_ID).to(self.runtime.device)
