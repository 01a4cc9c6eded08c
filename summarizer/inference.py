"""A run folder in, a summarizer out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from summarizer.checkpoint import ModelWeights, load_model_weights, require_run_folder, require_same_settings
from summarizer.config import (
    DecodingOverrides,
    TrainConfig,
    decisive_settings,
    from_yaml,
    require_fitting_search,
    with_overrides,
)
from summarizer.decoding.generator import Generator, PartDraft, Summary
from summarizer.decoding.reading import LongDocument
from summarizer.decoding.share_read import loss_of
from summarizer.decoding.twin import made_for_inference
from summarizer.errors import UserError
from summarizer.evaluation.utility import rouge_utility
from summarizer.model.config import TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.presentation.trace import AttentionTrace, trace_attention
from summarizer.runtime import Runtime, RuntimeConfig, set_up
from summarizer.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
TOKENIZER_FILE = "tokenizer.model"

_MOST_CLAIMED = 8  # times the parameters that are there: up to here, the first tensor that does not fit is named


class Summarizer:
    """A trained model with its tokenizer: texts in, summaries out.

    >>> summarizer = Summarizer.from_run("outputs/sample")  # doctest: +SKIP
    >>> summarizer.summarize(["A long article ..."])  # doctest: +SKIP
    ['Its summary.\\nIn two sentences.']
    >>> summarizer.summarize([book], long_document="split")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        generator: Generator,
        *,
        config: TrainConfig,
        step: int,
        runtime: Runtime,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.generator = generator
        self.config = config  # of the training run
        self.step = step  # of the checkpoint
        self.runtime = runtime

    @classmethod
    def from_run(
        cls,
        run: str | Path,
        *,
        checkpoint: str = "best",
        decoding: DecodingOverrides | None = None,
        runtime: RuntimeConfig | None = None,
        language: str | None = None,
        local_rank: int = 0,
    ) -> Summarizer:
        """Load a training run's folder; it needs nothing else and runs no code from it.

        :param checkpoint: ``best``, ``last`` or the number of a step.
        :param decoding: settings that differ from the run's own.
        :param language: of the texts: minimum Bayes risk decoding compares samples by its words. By default the run's.
        :param local_rank: which process of this machine this is, of those that share work: each has a GPU of its own.
        :raises UserError: the folder is not a run, or a part of it is missing or damaged.
        """
        run_dir = require_run_folder(Path(run))
        config = from_yaml(run_dir / CONFIG_FILE)
        tokenizer = Tokenizer.load(run_dir / TOKENIZER_FILE)
        weights = load_model_weights(run_dir, checkpoint, partial(require_same_settings, decisive_settings(config)))
        _require_own_tokenizer(run_dir, weights, tokenizer)
        chosen = set_up(runtime if runtime is not None else RuntimeConfig(), local_rank)
        try:
            model = _build_model(config.model, tokenizer.vocab_size, weights.model)
        except ValueError as error:
            raise UserError(f"{weights.path} does not fit the model of {run_dir / CONFIG_FILE}: {error}") from error
        model.to(chosen.device)
        search = config.decoding if decoding is None else with_overrides(config.decoding, decoding)
        require_fitting_search(search, config.model)
        searched, autocast = made_for_inference(model, chosen)
        generator = Generator(
            searched,
            tokenizer,
            search,
            max_source_tokens=config.data.max_source_tokens,
            device=chosen.device,
            autocast=autocast,
            utility=rouge_utility(language or config.validation.language),
            static=chosen.cuda_graphs,
        )
        return cls(model, tokenizer, generator, config=config, step=weights.step, runtime=chosen)

    def with_decoding(self, decoding: DecodingOverrides) -> Summarizer:
        """The same model, decoding as before but for these settings. Raises UserError if it cannot."""
        search = with_overrides(self.generator.config, decoding)
        require_fitting_search(search, self.config.model)
        return Summarizer(
            self.model,
            self.tokenizer,
            self.generator.with_config(search),
            config=self.config,
            step=self.step,
            runtime=self.runtime,
        )

    def summarize(
        self,
        texts: Sequence[str],
        *,
        long_document: LongDocument | str = LongDocument.truncate,
        prefix: str = "",
        progress: bool = False,
    ) -> list[str]:
        """One summary per text, its sentences separated by newlines. Raises UserError for an empty text.

        What of long texts is not read is warned of once; :meth:`generate` tells it of each.
        """
        summaries = self.generate(texts, long_document=long_document, prefix=prefix, progress=progress)
        if LongDocument.of(long_document) is LongDocument.truncate and (loss := loss_of(summaries)):
            logger.warning(loss)
        return [summary.text for summary in summaries]

    def generate(
        self,
        texts: Sequence[str],
        *,
        long_document: LongDocument | str = LongDocument.truncate,
        prefix: str = "",
        progress: bool = False,
    ) -> list[Summary]:
        """Like :meth:`summarize`, with each summary's score and the share of the text that was read.

        :param long_document: what becomes of a text longer than the model reads: ``truncate`` summarizes its first
            tokens, ``lead`` its first whole sentences, ``split`` all of its parts, and then their summaries.
        :param prefix: what every summary begins with: whole words.
        """
        found = self.n_best(texts, 1, long_document=long_document, prefix=prefix, progress=progress)
        return [summaries[0] for summaries in found]

    def n_best(
        self,
        texts: Sequence[str],
        count: int,
        *,
        long_document: LongDocument | str = LongDocument.truncate,
        prefix: str = "",
        progress: bool = False,
        on_draft: Callable[[int, Summary], None] | None = None,
        on_part: Callable[[PartDraft], None] | None = None,
    ) -> list[list[Summary]]:
        """The ``count`` best summaries of each text, best first: :meth:`Generator.n_best`, which tells the rest."""
        return self.generator.n_best(
            texts,
            count,
            long_document=LongDocument.of(long_document),
            prefix=prefix,
            progress=progress,
            on_draft=on_draft,
            on_part=on_part,
        )

    def trace(self, summary: Summary) -> AttentionTrace:
        """Where the model looked for each token of ``summary``, which :meth:`generate` gave."""
        return trace_attention(
            self.model,
            self.tokenizer,
            source=summary.source,
            target=summary.target,
            device=self.runtime.device,
            autocast=self.runtime.autocast,
        )


def _require_own_tokenizer(run_dir: Path, weights: ModelWeights, tokenizer: Tokenizer) -> None:
    """With another tokenizer of the same size the weights would load, and mean nothing."""
    state = weights.trainer_state.get("state")
    own = state.get("tokenizer") if isinstance(state, dict) else None  # a checkpoint from before it was noted has none
    if isinstance(own, str) and own and own != tokenizer.fingerprint:
        raise UserError(
            f"{run_dir / TOKENIZER_FILE} is not the tokenizer that {weights.path} was trained with: its hash is "
            f"{tokenizer.fingerprint[:8]} and should be {own[:8]}; bring back the file of that run"
        )


def _build_model(config: TransformerConfig, vocab_size: int, weights: Mapping[str, Tensor]) -> Transformer:
    """A model with these weights. Raises ValueError if they do not fit."""
    given, wanted = sum(tensor.numel() for tensor in weights.values()), config.least_parameters(vocab_size)
    if wanted > _MOST_CLAIMED * given:  # refused before the memory is asked for it
        raise ValueError(f"they are {given:,} numbers, and the config is of a model of at least {wanted:,}")
    model = Transformer(config, vocab_size)
    model.load_weights(weights)
    return model
