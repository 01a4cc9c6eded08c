"""Every format gives the same rows, and each kind of broken row is named with its place and reason."""

import csv
import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from summarizer.data.files import FileFormat, SplitFiles
from summarizer.data.readers import BadRow, Columns, Row, read_rows
from summarizer.errors import UserError

COLUMNS = Columns("document", "summary", "id")
GOOD = [
    {"document": "The harbour reopened on Monday.", "summary": "Harbour open.\nAt last.", "id": "a"},
    {"document": 'Quotes, "commas",\nlines\u2028and é.', "summary": "NA", "id": "b"},
    {"document": "x" * 300_000, "summary": "null", "id": "c"},
]


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="")


def write_gzip(path: Path, rows: list[dict[str, str]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(lines.encode("utf-8")))


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "summary", "document"])
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict[str, str]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)


WRITERS: dict[str, Callable[[Path, list[dict[str, str]]], None]] = {
    "train.jsonl": write_jsonl,
    "train.jsonl.gz": write_gzip,
    "train.csv": write_csv,
    "train.parquet": write_parquet,
}


def read(*paths: Path) -> list[Row | BadRow]:
    return list(read_rows(SplitFiles(format_of(paths[0]), paths), COLUMNS))


def format_of(path: Path) -> FileFormat:
    suffix = path.name.removesuffix(".gz").rpartition(".")[2]
    return FileFormat.PAIRED if suffix == "source" else FileFormat(suffix)


def read_bytes(path: Path, content: bytes) -> list[Row | BadRow]:
    path.write_bytes(content)
    return read(path)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name, GOOD)
    rows = read(tmp_path / name)
    assert [dict(row.values) for row in rows if isinstance(row, Row)] == GOOD


@pytest.mark.parametrize(
    "name",
    [
        "train.jsonl",
        pytest.param(
            "train.csv",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 11), reason="the csv module refuses NUL before Python 3.11"
            ),
        ),
        "train.parquet",
    ],
)
def test_a_nul_byte_is_text(tmp_path: Path, name: str) -> None:
    rows = [{"document": "a\x00b", "summary": "c", "id": "1"}]
    WRITERS[name](tmp_path / name, rows)
    assert [dict(row.values) for row in read(tmp_path / name) if isinstance(row, Row)] == rows


def test_paired_lines_end_at_newlines_only(tmp_path: Path) -> None:
    documents, summaries = tmp_path / "train.source", tmp_path / "train.target"
    documents.write_text("one\u2028still one\ntwo\r\n", encoding="utf-8", newline="")
    summaries.write_text("1\n2", encoding="utf-8")
    rows = [row.values for row in read(documents, summaries) if isinstance(row, Row)]
    assert [(str(row["document"]).strip(), str(row["summary"]).strip()) for row in rows] == [
        ("one\u2028still one", "1"),
        ("two", "2"),
    ]


@pytest.mark.parametrize("name", ["train.jsonl", "train.csv"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name, GOOD)
    plain = read(tmp_path / name)
    assert read_bytes(tmp_path / name, b"\xef\xbb\xbf" + (tmp_path / name).read_bytes()) == plain


def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path: Path) -> None:
    good = json.dumps(GOOD[0]).encode()
    rows = read_bytes(tmp_path / "train.jsonl", b"\n" + good + b"\n  \r\n" + good + b"\n\n")
    assert [row.place.rpartition(":")[2] for row in rows] == ["2", "4"]
    rows = read_bytes(tmp_path / "train.csv", b"document,summary\n\na,b\n\nc,d\n\n")
    assert [row.place.rpartition(":")[2] for row in rows] == ["3", "5"]


@pytest.mark.parametrize(
    ("name", "middle", "reason"),
    [
        ("train.jsonl", b'{"document": "a", "summ', "broken JSON"),
        ("train.jsonl", b"[" * 100_000, "broken JSON"),
        ("train.jsonl", b'["a", "b"]', "not a JSON object"),
        ("train.jsonl", b'{"document": "a\xff", "summary": "b"}', "invalid UTF-8"),
        ("train.jsonl", b'{"document": "a", "text": "b"}', 'no column "summary"'),
        ("train.csv", b"a,b,c", "wrong number of fields"),
        ("train.csv", b"a", "wrong number of fields"),
        ("train.csv", b"a\xff,b", "invalid UTF-8"),
        ("train.csv", b'"a" or not,b', "broken csv"),
    ],
)
def test_a_bad_row_is_named_and_its_neighbours_are_read(tmp_path: Path, name: str, middle: bytes, reason: str) -> None:
    head, good = (b"", b'{"document": "a", "summary": "b"}')
    if name == "train.csv":
        head, good = b"document,summary\n", b"a,b"
    rows = read_bytes(tmp_path / name, head + good + b"\n" + middle + b"\n" + good + b"\n")
    first, bad, last = rows
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert isinstance(bad, BadRow)
    assert bad.reason == reason
    assert bad.place == f"{tmp_path / name}:{3 if head else 2}"


def test_the_place_of_a_csv_row_is_its_first_line(tmp_path: Path) -> None:
    rows = read_bytes(tmp_path / "train.csv", b'document,summary\n"a\nb\nc",d\ne\n')
    assert [row.place.rpartition(":")[2] for row in rows] == ["2", "5"]


def test_a_csv_quote_that_is_never_closed_is_an_error_whatever_the_policy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.csv:3: a quote is opened and never closed"):
        read_bytes(tmp_path / "train.csv", b'document,summary\na,b\n"c,d\ne,f\n')


def test_text_that_is_not_utf8_in_parquet_spoils_its_row_alone(tmp_path: Path) -> None:
    texts = pa.array([b"good", b"\xff\xfe", b"fine"], pa.binary())
    broken = pa.StringArray.from_buffers(3, *texts.buffers()[1:])
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"document": broken, "summary": ["a", "b", "c"]}), path)
    first, bad, last = read(path)
    assert bad == BadRow(f"{path}:2", "invalid UTF-8")
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert last.values["document"] == "fine"


@pytest.mark.parametrize(("longer", "shorter"), [("source", "target"), ("target", "source")])
def test_paired_files_of_different_length_name_the_line_without_partner(
    tmp_path: Path, longer: str, shorter: str
) -> None:
    (tmp_path / f"train.{longer}").write_text("a\nb\nc\n", encoding="utf-8")
    (tmp_path / f"train.{shorter}").write_text("a\nb\n", encoding="utf-8")
    *good, bad = read(tmp_path / "train.source", tmp_path / "train.target")
    assert len(good) == 2
    assert isinstance(bad, BadRow)
    assert bad.place == f"{tmp_path}/train.{longer}:3"
    assert bad.reason == "no line in the paired file"


def test_paired_text_that_is_not_utf8_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "train.source").write_bytes(b"a\n\xff\n")
    (tmp_path / "train.target").write_bytes(b"a\nb\n")
    assert read(tmp_path / "train.source", tmp_path / "train.target")[1] == BadRow(
        f"{tmp_path}/train.source:2", "invalid UTF-8"
    )


@pytest.mark.parametrize("name", ["train.csv", "train.parquet"])
def test_a_missing_column_names_those_there_are_and_the_key_to_set(tmp_path: Path, name: str) -> None:
    rows = [{"id": "1", "document": "a", "summary": "b"}]
    WRITERS[name](tmp_path / name, rows)
    files = SplitFiles(format_of(tmp_path / name), (tmp_path / name,))
    with pytest.raises(UserError, match=r'no column "article" among .*summary.*data\.document_column') as error:
        list(read_rows(files, Columns("article", "summary", None)))
    assert "\n" not in str(error.value)


def test_a_csv_column_that_appears_twice_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='more than one column "document"'):
        read_bytes(tmp_path / "train.csv", b"document,document,summary\na,b,c\n")


@pytest.mark.parametrize("name", ["train.jsonl.gz", "train.csv", "train.parquet"])
@pytest.mark.parametrize("content", [bytes(range(256)) * 20, b"PAR1 not really PAR1"])
def test_a_file_of_another_kind_is_one_clear_line(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(UserError) as error:
        read_bytes(tmp_path / name, content)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["train.jsonl.gz", "train.parquet"])
def test_a_file_cut_short_is_an_error_and_not_a_shorter_split(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name, GOOD)
    with pytest.raises(UserError, match="cannot be read"):
        read_bytes(tmp_path / name, (tmp_path / name).read_bytes()[:-10])
