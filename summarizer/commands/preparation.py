"""From a data config to a tokenizer, encoded splits, and a report of what became of the rows."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from summarizer.checkpoint import ScratchFolder, made_once, remove_abandoned
from summarizer.checkpoint.files import explaining_write_errors, write_synced
from summarizer.data.config import DataConfig
from summarizer.data.encoded import EncodedDataset, count_shared_documents
from summarizer.data.encoding import encode_split
from summarizer.data.sources import Split, open_split
from summarizer.errors import UserError
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
    splits |= _test_split(data)
    tokenizer = obtain_tokenizer(tokenizer_config, splits["train"], Path(data.cache_dir))
    encoded = {name: _encode(split, tokenizer, data) for name, split in splits.items()}
    return PreparedData(
        tokenizer=tokenizer,
        validation_split=splits["validation"],
        train=encoded["train"],
        validation=encoded["validation"],
        report=_report(encoded, data),
    )


def _test_split(data: DataConfig) -> dict[str, Split]:
    """The test split, if there is one: training only looks whether its documents are among those to learn from."""
    try:
        return {"test": open_split(data, "test")}
    except UserError as error:
        logger.info("no test split to compare with: %s", error)
        return {}


def obtain_tokenizer(config: TokenizerConfig, train: Split, cache_dir: Path) -> Tokenizer:
    """The tokenizer of ``config.path``; else one trained on ``train``, kept under a hash of all that decides it."""
    path = _cached_tokenizer(config, train, cache_dir)
    remove_abandoned(path.parent)
    found = find_tokenizer(config, train, cache_dir)
    if found is not None:
        return found
    with made_once(path):
        if not path.exists():
            logger.info("training a tokenizer of %d pieces on the %s split", config.vocab_size, train.name)
            _keep(Tokenizer.train(_texts(train), config), path)
    return Tokenizer.load(path)


def find_tokenizer(config: TokenizerConfig, train: Split, cache_dir: Path) -> Tokenizer | None:
    """What :func:`obtain_tokenizer` gives; None if it would have to train it first."""
    path = Path(config.path) if config.path is not None else _cached_tokenizer(config, train, cache_dir)
    return Tokenizer.load(path) if config.path is not None or path.exists() else None


def _cached_tokenizer(config: TokenizerConfig, train: Split, cache_dir: Path) -> Path:
    decisive = json.dumps([train.content_hash(), asdict(config)], default=str, sort_keys=True)
    return cache_dir / "tokenizers" / f"{hashlib.sha256(decisive.encode()).hexdigest()[:32]}.model"


def _keep(tokenizer: Tokenizer, path: Path) -> None:
    """Write the file of the cache whole or not at all; not even a kill leaves a part of it there for long.

    What another process put there meanwhile stays: of all that began together, each takes the same one.
    """
    with explaining_write_errors(path), ScratchFolder(path.parent) as scratch:
        write_synced(scratch / path.name, tokenizer.to_bytes())
        try:
            os.link(scratch / path.name, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            (scratch / path.name).replace(path)


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


def _report(encoded: Mapping[str, EncodedDataset], data: DataConfig) -> str:
    """For people: how many examples, how long, how much of them the model reads, and what was left out."""
    lines = [f"data {data.name:<11} examples   document tokens           cut   summary tokens            cut"]
    for name, dataset in encoded.items():
        report = dataset.report
        lines.append(
            f"  {name:<10} {report.rows:>11,}   "
            f"{_lengths(report.source_length_quantiles):<22} {report.sources_truncated / report.rows:>6.1%}   "
            f"{_lengths(report.target_length_quantiles):<22} {report.targets_truncated / report.rows:>6.1%}"
        )
        if report.rows_skipped:
            reasons = ", ".join(f"{reason}: {count:,}" for reason, count in sorted(report.rows_skipped.items()))
            lines.append(f"             {sum(report.rows_skipped.values()):,} rows skipped ({reasons})")
    for name, dataset in encoded.items():
        if dataset.report.repeated_ids:
            lines.append(f"  warning: {dataset.report.repeated_ids:,} rows of {name} repeat the id of another")
        if dataset.report.unshortened:
            lines.append(f"  warning: {dataset.report.unshortened:,} summaries of {name} are their documents")
        shared = count_shared_documents(encoded["train"], dataset)
        if name != "train" and shared:
            lines.append(f"  warning: {shared:,} documents of {name} are in train too, word for word")
    return "\n".join(lines)


def _lengths(quantiles: Mapping[str, int]) -> str:
    return f"{quantiles['50%']:,} (95% below {quantiles['95%']:,})"
