"""Train a tokenizer on a dataset's training split, for use in several runs."""

from __future__ import annotations

import logging
from pathlib import Path

from summarizer.checkpoint import write_bytes_atomically
from summarizer.commands.preparation import obtain_tokenizer
from summarizer.config import TrainTokenizerConfig
from summarizer.data.sources import open_split
from summarizer.errors import UserError
from summarizer.runtime import configure_logging

logger = logging.getLogger(__name__)


def train_tokenizer(config: TrainTokenizerConfig) -> None:
    """Write the tokenizer to ``config.output``."""
    configure_logging()
    output = Path(config.output)
    if output.is_dir():
        raise UserError(f"output ({output}) is a folder and must be a file: try output={output / 'tokenizer.model'}")
    split = open_split(config.data, "train")
    tokenizer = obtain_tokenizer(config.tokenizer, split, Path(config.data.cache_dir))
    write_bytes_atomically(output, tokenizer.to_bytes())
    example = next(iter(split)).summary.splitlines()[0]
    logger.info("%s holds %d pieces; for example:", output, tokenizer.vocab_size)
    logger.info("  %s", " ".join(tokenizer.pieces(tokenizer.encode(example))))
    logger.info("next: the training command of this data, with tokenizer.path=%s", output)
