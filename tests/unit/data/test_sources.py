"""Splits: found by name, validated row by row, repeatable, and hashed by content."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from summarizer.data.config import BadRowPolicy, DataConfig, DataLimit
from summarizer.data.example import Example
from summarizer.data.hub import HubRows
from summarizer.data.readers import Columns
from summarizer.data.sources import Split, open_split
from summarizer.errors import UserError

REPOSITORY = Path(__file__).parents[3]
RECIPES = sorted((REPOSITORY / "configs" / "data").glob("*.yaml"))
GOOD = {"id": "1", "document": "A long report.", "summary": "Short.\nVery."}


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": n, "document": f"document {n}", "summary": f"summary {n}"} for n in numbers]


def local(path: Path, **settings: Any) -> DataConfig:
    config = DataConfig(path=str(path), **settings)
    config.validate()
    return config


def ids(path: Path, split: str = "train", **settings: Any) -> list[str]:
    return [example.id for example in open_split(local(path, **settings), split)]


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def hub_dataset(folder: Path, rows: list[dict[str, Any]]) -> Any:
    import datasets

    file = write_parquet(folder / "rows.parquet", rows)
    return datasets.load_dataset("parquet", data_files=str(file), split="train", cache_dir=str(folder / "cache"))


# --- rows -----------------------------------------------------------------------------------------


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
    tmp_path: Path, fault: dict[str, Any], reason: str
) -> None:
    write_jsonl(tmp_path / "train.jsonl", [GOOD, GOOD | fault, GOOD | {"id": "3"}])
    with pytest.raises(UserError) as error:
        ids(tmp_path)
    assert f"train.jsonl:2: {reason}; " in one_line(error)

    split = open_split(local(tmp_path, on_bad_row=BadRowPolicy.skip), "train")
    assert [example.id for example in split] == ["1", "3"]
    assert (split.report.rows_read, split.report.rows_skipped) == (3, 1)
    assert split.report.reasons == {reason: 1}


@pytest.mark.parametrize(("column", "value"), [("document", None), ("summary", ""), ("document", " ")])
def test_parquet_and_the_hub_judge_values_as_jsonl_does(tmp_path: Path, column: str, value: str | None) -> None:
    rows: list[dict[str, Any]] = [GOOD, GOOD | {column: value}]
    write_parquet(tmp_path / "train.parquet", rows)
    skipping = open_split(local(tmp_path, on_bad_row=BadRowPolicy.skip), "train")
    assert len(list(skipping)) == skipping.report.rows_skipped == 1
    columns = Columns("document", "summary", "id")
    hub = HubRows(hub_dataset(tmp_path, rows), columns, "owner/name train")
    with pytest.raises(UserError, match=f"owner/name train:2: {column} is "):
        list(Split("train", hub, columns, on_bad_row=BadRowPolicy.error, limit=None))


def test_rows_the_reader_rejects_follow_the_policy_too(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(b"document,summary\na,b\nc\n\xff,d\n ,e\n")
    with pytest.raises(UserError, match=r"train\.csv:3: wrong number of fields .*on_bad_row=skip"):
        ids(tmp_path)
    split = open_split(local(tmp_path, on_bad_row=BadRowPolicy.skip), "train")
    assert len(list(split)) == 1
    assert str(split.report) == (
        "4 rows read, 3 skipped (document is empty: 1, invalid UTF-8: 1, wrong number of fields: 1)"
    )


def test_outer_space_goes_and_inner_newlines_stay(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [{"document": " A: hi\r\nB: ho\r\n", "summary": "\n One.\nTwo. "}])
    assert list(open_split(local(tmp_path), "train")) == [Example("train-1", "A: hi\nB: ho", "One.\nTwo.")]


def test_a_row_without_id_is_named_by_its_number(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [GOOD | {"id": 7}, GOOD | {"id": None}, GOOD | {"id": ""}])
    assert ids(tmp_path) == ["7", "train-2", "train-3"]
    assert ids(tmp_path, id_column=None) == ["train-1", "train-2", "train-3"]
    assert ids(tmp_path, id_column="key") == ["train-1", "train-2", "train-3"]


def test_a_split_without_one_good_row_is_an_error_that_counts(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [GOOD | {"document": ""}] * 3)
    with pytest.raises(UserError, match=r"3 rows read, 3 skipped .document is empty: 3") as error:
        ids(tmp_path, on_bad_row=BadRowPolicy.skip)
    one_line(error)
    for name in ("validation.jsonl", "test.csv"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(UserError, match="at least one usable row"):
            ids(tmp_path, name.partition(".")[0])


def test_garbage_under_a_text_name_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(bytes(range(128, 256)) * 50)
    for policy in BadRowPolicy:
        with pytest.raises(UserError, match="invalid UTF-8") as error:
            ids(tmp_path, on_bad_row=policy)
        one_line(error)


# --- limit, repetition, streaming -----------------------------------------------------------------


def test_the_limit_counts_good_rows_of_its_own_split(tmp_path: Path) -> None:
    rows = [GOOD | {"summary": ""}, *numbered(1, 2, 3)]
    write_jsonl(tmp_path / "train.jsonl", rows)
    write_jsonl(tmp_path / "test.jsonl", rows)
    config = local(tmp_path, on_bad_row=BadRowPolicy.skip, limit=DataLimit(train=2))
    train = open_split(config, "train")
    assert [example.id for example in train] == ["1", "2"]
    assert (train.report.rows_read, train.report.rows_skipped) == (3, 1)
    assert len(list(open_split(config, "test"))) == 3


def test_iterating_again_gives_the_same_examples_and_a_fresh_report(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [*numbered(1, 2), GOOD | {"summary": ""}])
    split = open_split(local(tmp_path, on_bad_row=BadRowPolicy.skip), "train")
    next(iter(split))  # one abandoned pass must leave no trace
    first = list(split)
    report = split.report
    assert list(split) == first
    assert split.report == report
    assert report.rows_read == 3


def test_examples_come_before_the_file_is_read_to_its_end(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in numbered(*range(20_000)))
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(lines.encode())[:-100])
    split = open_split(local(tmp_path, limit=DataLimit(train=10)), "train")
    assert len(list(split)) == 10  # the damaged end was never reached


# --- files by the name of the split ---------------------------------------------------------------


@pytest.mark.parametrize("alias", ["validation", "valid", "val", "dev"])
def test_validation_goes_by_all_its_names(tmp_path: Path, alias: str) -> None:
    write_jsonl(tmp_path / f"{alias}.jsonl", numbered(1))
    assert ids(tmp_path, "validation") == ["1"]


def test_shards_are_read_in_order_and_none_may_be_missing(tmp_path: Path) -> None:
    for shard in (2, 0, 1):
        write_parquet(tmp_path / f"train-0000{shard}-of-00003.parquet", numbered(2 * shard, 2 * shard + 1))
    assert ids(tmp_path) == ["0", "1", "2", "3", "4", "5"]
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(UserError, match="2 of 3 shards"):
        ids(tmp_path)


def test_a_split_under_a_name_of_its_own_is_found(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "test-hard.jsonl", numbered(4))
    split = open_split(local(tmp_path, test_split="test-hard"), "test")
    assert [example.id for example in split] == ["4"]


@pytest.mark.parametrize(("documents", "summaries"), [("source", "target"), ("document", "summary")])
def test_paired_text_is_one_example_a_line(tmp_path: Path, documents: str, summaries: str) -> None:
    (tmp_path / f"test.{documents}").write_text("d1\nd2\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"test.{summaries} beside it"):
        ids(tmp_path, "test")
    (tmp_path / f"test.{summaries}").write_text("s1\ns2\n", encoding="utf-8")
    expected = [Example("test-1", "d1", "s1"), Example("test-2", "d2", "s2")]
    for path in (tmp_path, tmp_path / f"test.{documents}", tmp_path / f"test.{summaries}"):
        assert list(open_split(local(path), "test")) == expected


def test_a_missing_split_lists_what_is_there(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "training.jsonl", numbered(1))
    with pytest.raises(UserError, match=r'no file for split "train" .*holds training\.jsonl') as error:
        ids(tmp_path)
    assert "train.jsonl" in one_line(error)


def test_two_files_for_one_split_are_not_guessed_between(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "val.jsonl", numbered(1))
    write_jsonl(tmp_path / "dev.jsonl", numbered(2))
    with pytest.raises(UserError, match=r"dev\.jsonl, val\.jsonl; keep one"):
        ids(tmp_path, "validation")


def test_a_single_file_is_the_split_it_is_named_for_or_else_the_test_split(tmp_path: Path) -> None:
    mine = write_jsonl(tmp_path / "articles.jsonl", numbered(1))
    assert ids(mine, "test") == ["1"]
    with pytest.raises(UserError, match='no split "train": a single file is the test split'):
        ids(mine, "train")
    train = write_jsonl(tmp_path / "train.jsonl", numbered(2))
    assert ids(train, "train") == ["2"]
    with pytest.raises(UserError, match='no split "test": by its name it is train'):
        ids(train, "test")


@pytest.mark.parametrize("name", ["nowhere", "notes.txt"])
def test_a_path_that_cannot_be_data_says_what_can(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"data\.path .*jsonl") as error:
        ids(tmp_path / name)
    one_line(error)


def test_a_relative_path_is_found_beside_the_package_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("summarizer.data.files.REPOSITORY", tmp_path)
    (tmp_path / "data").mkdir()
    write_jsonl(tmp_path / "data" / "train.jsonl", numbered(1))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert ids(Path("data")) == ["1"]


def test_a_jsonl_without_the_column_names_the_key_to_set(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", numbered(1))
    with pytest.raises(UserError, match=r'"article" among id, document, summary; set data\.document_column') as e:
        ids(tmp_path, document_column="article")
    one_line(e)


# --- the Hub --------------------------------------------------------------------------------------


def test_the_hub_and_local_files_give_equal_examples(tmp_path: Path) -> None:
    rows = [*numbered(1, 2), GOOD | {"id": 3, "document": "NA"}]
    write_jsonl(tmp_path / "train.jsonl", rows)
    columns = Columns("document", "summary", "id")
    hub = HubRows(hub_dataset(tmp_path, rows), columns, "owner/name train")
    split = Split("train", hub, columns, on_bad_row=BadRowPolicy.error, limit=None)
    assert list(split) == list(open_split(local(tmp_path), "train"))


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


def test_a_hub_data_set_without_the_column_names_the_key_to_set(tmp_path: Path) -> None:
    dataset = hub_dataset(tmp_path, numbered(1))
    with pytest.raises(UserError, match=r'no column "article" among .*set data\.document_column') as error:
        HubRows(dataset, Columns("article", "summary", "id"), "owner/name train")
    one_line(error)


def test_the_hash_of_a_hub_split_follows_its_values(tmp_path: Path) -> None:
    columns = Columns("document", "summary", "id")

    def content(name: str, rows: list[dict[str, Any]]) -> str:
        (tmp_path / name).mkdir()
        return HubRows(hub_dataset(tmp_path / name, rows), columns, name).content_hash()

    same = content("one", numbered(1, 2))
    assert content("two", numbered(1, 2)) == same
    assert content("three", numbered(1, 3)) != same
    moved = [GOOD | {"document": "ab", "summary": "c"}, GOOD | {"document": "a", "summary": "bc"}]
    assert content("four", moved[:1]) != content("five", moved[1:])


# --- content hash ---------------------------------------------------------------------------------


def content_hash(path: Path, split: str = "train", **settings: Any) -> str:
    return open_split(local(path, **settings), split).content_hash()


def test_the_content_hash_ignores_dates_and_folders(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        write_jsonl(tmp_path / folder / "train.jsonl", numbered(1, 2))
    os.utime(tmp_path / "there" / "train.jsonl", (0, 0))
    assert content_hash(tmp_path / "here") == content_hash(tmp_path / "there")


def test_the_content_hash_follows_content_and_every_rule_of_reading(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "train.jsonl", numbered(1, 2))
    hashes = [
        content_hash(tmp_path),
        content_hash(tmp_path, summary_column="title"),
        content_hash(tmp_path, id_column=None),
        content_hash(tmp_path, limit=DataLimit(train=1)),
        content_hash(tmp_path, on_bad_row=BadRowPolicy.skip),
    ]
    write_jsonl(file, numbered(1, 3))
    hashes.append(content_hash(tmp_path))
    assert len(set(hashes)) == len(hashes)


def test_the_content_hash_tells_where_a_shard_ends(tmp_path: Path) -> None:
    for folder, (first, second) in {"one": ("ab", "c"), "two": ("a", "bc")}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train-0-of-2.csv").write_text(first, encoding="utf-8")
        (tmp_path / folder / "train-1-of-2.csv").write_text(second, encoding="utf-8")
    assert content_hash(tmp_path / "one") != content_hash(tmp_path / "two")


# --- configuration --------------------------------------------------------------------------------


def break_limit(config: DataConfig) -> None:
    config.limit.validation = 0


@pytest.mark.parametrize(
    ("breakage", "named"),
    [
        (lambda config: setattr(config, "path", None), "data.hub_id and data.path"),
        (lambda config: setattr(config, "document_column", ""), "data.document_column"),
        (lambda config: setattr(config, "summary_column", "document"), "data.summary_column (document)"),
        (lambda config: setattr(config, "max_source_tokens", 0), "data.max_source_tokens (0)"),
        (lambda config: setattr(config, "max_target_tokens", -3), "data.max_target_tokens (-3)"),
        (lambda config: setattr(config, "test_split", ""), "data.test_split"),
        (lambda config: setattr(config, "cache_dir", ""), "data.cache_dir"),
        (break_limit, "data.limit.validation (0)"),
        (lambda config: setattr(config.batching, "max_tokens", 0), "data.batching.max_tokens (0)"),
    ],
)
def test_a_setting_that_cannot_work_is_named(breakage: Callable[[DataConfig], None], named: str) -> None:
    config = DataConfig(path="somewhere")
    config.validate()
    breakage(config)
    with pytest.raises(UserError) as error:
        config.validate()
    assert named in one_line(error)
    assert "; " in str(error.value)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_fits_the_schema_and_is_whole_or_says_what_to_give(recipe: Path) -> None:
    assert not recipe.read_text(encoding="utf-8").startswith("# @package")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), OmegaConf.load(recipe)))
    assert isinstance(config, DataConfig)
    assert config.name == recipe.stem
    if recipe.stem not in ("hub", "local"):
        config.validate()
        return
    with pytest.raises(UserError, match=r"data\.path=<folder or file>"):
        config.validate()
    config.path = "somewhere"
    if recipe.stem == "hub":
        with pytest.raises(UserError, match=r"data\.document_column=<column>"):
            config.validate()


def test_the_bad_row_policy_can_be_written_in_lower_case() -> None:
    config = OmegaConf.structured(DataConfig)
    config.on_bad_row = "skip"
    assert config.on_bad_row is BadRowPolicy.skip


def test_open_split_knows_three_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be one of train, validation, test"):
        open_split(local(tmp_path), "dev")


@pytest.mark.skipif("SUMMARIZER_DATA" not in os.environ, reason="set SUMMARIZER_DATA")
def test_the_recipe_of_the_hub_reads_real_articles_from_disk() -> None:
    recipe = OmegaConf.load(REPOSITORY / "configs" / "data" / "cnn_dailymail.yaml")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), recipe))
    assert isinstance(config, DataConfig)
    config.path = str(Path(os.environ["SUMMARIZER_DATA"]) / "cnn_dailymail")
    config.limit.test = 50
    examples = list(open_split(config, "test"))
    assert len({example.id for example in examples}) == 50
    assert all(len(example.document) > len(example.summary) > 0 for example in examples)
    assert any("\n" in example.summary for example in examples)
