"""Splits: validated row by row, limited, repeatable, and hashed by content."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from summarizer.data.config import BadRowPolicy, DataLimit
from summarizer.data.example import Example
from summarizer.data.sources import Split
from summarizer.errors import UserError

Numbered = Callable[..., list[dict[str, Any]]]
WriteRows = Callable[[Path, list[dict[str, Any]]], Path]
OpenLocal = Callable[..., Split]

GOOD = {"id": "1", "document": "A long report.", "summary": "Short.\nVery."}


def ids(split: Split) -> list[str]:
    return [example.id for example in split]


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"document": None}, "document is null"),
        ({"summary": None}, "summary is null"),
        ({"document": ""}, "document is empty"),
        ({"summary": " \n\t\u00a0"}, "summary is empty"),
        ({"document": 5}, "document is not text but int"),
        ({"summary": ["a"]}, "summary is not text but list"),
        ({"document": "half \ud83d"}, "document has a lone surrogate, which no text may hold"),
        ({"id": True}, "id is not text but bool"),
        ({"id": "\ud83d"}, "id has a lone surrogate, which no text may hold"),
    ],
)
def test_a_bad_value_stops_with_its_place_or_is_skipped_and_counted(
    tmp_path: Path, write_rows: WriteRows, open_local: OpenLocal, fault: dict[str, Any], reason: str
) -> None:
    write_rows(tmp_path / "train.jsonl", [GOOD, GOOD | fault, GOOD | {"id": "3"}])
    with pytest.raises(UserError) as error:
        ids(open_local(tmp_path))
    assert f"train.jsonl:2: {reason}; " in one_line(error)

    split = open_local(tmp_path, on_bad_row=BadRowPolicy.skip)
    assert ids(split) == ["1", "3"]
    assert (split.report.rows_read, split.report.rows_skipped) == (3, 1)
    assert split.report.reasons == {reason: 1}


def test_rows_the_reader_rejects_follow_the_policy_too(tmp_path: Path, open_local: OpenLocal) -> None:
    (tmp_path / "train.csv").write_bytes(b"document,summary\na,b\nc\n\xff,d\n ,e\n")
    with pytest.raises(UserError, match=r"train\.csv:3: wrong number of fields .*on_bad_row=skip"):
        ids(open_local(tmp_path))
    split = open_local(tmp_path, on_bad_row=BadRowPolicy.skip)
    assert len(list(split)) == 1
    assert str(split.report) == (
        "4 rows read, 3 skipped (document is empty: 1, invalid UTF-8: 1, wrong number of fields: 1)"
    )


def test_outer_space_goes_and_inner_newlines_stay(tmp_path: Path, write_rows: WriteRows, open_local: OpenLocal) -> None:
    write_rows(tmp_path / "train.jsonl", [{"document": " A: hi\r\nB: ho\r\n", "summary": "\n One.\nTwo. "}])
    assert list(open_local(tmp_path)) == [Example("train-1", "A: hi\nB: ho", "One.\nTwo.")]


def test_a_row_without_id_is_named_by_its_number(tmp_path: Path, write_rows: WriteRows, open_local: OpenLocal) -> None:
    write_rows(tmp_path / "train.jsonl", [GOOD | {"id": 7}, GOOD | {"id": None}, GOOD | {"id": ""}])
    assert ids(open_local(tmp_path)) == ["7", "train-2", "train-3"]
    assert ids(open_local(tmp_path, id_column=None)) == ["train-1", "train-2", "train-3"]
    assert ids(open_local(tmp_path, id_column="key")) == ["train-1", "train-2", "train-3"]


def test_a_split_without_one_good_row_is_an_error_that_counts(
    tmp_path: Path, write_rows: WriteRows, open_local: OpenLocal
) -> None:
    write_rows(tmp_path / "train.jsonl", [GOOD | {"document": ""}] * 3)
    with pytest.raises(UserError, match=r"3 rows read, 3 skipped .document is empty: 3") as error:
        ids(open_local(tmp_path, on_bad_row=BadRowPolicy.skip))
    one_line(error)
    for name in ("validation.jsonl", "test.csv"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(UserError, match="at least one usable row"):
            ids(open_local(tmp_path, name.partition(".")[0]))


def test_garbage_under_a_text_name_is_one_clear_line(tmp_path: Path, open_local: OpenLocal) -> None:
    (tmp_path / "train.jsonl").write_bytes(bytes(range(128, 256)) * 50)
    for policy in BadRowPolicy:
        with pytest.raises(UserError, match="invalid UTF-8") as error:
            ids(open_local(tmp_path, on_bad_row=policy))
        one_line(error)


def test_open_split_knows_three_splits(tmp_path: Path, open_local: OpenLocal) -> None:
    with pytest.raises(UserError, match="must be one of train, validation, test"):
        open_local(tmp_path, "dev")


def test_the_limit_counts_good_rows_of_its_own_split(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal
) -> None:
    rows = [GOOD | {"summary": ""}, *numbered(1, 2, 3)]
    write_rows(tmp_path / "train.jsonl", rows)
    write_rows(tmp_path / "test.jsonl", rows)
    settings = {"on_bad_row": BadRowPolicy.skip, "limit": DataLimit(train=2)}
    train = open_local(tmp_path, **settings)
    assert ids(train) == ["1", "2"]
    assert (train.report.rows_read, train.report.rows_skipped) == (3, 1)
    assert len(list(open_local(tmp_path, "test", **settings))) == 3


def test_iterating_again_gives_the_same_examples_and_a_fresh_report(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal
) -> None:
    write_rows(tmp_path / "train.jsonl", [*numbered(1, 2), GOOD | {"summary": ""}])
    split = open_local(tmp_path, on_bad_row=BadRowPolicy.skip)
    next(iter(split))  # one abandoned pass must leave no trace
    first = list(split)
    report = split.report
    assert list(split) == first
    assert split.report == report
    assert report.rows_read == 3


def test_examples_come_before_the_file_is_read_to_its_end(
    tmp_path: Path, numbered: Numbered, open_local: OpenLocal
) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in numbered(*range(20_000)))
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(lines.encode())[:-100])
    split = open_local(tmp_path, limit=DataLimit(train=10))
    assert len(list(split)) == 10  # the damaged end was never reached


def test_the_content_hash_ignores_dates_and_folders(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal
) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        write_rows(tmp_path / folder / "train.jsonl", numbered(1, 2))
    os.utime(tmp_path / "there" / "train.jsonl", (0, 0))
    assert open_local(tmp_path / "here").content_hash() == open_local(tmp_path / "there").content_hash()


def test_the_content_hash_follows_content_and_every_rule_of_reading(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal
) -> None:
    file = write_rows(tmp_path / "train.jsonl", numbered(1, 2))
    hashes = [
        open_local(tmp_path).content_hash(),
        open_local(tmp_path, summary_column="title").content_hash(),
        open_local(tmp_path, id_column=None).content_hash(),
        open_local(tmp_path, limit=DataLimit(train=1)).content_hash(),
        open_local(tmp_path, on_bad_row=BadRowPolicy.skip).content_hash(),
    ]
    write_rows(file, numbered(1, 3))
    hashes.append(open_local(tmp_path).content_hash())
    assert len(set(hashes)) == len(hashes)


def test_the_content_hash_tells_where_a_shard_ends(tmp_path: Path, open_local: OpenLocal) -> None:
    for folder, (first, second) in {"one": ("ab", "c"), "two": ("a", "bc")}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train-0-of-2.csv").write_text(first, encoding="utf-8")
        (tmp_path / folder / "train-1-of-2.csv").write_text(second, encoding="utf-8")
    assert open_local(tmp_path / "one").content_hash() != open_local(tmp_path / "two").content_hash()
