"""Rows, files of rows, and the splits they hold: what the tests of reading data share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from summarizer.data.config import DataConfig
from summarizer.data.sources import Split, open_split

Row = dict[str, Any]
Numbered = Callable[..., list[Row]]
WriteRows = Callable[[Path, list[Row]], Path]
OpenLocal = Callable[..., Split]


@pytest.fixture
def numbered() -> Numbered:
    """Good rows with these numbers."""

    def rows(*numbers: int) -> list[Row]:
        return [{"id": n, "document": f"document {n}", "summary": f"summary {n}"} for n in numbers]

    return rows


@pytest.fixture
def write_rows() -> WriteRows:
    """Writes rows as jsonl or parquet, whichever the name says; returns the path."""

    def write(path: Path, rows: list[Row]) -> Path:
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def open_local() -> OpenLocal:
    """Opens a split of a file or folder; keyword arguments change the config, which must be valid."""

    def split_of(path: Path, split: str = "train", **settings: Any) -> Split:
        config = DataConfig(path=str(path), **settings)
        config.validate()
        return open_split(config, split)

    return split_of
