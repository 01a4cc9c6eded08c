"""From a data config to a tokenizer, encoded splits, and a report of what became of the rows."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from summarizer.checkpoint import write_bytes_atomically
from summarizer.data.config import DataConfig
from summarizer.data.encoding import EncodedDataset, count_shared_documents, encode_split
from summarizer.data.sources import Split, open_split
from summarizer.tokenizer import Tokenizer, TokenizerConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedData:
    """All that training reads."""

    tokenizer: Tokenizer
    validation_split: Split
    train: EncodedDataset
    validation: EncodedDataset
    report: str  # for people


def prepare(data: DataConfig, tokenizer_config: TokenizerConfig) -> PreparedData:
    """Tokenizer and encoded splits, from the cache where possible. Raises UserError for unusable data."""
    splits = {name: open_split(data, name) for name in ("train", "validation")}
    tokenizer = obtain_tokenizer(tokenizer_config, splits["train"], Path(data.cache_dir))
    encoded = {name: _encode(split, tokenizer, data) for name, split in splits.items()}
    return PreparedData(
        tokenizer=tokenizer,
        validation_split=splits["validation"],
        train=encoded["train"],
        validation=encoded["validation"],
        report=_report(splits, encoded, data),
    )


def obtain_tokenizer(config: TokenizerConfig, train: Split, cache_dir: Path) -> Tokenizer:
    """The tokenizer of ``config.path``; else one trained on ``train``, kept under a hash of all that decides it."""
    if config.path is not None:
        return Tokenizer.load(config.path)
    decisive = json.dumps([train.content_hash(), asdict(config)], default=str, sort_keys=True)
    path = cache_dir / "tokenizers" / f"{hashlib.sha256(decisive.encode()).hexdigest()[:32]}.model"
    if path.exists():
        return Tokenizer.load(path)
    logger.info("training a tokenizer of %d pieces on the %s split", config.vocab_size, train.name)
    tokenizer = Tokenizer.train(_texts(train), config)
    write_bytes_atomically(path, tokenizer.to_bytes())
    return tokenizer


def _texts(split: Split) -> Iterator[str]:
    for example in split:
        yield example.document
        yield example.summary


def _encode(split: Split, tokenizer: Tokenizer, data: DataConfig) -> EncodedDataset:
    return encode_split(
        split,
        tokenizer,
        max_source_tokens=data.max_source_tokens,
        max_target_tokens=data.max_target_tokens,
        cache_dir=Path(data.cache_dir),
    )


def _report(splits: dict[str, Split], encoded: dict[str, EncodedDataset], data: DataConfig) -> str:
    lines = [f"data {data.name}"]
    for name, dataset in encoded.items():
        report = dataset.report
        sources, targets = report.source_length_quantiles, report.target_length_quantiles
        lines.append(
            f"  {name:<10} {report.rows:>9,} examples"
            f"  document tokens {sources['50%']:,} (95% below {sources['95%']:,}),"
            f" {report.sources_truncated / report.rows:.1%} cut"
            f"  summary tokens {targets['50%']:,} (95% below {targets['95%']:,}),"
            f" {report.targets_truncated / report.rows:.1%} cut"
        )
        if splits[name].report.rows_skipped:
            lines.append(f"             {splits[name].report}")
    shared = count_shared_documents(encoded["train"], encoded["validation"])
    lines.append(f"  {shared} documents of validation are in train, word for word")
    return "\n".join(lines)
