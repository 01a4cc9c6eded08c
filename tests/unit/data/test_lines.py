"""A line that does not end is a bad row, or one line that says so; it is never held in memory."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from summarizer.data import lines
from summarizer.data.config import BadRowPolicy, DataConfig
from summarizer.data.lines import Unread, read_lines
from summarizer.data.sources import open_split
from summarizer.errors import UserError

LIMIT = 100


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", LIMIT)


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("length", [LIMIT - 1, LIMIT, 3 * LIMIT])
def test_lines_around_the_limit_and_their_neighbours(length: int) -> None:
    """The newline counts."""
    long = b"x" * length
    expected = long + b"\n" if length < LIMIT else Unread.too_long
    assert list(read_lines(io.BytesIO(b"a\n" + long + b"\nb"))) == [b"a\n", expected, b"b"]


@pytest.mark.usefixtures("limit")
def test_a_byte_order_mark_is_left_out_of_the_first_line_alone() -> None:
    assert list(read_lines(io.BytesIO(b"\xef\xbb\xbfa\n\xef\xbb\xbfb"))) == [b"a\n", b"\xef\xbb\xbfb"]


def row(document: str) -> str:
    return f'{{"document": "{document}", "summary": "s"}}\n'


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("name", ["train.jsonl", "train.source", "train.target"])
def test_a_line_too_long_is_named_or_counted_and_the_others_are_read(name: str, tmp_path: Path) -> None:
    documents = ["a", "x" * 2 * LIMIT, "b"]
    if name == "train.jsonl":
        (tmp_path / name).write_text("".join(map(row, documents)))
    else:
        (tmp_path / "train.source").write_text("k\nl\nm\n")
        (tmp_path / "train.target").write_text("s\nt\nu\n")
        (tmp_path / name).write_text("\n".join(documents))
    with pytest.raises(UserError, match=rf"{name}:2: a line of more than 128 MiB"):
        list(open_split(DataConfig(path=str(tmp_path)), "train"))
    split = open_split(DataConfig(path=str(tmp_path), on_bad_row=BadRowPolicy.skip), "train")
    assert len(list(split)) == 2
    assert Counter(split.report.reasons).total() == 1


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("policy", BadRowPolicy)
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("document,summary\na,s\n" + "x" * 2 * LIMIT + ",s\nb,s\n", ":3: a line of more than 128 MiB"),
        ("document,summary," + "x" * 2 * LIMIT + "\na,s\n", ":1: a line of more than 128 MiB"),
        ('document,summary\na,s\n"' + "x\n" * LIMIT + '",s\nb,s\n', ":3: a field is larger than 0 MiB; if a quote"),
    ],
    ids=["line", "header", "quote that is never closed"],
)
def test_a_csv_file_whose_next_row_nobody_can_find_is_refused(
    content: str, fault: str, policy: BadRowPolicy, tmp_path: Path
) -> None:
    (tmp_path / "train.csv").write_text(content)
    with pytest.raises(UserError, match=f"train.csv{fault}"):
        list(open_split(DataConfig(path=str(tmp_path), on_bad_row=policy), "train"))


@pytest.mark.parametrize("name", ["train.jsonl.gz", "train.csv.gz"])
def test_a_little_gzip_that_holds_much_does_not_fill_the_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 1 << 20)
    member = gzip.compress(b"x" * (1 << 22), compresslevel=1)
    (tmp_path / name).write_bytes(member * 32)  # of 128 MiB
    split = open_split(DataConfig(path=str(tmp_path), on_bad_row=BadRowPolicy.skip), "train")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="a line of more than"):
            list(split)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()
