"""A row of a parquet file is bound as a line of text is, whatever the file makes of little."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from summarizer.data import lines
from summarizer.data.arrow_rows import pieces
from summarizer.data.config import BadRowPolicy, DataConfig
from summarizer.data.lines import Unread
from summarizer.data.sources import open_split
from summarizer.errors import UserError

LIMIT = 100


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", LIMIT)


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("dictionary", [True, False], ids=["stored once", "stored each"])
def test_rows_around_the_limit_and_their_neighbours(tmp_path: Path, dictionary: bool) -> None:
    """The texts of a row count together, in bytes."""
    documents = ["a", "x" * (LIMIT - 1), "é" * (LIMIT // 2), "b", "x" * 5 * LIMIT, "c"]
    table = pa.table({"document": documents, "summary": ["s"] * len(documents)})
    pq.write_table(table, tmp_path / "train.parquet", use_dictionary=dictionary)
    with pytest.raises(UserError, match=r"train.parquet:3: a row of more than 128 MiB"):
        list(open_split(DataConfig(path=str(tmp_path)), "train"))
    split = open_split(DataConfig(path=str(tmp_path), on_bad_row=BadRowPolicy.skip), "train")
    assert [example.document for example in split] == ["a", "x" * (LIMIT - 1), "b", "c"]
    assert split.report.reasons == Counter({"a row of more than 128 MiB": 2})


@pytest.mark.usefixtures("limit")
def test_pieces_are_all_rows_in_order_and_none_holds_more_than_a_line() -> None:
    sizes = [30, 30, 30, 30, 101, 100, 1, 99, 2, 0, 0, 98, 250, 5]
    table = pa.table({"n": range(len(sizes)), "text": pa.array(["x" * n if n else None for n in sizes])})
    for rows in (table, table.to_batches()[0]):
        places: list[int] = []
        for piece in pieces(rows):
            if isinstance(piece, Unread):
                assert sizes[len(places)] > LIMIT
                places.append(len(places))
            else:
                mine = piece.column("n").to_pylist()
                assert sum(sizes[place] for place in mine) <= LIMIT
                places += mine
        assert places == list(range(len(sizes)))
    assert [piece.num_rows for piece in pieces(table) if not isinstance(piece, Unread)][:2] == [3, 1]


def test_a_little_parquet_that_holds_much_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 1 << 20)
    file = tmp_path / "train.parquet"
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int32()), ["x" * (1 << 19)])
    pq.write_table(pa.table({"document": text, "summary": ["s"] * 4000}), file, store_schema=False)  # 2 GiB of text
    assert file.stat().st_size < 1 << 20
    before = pa.total_allocated_bytes()
    most = rows = 0
    tracemalloc.start()
    try:
        for _ in open_split(DataConfig(path=str(tmp_path)), "train"):
            rows += 1
            most = max(most, pa.total_allocated_bytes() - before)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()
    assert rows == 4000
    assert most < 1 << 25
