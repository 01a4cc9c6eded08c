"""A split of texts in; its encoding into a cache, by us and by datasets.map with SentencePiece, as a contest out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import sentencepiece

from summarizer.benchmark.contest import OURS, Contender, Contest, Work
from summarizer.data.config import DataConfig
from summarizer.data.encoding import encode_split
from summarizer.data.sources import Split
from summarizer.tokenizer import END_ID, Tokenizer

_ROWS_AT_ONCE = 1000  # the default of datasets.map


def encoding_contest(
    open_split: Callable[[], Split], config: DataConfig, tokenizer: Tokenizer, *, peers: bool
) -> Contest:
    """Encode, cut and store all rows of a split, whose tokenizer is there already.

    :param open_split: anew for each round. We read the files then; datasets has read them before the contest.
    """
    examples = list(open_split())
    megabytes = sum(len(text.encode()) for each in examples for text in (each.document, each.summary)) / 1e6

    contenders = [
        Contender(
            OURS,
            partial(_encoding, open_split, config, tokenizer),
            "from files to a cache on disk, reading, hashing and counting included",
        )
    ]
    if peers:
        for threads in sorted({1, os.cpu_count() or 1}):
            name = f"datasets.map, SentencePiece on {threads} thread{'s' * (threads > 1)}"
            contenders.append(Contender(name, partial(_mapping, open_split, config, tokenizer, threads)))
    return Contest(f"Encoding {len(examples):,} examples, {megabytes:,.0f} MB of text", "MB", megabytes, contenders)


def _encoding(open_split: Callable[[], Split], config: DataConfig, tokenizer: Tokenizer) -> Work:
    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            encode_split(
                open_split(),
                tokenizer,
                max_source_tokens=config.max_source_tokens,
                max_target_tokens=config.max_target_tokens,
                cache_dir=Path(folder),
            )

    return run


def _mapping(open_split: Callable[[], Split], config: DataConfig, tokenizer: Tokenizer, num_threads: int) -> Work:
    """As its documentation has it: batched, in process, into a cache file."""
    import datasets

    datasets.disable_progress_bars()
    processor = sentencepiece.SentencePieceProcessor()
    processor.load_from_serialized_proto(tokenizer.to_bytes())
    examples = list(open_split())
    dataset = datasets.Dataset.from_dict(
        {"document": [each.document for each in examples], "summary": [each.summary for each in examples]}
    )

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        sources = processor.encode(batch["document"], num_threads=num_threads)
        targets = processor.encode(batch["summary"], num_threads=num_threads)
        return {"source": _cut(sources, config.max_source_tokens), "target": _cut(targets, config.max_target_tokens)}

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            dataset.map(
                encode,
                batched=True,
                batch_size=_ROWS_AT_ONCE,
                remove_columns=dataset.column_names,
                cache_file_name=str(Path(folder) / "encoded.arrow"),
                load_from_cache_file=False,
            )

    return run


def _cut(rows: Sequence[list[int]], maximum: int) -> list[list[int]]:
    return [[*ids[: maximum - 1], END_ID] for ids in rows]
