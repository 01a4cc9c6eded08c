"""The files of a split are found by its name, and never guessed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from summarizer.data.example import Example
from summarizer.data.sources import Split
from summarizer.errors import UserError

Numbered = Callable[..., list[dict[str, Any]]]
WriteRows = Callable[[Path, list[dict[str, Any]]], Path]
OpenLocal = Callable[..., Split]


def ids(split: Split) -> list[str]:
    return [example.id for example in split]


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("alias", ["validation", "valid", "val", "dev"])
def test_validation_goes_by_all_its_names(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal, alias: str
) -> None:
    write_rows(tmp_path / f"{alias}.jsonl", numbered(1))
    assert ids(open_local(tmp_path, "validation")) == ["1"]


def test_shards_are_read_in_order_and_none_may_be_missing(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal
) -> None:
    for shard in (2, 0, 1):
        write_rows(tmp_path / f"train-0000{shard}-of-00003.parquet", numbered(2 * shard, 2 * shard + 1))
    assert ids(open_local(tmp_path)) == ["0", "1", "2", "3", "4", "5"]
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(UserError, match="2 of 3 shards"):
        ids(open_local(tmp_path))


def test_a_split_under_a_name_of_its_own_is_found(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal
) -> None:
    write_rows(tmp_path / "test-hard.jsonl", numbered(4))
    split = open_local(tmp_path, "test", test_split="test-hard")
    assert ids(split) == ["4"]


@pytest.mark.parametrize(("documents", "summaries"), [("source", "target"), ("document", "summary")])
def test_paired_text_is_one_example_a_line(
    tmp_path: Path, open_local: OpenLocal, documents: str, summaries: str
) -> None:
    (tmp_path / f"test.{documents}").write_text("d1\nd2\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"test.{summaries} beside it"):
        ids(open_local(tmp_path, "test"))
    (tmp_path / f"test.{summaries}").write_text("s1\ns2\n", encoding="utf-8")
    expected = [Example("test-1", "d1", "s1"), Example("test-2", "d2", "s2")]
    for path in (tmp_path, tmp_path / f"test.{documents}", tmp_path / f"test.{summaries}"):
        assert list(open_local(path, "test")) == expected


def test_a_missing_split_lists_what_is_there(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal
) -> None:
    write_rows(tmp_path / "training.jsonl", numbered(1))
    with pytest.raises(UserError, match=r'no file for split "train" .*holds training\.jsonl') as error:
        ids(open_local(tmp_path))
    assert "train.jsonl" in one_line(error)


def test_two_files_for_one_split_are_not_guessed_between(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal
) -> None:
    write_rows(tmp_path / "val.jsonl", numbered(1))
    write_rows(tmp_path / "dev.jsonl", numbered(2))
    with pytest.raises(UserError, match=r"dev\.jsonl, val\.jsonl; keep one"):
        ids(open_local(tmp_path, "validation"))


def test_a_single_file_is_the_split_it_is_named_for_or_else_the_test_split(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal
) -> None:
    mine = write_rows(tmp_path / "articles.jsonl", numbered(1))
    assert ids(open_local(mine, "test")) == ["1"]
    with pytest.raises(UserError, match='no split "train": a single file is the test split'):
        ids(open_local(mine, "train"))
    train = write_rows(tmp_path / "train.jsonl", numbered(2))
    assert ids(open_local(train, "train")) == ["2"]
    with pytest.raises(UserError, match='no split "test": by its name it is train'):
        ids(open_local(train, "test"))


@pytest.mark.parametrize("name", ["nowhere", "notes.txt"])
def test_a_path_that_cannot_be_data_says_what_can(tmp_path: Path, open_local: OpenLocal, name: str) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"data\.path .*jsonl") as error:
        ids(open_local(tmp_path / name))
    one_line(error)


def test_a_relative_path_is_found_beside_the_package_from_anywhere(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("summarizer.data.files.REPOSITORY", tmp_path)
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "train.jsonl", numbered(1))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert ids(open_local(Path("data"))) == ["1"]


def test_a_jsonl_without_the_column_names_the_key_to_set(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal
) -> None:
    write_rows(tmp_path / "train.jsonl", numbered(1))
    with pytest.raises(UserError, match=r'"article" among id, document, summary; set data\.document_column') as e:
        ids(open_local(tmp_path, document_column="article"))
    one_line(e)


def test_a_home_of_nobody_is_no_folder(open_local: OpenLocal) -> None:
    with pytest.raises(UserError, match=r"data\.path \(~nobody-of-this-name/data\) does not exist"):
        open_local("~nobody-of-this-name/data")
