"""A local path and the name of a split in; the files that hold this split, in order, out.

A folder holds files named by split: ``train.jsonl``, ``train.csv`` (either also with ``.gz``) or
``train.parquet``; shards of these as the Hub names them (``train-00000-of-00003.parquet``); or two text files
with one example a line, ``train.source`` + ``train.target`` (or ``train.document`` + ``train.summary``).
``validation`` may also be called ``valid``, ``val`` or ``dev``.

A path to a single file named by split is that split and no other. A single file of any other name is the test
split: enough to evaluate on, and never training and validation at once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from summarizer.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]

_ALIASES = {"validation": ("valid", "val", "dev")}
_SPLIT_NAMES = {"train", "validation", "valid", "val", "dev", "test"}
_SUMMARY_SUFFIX = {"source": "target", "document": "summary"}  # suffix of the documents -> of their summaries
_DOCUMENT_SUFFIX = {summary: document for document, summary in _SUMMARY_SUFFIX.items()}
_FILE_NAME = re.compile(
    r"(?P<split>.+?)(-(?P<index>\d+)-of-(?P<total>\d+))?"
    r"\.(?P<suffix>jsonl|jsonl\.gz|csv|csv\.gz|parquet|source|target|document|summary)"
)
_EXPECTED = "<split>.jsonl, <split>.csv, <split>.parquet or <split>.source with <split>.target"


class FileFormat(Enum):
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    PAIRED = "paired text"


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split."""

    format: FileFormat
    paths: tuple[Path, ...]  # the shards in order; for paired text the documents, then the summaries


def find_split_files(path: str, split: str, *, is_test: bool) -> SplitFiles:
    """Find the files of ``split``; ``is_test`` says that a single file of any name may be this split."""
    place = _resolve(path)
    if place.is_dir():
        return _find_in_folder(place, split)
    return _take_single_file(place, split, is_test)


def _resolve(path: str) -> Path:
    # The bundled sample is configured as `data/sample`, which must be found from every working directory: a
    # relative path that does not exist here is looked up beside the package, in the root of the repository.
    with suppress(RuntimeError):  # ~somebody whom this machine does not know
        given = Path(path).expanduser()
        for candidate in (given, REPOSITORY / given):
            if candidate.exists():
                return candidate
    raise UserError(f"data.path ({path}) does not exist; give a folder or file of {_EXPECTED}")


def _find_in_folder(folder: Path, split: str) -> SplitFiles:
    names = _names_of(split)
    groups: dict[tuple[str, ...], list[re.Match[str]]] = defaultdict(list)
    for file in folder.iterdir():
        match = _FILE_NAME.fullmatch(file.name)
        if match and match["split"] in names and file.is_file():
            groups[_group_of(match)].append(match)
    if not groups:
        raise UserError(
            f'no file for split "{split}" in {folder}, which holds {_listing(folder)};'
            f" name it {_EXPECTED.replace('<split>', split)}"
        )
    if len(groups) > 1:
        files = _join(match.string for group in groups.values() for match in group)
        raise UserError(f'{folder} holds several sets of files for split "{split}": {files}; keep one of them')
    (matches,) = groups.values()
    return _complete(folder, matches)


def _group_of(match: re.Match[str]) -> tuple[str, ...]:
    """Files that agree in this belong together: one set of shards, or one pair."""
    suffix = match["suffix"]
    return match["split"], _DOCUMENT_SUFFIX.get(suffix, suffix), match["total"] or ""


def _complete(folder: Path, matches: list[re.Match[str]]) -> SplitFiles:
    """The files in order, once it is sure that none is missing."""
    first = matches[0]
    if _format_of(first) is FileFormat.PAIRED:
        return _pair(folder / first.string)
    if first["total"] and sorted(int(match["index"]) for match in matches) != list(range(int(first["total"]))):
        raise UserError(
            f"{folder} holds {len(matches)} of {int(first['total'])} shards of {first['split']}:"
            f" {_join(match.string for match in matches)}; add those that are missing"
        )
    matches.sort(key=lambda match: int(match["index"] or 0))
    return SplitFiles(_format_of(first), tuple(folder / match.string for match in matches))


def _pair(file: Path) -> SplitFiles:
    """``file`` is one half of a pair; find the other."""
    suffix = file.suffix[1:]
    documents = file.with_suffix("." + _DOCUMENT_SUFFIX.get(suffix, suffix))
    summaries = documents.with_suffix("." + _SUMMARY_SUFFIX[documents.suffix[1:]])
    for half in (documents, summaries):
        if not half.is_file():
            raise UserError(f"{file} needs {half.name} beside it, which is missing; add it, line by line its pair")
    return SplitFiles(FileFormat.PAIRED, (documents, summaries))


def _take_single_file(file: Path, split: str, is_test: bool) -> SplitFiles:
    match = _FILE_NAME.fullmatch(file.name)
    if match is None:
        raise UserError(f"data.path ({file}) must be a .jsonl, .jsonl.gz, .csv, .csv.gz or .parquet file, or a folder")
    if match["split"] in _SPLIT_NAMES | set(_names_of(split)):
        serves, rule = match["split"] in _names_of(split), f"by its name it is {match['split']}"
    else:
        serves, rule = is_test, "a single file is the test split unless it is named train or validation"
    if not serves:
        raise UserError(
            f'data.path ({file}) has no split "{split}": {rule};'
            f" give a folder that holds {_EXPECTED.replace('<split>', split)}"
        )
    if _format_of(match) is FileFormat.PAIRED:
        return _pair(file)
    return SplitFiles(_format_of(match), (file,))


def _names_of(split: str) -> tuple[str, ...]:
    return (split, *_ALIASES.get(split, ()))


def _format_of(match: re.Match[str]) -> FileFormat:
    suffix = match["suffix"].removesuffix(".gz")
    if suffix in _SUMMARY_SUFFIX or suffix in _DOCUMENT_SUFFIX:
        return FileFormat.PAIRED
    return FileFormat(suffix)


def _listing(folder: Path) -> str:
    return _join(file.name for file in folder.iterdir()) or "nothing"


def _join(names: Iterable[str], most: int = 10) -> str:
    ordered = sorted(names)
    rest = len(ordered) - most
    return ", ".join(ordered[:most]) + (f" and {rest} more" if rest > 0 else "")
