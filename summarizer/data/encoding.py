"""A split of texts in, a dataset of truncated token ids out: encoded once, kept on disk for every later run.

A cache folder ``<cache_dir>/encoded/<hash>/`` is named by what its content depends on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from summarizer.checkpoint import ScratchFolder, made_once, remove_abandoned
from summarizer.checkpoint.files import remove_folder, sync
from summarizer.data.encoded import HASHES_FILE, Checksum, EncodedDataset, EncodingReport, Lengths, verify, write_meta
from summarizer.data.example import Example
from summarizer.data.sources import ReadReport
from summarizer.data.token_rows import RowEncoder
from summarizer.errors import UserError
from summarizer.tokenizer import END_ID, Tokenizer

logger = logging.getLogger(__name__)

_FORMAT_VERSION = 2  # raise it whenever the same texts would be stored differently
_CHUNK = 1024  # examples encoded at once
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class TextSplit(Protocol):
    """What encoding needs to know of a split."""

    @property
    def name(self) -> str: ...

    @property
    def report(self) -> ReadReport: ...

    def __iter__(self) -> Iterator[Example]: ...

    def content_hash(self) -> str: ...


def encode_split(
    split: TextSplit, tokenizer: Tokenizer, *, max_source_tokens: int, max_target_tokens: int, cache_dir: Path
) -> EncodedDataset:
    """Encode ``split``, or open what an earlier run encoded. The maxima include the end token.

    Raises UserError if the split is empty or ``cache_dir`` cannot be written.
    """
    assert min(max_source_tokens, max_target_tokens) >= 2, "no room for a token and the end token"
    fingerprint = _fingerprint(split, tokenizer, max_source_tokens, max_target_tokens)
    folder = cache_dir.absolute() / "encoded" / fingerprint
    remove_abandoned(folder.parent)
    cached = _open_cached(folder)
    if cached is not None:
        return cached
    with made_once(folder):
        if folder.exists():  # another made it meanwhile, or it is damaged
            cached = _open_cached(folder, on_damage=partial(_remove_damaged, folder, cache_dir))
        if cached is None:
            with _explaining_disk_errors(cache_dir):
                scratch = ScratchFolder(folder.parent)  # a sibling of the final folder, so that renaming is atomic
            with scratch as scratch_folder:
                writing = scratch_folder / "dataset"
                writer = _Writer(writing, tokenizer, max_source_tokens, max_target_tokens)
                writer.write(split, cache_dir)
                with _explaining_disk_errors(cache_dir):
                    writer.finish(fingerprint, split.report)
                    _publish(writing, folder)
            cached = EncodedDataset(folder)
    return cached


def find_encoded(
    split: TextSplit, tokenizer: Tokenizer, *, max_source_tokens: int, max_target_tokens: int, cache_dir: Path
) -> EncodedDataset | None:
    """What :func:`encode_split` would open; None if it would have to encode first."""
    fingerprint = _fingerprint(split, tokenizer, max_source_tokens, max_target_tokens)
    return _open_cached(cache_dir.absolute() / "encoded" / fingerprint)


@dataclass
class _Lengths:
    """Lengths of one side before truncation, gathered chunk by chunk."""

    maximum: int
    chunks: list[Lengths] = field(default_factory=list)

    def summary(self) -> tuple[int, float, dict[str, int]]:
        """Rows truncated, share of tokens kept, quantiles."""
        lengths = np.concatenate(self.chunks)
        room = self.maximum - 1  # the end token takes one
        kept, total = int(np.minimum(lengths, room).sum()), int(lengths.sum())
        quantiles = np.quantile(lengths, _QUANTILES, method="nearest")
        named = {f"{share:.0%}": int(value) for share, value in zip(_QUANTILES, quantiles, strict=True)}
        return int((lengths > room).sum()), kept / max(1, total), named


class _Writer:
    """Encodes examples and appends them to the files of a folder, a chunk at a time."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, max_source_tokens: int, max_target_tokens: int) -> None:
        folder.mkdir()
        self._folder = folder
        self._encoder = RowEncoder(tokenizer, num_threads=os.cpu_count() or 1)
        self._source = _Lengths(max_source_tokens)
        self._target = _Lengths(max_target_tokens)
        self._id_hashes: list[npt.NDArray[np.uint64]] = []
        self._unshortened = 0
        self._checksums: dict[str, Checksum] = {}

    def write(self, split: TextSplit, cache_dir: Path) -> None:
        examples = iter(split)
        with tqdm(desc=f"encoding {split.name}", unit=" rows", delay=1, disable=None, leave=False) as bar:
            while chunk := list(islice(examples, _CHUNK)):
                sources = self._encode([example.document for example in chunk], self._source)
                targets = self._encode([example.summary for example in chunk], self._target)
                ids = [np.frombuffer(example.id.encode(errors="surrogatepass"), dtype="|u1") for example in chunk]
                hashes = np.array([_text_hash(example.document) for example in chunk], dtype="<u8")
                self._id_hashes.append(np.array([_text_hash(example.id) for example in chunk], dtype="<u8"))
                self._unshortened += sum(example.document == example.summary for example in chunk)
                with _explaining_disk_errors(cache_dir):
                    for name, rows in (("source", sources), ("target", targets), ("id", ids)):
                        self._append(f"{name}.values", np.concatenate(rows))
                        self._append(f"{name}.lengths", np.array([len(row) for row in rows], dtype="<i4"))
                    self._append(HASHES_FILE, hashes)
                bar.update(len(chunk))
        if not self._source.chunks:
            raise UserError(f"the {split.name} split is empty but must have rows; check data.path and data.limit")

    def finish(self, fingerprint: str, reading: ReadReport) -> None:
        """Write ``meta.json`` and make everything durable."""
        sources_truncated, source_kept, source_quantiles = self._source.summary()
        targets_truncated, target_kept, target_quantiles = self._target.summary()
        report = EncodingReport(
            rows=sum(map(len, self._source.chunks)),
            rows_skipped=reading.reasons,
            sources_truncated=sources_truncated,
            targets_truncated=targets_truncated,
            source_tokens_kept=source_kept,
            target_tokens_kept=target_kept,
            source_length_quantiles=source_quantiles,
            target_length_quantiles=target_quantiles,
            repeated_ids=sum(map(len, self._id_hashes)) - len(np.unique(np.concatenate(self._id_hashes))),
            unshortened=self._unshortened,
        )
        write_meta(self._folder, fingerprint, report, self._checksums)
        for path in self._folder.iterdir():
            sync(path)
        sync(self._folder)

    def _encode(self, texts: Sequence[str], lengths: _Lengths) -> list[npt.NDArray[np.int32]]:
        """Ids of each text, cut to leave room for the end token, which every row gets."""
        encoded = self._encoder(texts)
        lengths.chunks.append(np.array([len(ids) for ids in encoded], dtype=np.int32))
        end = np.array([END_ID], dtype="<i4")
        return [np.concatenate((ids[: lengths.maximum - 1], end)) for ids in encoded]

    def _append(self, name: str, values: npt.NDArray[Any]) -> None:
        content = values.tobytes()
        with (self._folder / name).open("ab") as file:
            file.write(content)
        self._checksums[name] = self._checksums.get(name, Checksum()).after(content)


def _fingerprint(split: TextSplit, tokenizer: Tokenizer, max_source_tokens: int, max_target_tokens: int) -> str:
    parts = [
        _FORMAT_VERSION,
        split.content_hash(),
        tokenizer.fingerprint,
        max_source_tokens,
        max_target_tokens,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _text_hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _open_cached(folder: Path, on_damage: Callable[[Exception], object] = lambda error: None) -> EncodedDataset | None:
    """The dataset of ``folder``; None if there is none, or a damaged one."""
    if not folder.exists():
        return None
    try:
        verify(folder)
        return EncodedDataset(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        on_damage(error)
        return None


def _remove_damaged(folder: Path, cache_dir: Path, error: Exception) -> None:
    """What cannot be removed would be taken for whole: that is an error."""
    logger.warning("the encoded cache %s is damaged (%s): encoding again", folder, error)
    with _explaining_disk_errors(cache_dir), suppress(FileNotFoundError):  # where there are no locks, gone meanwhile
        remove_folder(folder)


def _publish(writing: Path, folder: Path) -> None:
    """Give the finished folder its name; if another process was faster, its folder is just as good."""
    try:
        writing.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    sync(folder.parent)


@contextmanager
def _explaining_disk_errors(cache_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"data.cache_dir ({cache_dir}) cannot be written ({error.strerror}); free some space, or set another folder"
        ) from error
