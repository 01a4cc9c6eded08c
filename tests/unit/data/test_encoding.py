from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from summarizer.data import encoding
from summarizer.data.encoded import EncodedDataset, count_shared_documents
from summarizer.data.encoding import encode_split
from summarizer.data.example import Example
from summarizer.data.sources import ReadReport
from summarizer.errors import UserError
from summarizer.tokenizer import END_ID, Tokenizer, TokenizerConfig

EXAMPLES = [
    Example(f"id-{i}-é", f"document {i} " + f"word{i % 7} " * (3 * i), f"summary {i}.\nsecond{' x' * i}")
    for i in range(20)
]
TEXTS = [text for example in EXAMPLES for text in (example.document, example.summary)]
TOKENIZER = Tokenizer.train(TEXTS, TokenizerConfig(vocab_size=300))
MAX_SOURCE, MAX_TARGET = 24, 20


@dataclass
class FakeSplit:
    examples: Sequence[Example]
    name: str = "train"
    fail_after: int | None = None
    report: ReadReport = field(default_factory=lambda: ReadReport(rows_read=9, rows_skipped=2, reasons={"is null": 2}))

    def __iter__(self) -> Iterator[Example]:
        for i, example in enumerate(self.examples):
            if i == self.fail_after:
                raise KeyboardInterrupt
            yield example

    def content_hash(self) -> str:
        return hashlib.sha256(repr(self.examples).encode()).hexdigest()


class CountingTokenizer(Tokenizer):
    texts_encoded = 0

    def encode_batch(self, texts: Sequence[str], num_threads: int = 1) -> list[list[int]]:
        self.texts_encoded += len(texts)
        return super().encode_batch(texts, num_threads)

    def encode_words(self, words: Sequence[str], num_threads: int = 1) -> list[list[int]]:
        self.texts_encoded += len(words)
        return super().encode_words(words, num_threads)


def encode(cache: Path, split: FakeSplit | None = None, **changes: Any) -> EncodedDataset:
    settings: dict[str, Any] = {
        "max_source_tokens": MAX_SOURCE,
        "max_target_tokens": MAX_TARGET,
        "cache_dir": cache,
    }
    tokenizer = changes.pop("tokenizer", TOKENIZER)
    return encode_split(split or FakeSplit(EXAMPLES), tokenizer, **(settings | changes))


def counting() -> CountingTokenizer:
    tokenizer = pickle.loads(pickle.dumps(TOKENIZER))
    tokenizer.__class__ = CountingTokenizer
    return tokenizer  # type: ignore[no-any-return]


def contents(dataset: EncodedDataset) -> list[tuple[str, list[int], list[int]]]:
    rows = (dataset[i] for i in range(len(dataset)))
    return [(row.id, row.source.tolist(), row.target.tolist()) for row in rows]


def expected_contents() -> list[tuple[str, list[int], list[int]]]:
    return [
        (
            example.id,
            [*TOKENIZER.encode(example.document)[: MAX_SOURCE - 1], END_ID],
            [*TOKENIZER.encode(example.summary)[: MAX_TARGET - 1], END_ID],
        )
        for example in EXAMPLES
    ]


def folders(cache: Path) -> list[str]:
    return [path.name for path in (cache / "encoded").iterdir()]


def cached_files(cache: Path) -> list[Path]:
    return [path for path in sorted(cache.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("chunk", [1, 3, 20, 1000])
def test_rows_are_the_truncated_texts_with_an_end_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(encoding, "_CHUNK", chunk)
    dataset = encode(tmp_path)
    assert contents(dataset) == expected_contents()
    assert dataset.source_lengths.tolist() == [len(source) for _, source, _ in expected_contents()]
    assert dataset.target_lengths.tolist() == [len(target) for _, _, target in expected_contents()]
    assert dataset.source_lengths.max() == MAX_SOURCE
    assert dataset[0].source.dtype == dataset[0].target.dtype == np.int32


def test_a_text_that_just_fits_is_not_truncated(tmp_path: Path) -> None:
    ids = TOKENIZER.encode(EXAMPLES[5].document)
    split = FakeSplit([EXAMPLES[5]])
    fits = encode(tmp_path, split, max_source_tokens=len(ids) + 1)
    assert fits[0].source.tolist() == [*ids, END_ID]
    assert fits.report.sources_truncated == 0
    assert encode(tmp_path, split, max_source_tokens=len(ids)).report.sources_truncated == 1


def test_the_report_counts_what_truncation_took_away(tmp_path: Path) -> None:
    report = encode(tmp_path).report
    lengths = np.array([len(TOKENIZER.encode(example.document)) for example in EXAMPLES])
    assert report.rows == len(EXAMPLES)
    assert report.rows_skipped == {"is null": 2}
    assert report.sources_truncated == (lengths > MAX_SOURCE - 1).sum() > 0
    assert report.source_tokens_kept == np.minimum(lengths, MAX_SOURCE - 1).sum() / lengths.sum()
    assert report.source_length_quantiles["0%"] == lengths.min()
    assert report.source_length_quantiles["100%"] == lengths.max()
    assert 0 < report.targets_truncated < len(EXAMPLES)


def test_indices_outside_the_dataset_are_refused(tmp_path: Path) -> None:
    dataset = encode(tmp_path)
    for index in (-1, len(dataset)):
        with pytest.raises(IndexError):
            dataset[index]


def test_a_second_run_encodes_nothing_and_reads_the_same(tmp_path: Path) -> None:
    first = encode(tmp_path)
    tokenizer = counting()
    second = encode(tmp_path, tokenizer=tokenizer)
    assert tokenizer.texts_encoded == 0
    assert contents(second) == contents(first)
    assert second.report == first.report
    assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"max_source_tokens": MAX_SOURCE - 1},
        {"max_target_tokens": MAX_TARGET + 1},
        {"split": FakeSplit(EXAMPLES[:-1])},
        {"tokenizer": Tokenizer.train(TEXTS, TokenizerConfig(vocab_size=310))},
    ],
    ids=["source length", "target length", "content", "tokenizer"],
)
def test_what_the_rows_depend_on_is_never_read_from_a_stale_cache(tmp_path: Path, changes: Any) -> None:
    before = encode(tmp_path)
    after = encode(tmp_path, **changes)
    assert after.fingerprint != before.fingerprint
    assert contents(after) == contents(encode(tmp_path / "fresh", **changes)) != contents(before)


@pytest.mark.parametrize("fail_after", [0, 1, 15])
def test_a_run_stopped_half_way_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_after: int
) -> None:
    monkeypatch.setattr(encoding, "_CHUNK", 2)
    with pytest.raises(KeyboardInterrupt):
        encode(tmp_path, FakeSplit(EXAMPLES, fail_after=fail_after))
    assert folders(tmp_path) == []
    assert contents(encode(tmp_path)) == expected_contents()


def test_a_killed_run_is_not_mistaken_for_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(writing: Path, folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(encoding, "_publish", killed)
        with pytest.raises(KeyboardInterrupt):
            encode(tmp_path)
    tokenizer = counting()
    assert contents(encode(tmp_path, tokenizer=tokenizer)) == expected_contents()
    assert tokenizer.texts_encoded > 0


NUM_FILES = 8


@pytest.mark.parametrize("number", range(NUM_FILES))
@pytest.mark.parametrize("damage", ["cut", "missing", "flipped bit"])
def test_a_damaged_file_is_noticed_and_the_cache_rebuilt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int, damage: str
) -> None:
    encode(tmp_path)
    files = cached_files(tmp_path)
    assert len(files) == NUM_FILES
    content = files[number].read_bytes()
    if damage == "cut":
        files[number].write_bytes(content[: len(content) // 2])
    elif damage == "flipped bit":
        middle = len(content) // 2
        files[number].write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        files[number].unlink()
    assert contents(encode(tmp_path)) == expected_contents()
    assert "damaged" in caplog.text
    assert files[number].read_bytes() == content


def test_a_damaged_cache_that_cannot_be_removed_is_refused_and_not_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that belongs to somebody else."""
    encode(tmp_path)
    values = next(tmp_path.rglob("source.values"))
    values.write_bytes(values.read_bytes()[::-1])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, ignore_errors=False, **__: None if ignore_errors else refuse())
    with pytest.raises(UserError, match=r"data\.cache_dir .* cannot be written \(Permission denied\)"):
        encode(tmp_path)


def test_who_finds_the_damage_late_leaves_what_another_made_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(tmp_path)
    values = next(tmp_path.rglob("source.values"))
    whole = values.read_bytes()
    values.write_bytes(whole[::-1])

    @contextmanager
    def waited(path: Path) -> Iterator[None]:
        values.write_bytes(whole)  # by the process that was waited for
        yield

    monkeypatch.setattr(encoding, "made_once", waited)
    tokenizer = counting()
    assert contents(encode(tmp_path, tokenizer=tokenizer)) == expected_contents()
    assert tokenizer.texts_encoded == 0


@pytest.mark.parametrize("meta", ["[]", "{}", "null", '{"files": {}}', '{"files": {}, "crc32": 3}', "\x00"])
def test_damaged_metadata_is_noticed(tmp_path: Path, meta: str) -> None:
    encode(tmp_path)
    next(tmp_path.rglob("meta.json")).write_text(meta)
    assert contents(encode(tmp_path)) == expected_contents()


def test_metadata_of_another_cache_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encode(tmp_path)
    encode(tmp_path, max_target_tokens=3)
    own, other = sorted(tmp_path.rglob("meta.json"), key=lambda path: path.parent.name)
    for path in own.parent.iterdir():
        path.write_bytes((other.parent / path.name).read_bytes())
    assert contents(encode(tmp_path)) == expected_contents()
    encode(tmp_path, max_target_tokens=3)
    assert caplog.text.count("is damaged (it is") == 1


def test_losing_the_race_to_another_process_uses_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no locks, so that nobody waited."""
    monkeypatch.setattr(encoding, "made_once", lambda path: nullcontext())
    publish = encoding._publish

    def overtaken(writing: Path, folder: Path) -> None:
        monkeypatch.setattr(encoding, "_publish", publish)
        encode(tmp_path)  # the other process
        publish(writing, folder)

    monkeypatch.setattr(encoding, "_publish", overtaken)
    assert contents(encode(tmp_path)) == expected_contents()
    assert len(folders(tmp_path)) == 1


def test_an_empty_split_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the train split is empty"):
        encode(tmp_path, FakeSplit([]))
    assert folders(tmp_path) == []


def test_a_cache_folder_that_cannot_be_made_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"data\.cache_dir \(.*file\) cannot be written"):
        encode(tmp_path / "file")


def test_pickling_sends_a_path_and_not_the_data(tmp_path: Path) -> None:
    dataset = encode(tmp_path)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 1000
    assert contents(pickle.loads(pickled)) == contents(dataset)


def test_a_relative_cache_folder_is_found_from_another_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(encode(Path("cache")))
    monkeypatch.chdir("/")
    assert contents(pickle.loads(pickled)) == expected_contents()


def test_examples_without_ids_and_texts_are_stored(tmp_path: Path) -> None:
    dataset = encode(tmp_path, FakeSplit([Example("", "", ""), Example("", "a", "b")]))
    assert [id for id, _, _ in contents(dataset)] == ["", ""]
    assert dataset[0].source.tolist() == [END_ID]


def test_documents_shared_by_two_splits_are_counted(tmp_path: Path) -> None:
    test = [Example("other id", EXAMPLES[3].document, "another summary"), Example("new", "unseen text", "s")]
    train, held_out = encode(tmp_path), encode(tmp_path, FakeSplit(test, name="test"))
    assert count_shared_documents(train, held_out) == count_shared_documents(held_out, train) == 1
    assert count_shared_documents(train, train) == len(EXAMPLES)


def test_repeated_ids_and_summaries_that_shorten_nothing_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_CHUNK", 2)
    ids = ["a", "b", "a", "c", "a", ""]
    report = encode(
        tmp_path, FakeSplit([Example(id, f"text {id}", f"text {id}" if id == "a" else "s") for id in ids])
    ).report
    assert (report.repeated_ids, report.unshortened) == (2, 3)
    assert (encode(tmp_path).report.repeated_ids, encode(tmp_path).report.unshortened) == (0, 0)


def test_document_hashes_are_the_same_on_every_machine(tmp_path: Path) -> None:
    dataset = encode(tmp_path)
    digest = hashlib.blake2b(EXAMPLES[0].document.encode(), digest_size=8).digest()
    assert dataset.document_hashes.dtype == np.uint64
    assert int(dataset.document_hashes[0]) == int.from_bytes(digest, "little")


def test_metadata_is_plain_json(tmp_path: Path) -> None:
    report = encode(tmp_path).report
    assert json.loads(next(tmp_path.rglob("meta.json")).read_text())["report"] == vars(report)
