"""A data set of the Hub gives what the same rows in local files give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from summarizer.data.config import BadRowPolicy, DataConfig
from summarizer.data.example import Example
from summarizer.data.hub import HubRows
from summarizer.data.readers import Columns
from summarizer.data.sources import Split, open_split
from summarizer.errors import UserError

Numbered = Callable[..., list[dict[str, Any]]]
WriteRows = Callable[[Path, list[dict[str, Any]]], Path]
OpenLocal = Callable[..., Split]

GOOD = {"id": "1", "document": "A long report.", "summary": "Short.\nVery."}
COLUMNS = Columns("document", "summary", "id")


def hub_dataset(folder: Path, rows: list[dict[str, Any]]) -> Any:
    import datasets

    file = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    return datasets.load_dataset("parquet", data_files=str(file), split="train", cache_dir=str(folder / "cache"))


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_hub_and_local_files_give_equal_examples(
    tmp_path: Path, write_rows: WriteRows, numbered: Numbered, open_local: OpenLocal
) -> None:
    rows = [*numbered(1, 2), GOOD | {"id": 3, "document": "NA"}]
    write_rows(tmp_path / "train.jsonl", rows)
    hub = HubRows(hub_dataset(tmp_path, rows), COLUMNS, "owner/name train")
    split = Split("train", hub, COLUMNS, on_bad_row=BadRowPolicy.error, limit=None)
    assert list(split) == list(open_local(tmp_path))


@pytest.mark.parametrize(("column", "value"), [("document", None), ("summary", ""), ("document", " ")])
def test_parquet_and_the_hub_judge_values_as_jsonl_does(
    tmp_path: Path, write_rows: WriteRows, open_local: OpenLocal, column: str, value: str | None
) -> None:
    rows: list[dict[str, Any]] = [GOOD, GOOD | {column: value}]
    write_rows(tmp_path / "train.parquet", rows)
    skipping = open_local(tmp_path, on_bad_row=BadRowPolicy.skip)
    assert len(list(skipping)) == skipping.report.rows_skipped == 1
    hub = HubRows(hub_dataset(tmp_path, rows), COLUMNS, "owner/name train")
    with pytest.raises(UserError, match=f"owner/name train:2: {column} is "):
        list(Split("train", hub, COLUMNS, on_bad_row=BadRowPolicy.error, limit=None))


def test_open_split_loads_from_the_hub_and_keeps_csv_text_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.csv").write_text("id,dialogue,summary\n9,NA,null\n", encoding="utf-8")
    config = DataConfig(hub_id=str(source), document_column="dialogue", hub_is_csv=True)
    assert list(open_split(config, "train")) == [Example("9", "NA", "null")]
    with pytest.raises(UserError, match=r'cannot load split "test" .*HF_HOME.*data\.path') as error:
        open_split(config, "test")
    one_line(error)


def test_a_hub_data_set_without_the_column_names_the_key_to_set(tmp_path: Path, numbered: Numbered) -> None:
    dataset = hub_dataset(tmp_path, numbered(1))
    with pytest.raises(UserError, match=r'no column "article" among .*set data\.document_column') as error:
        HubRows(dataset, Columns("article", "summary", "id"), "owner/name train")
    one_line(error)


def test_the_hash_of_a_hub_split_follows_its_values(tmp_path: Path, numbered: Numbered) -> None:
    def content(name: str, rows: list[dict[str, Any]]) -> str:
        (tmp_path / name).mkdir()
        return HubRows(hub_dataset(tmp_path / name, rows), COLUMNS, name).content_hash()

    same = content("one", numbered(1, 2))
    assert content("two", numbered(1, 2)) == same
    assert content("three", numbered(1, 3)) != same
    moved = [GOOD | {"document": "ab", "summary": "c"}, GOOD | {"document": "a", "summary": "bc"}]
    assert content("four", moved[:1]) != content("five", moved[1:])
