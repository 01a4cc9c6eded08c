"""Arrow tables in, pieces of them out that are small enough to be turned into Python's values at once.

Three kilobytes of parquet can hold a thousand rows of 64 MiB each: the same text, stored once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from summarizer.data import lines

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS_PER_BATCH = 1000


def read_parquet(path: Path, file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of ``file``, which is ``path``. A text that it stores once for many rows stays so in memory."""
    import pyarrow.parquet as pq  # here and not above: only people with parquet files should wait for it

    texts = [name for name in columns if _is_text(file.schema_arrow.field(name).type)]
    with pq.ParquetFile(path, read_dictionary=texts) as again:
        yield from again.iter_batches(ROWS_PER_BATCH, columns=columns)


def pieces(table: pa.Table | pa.RecordBatch) -> Iterator[pa.RecordBatch | lines.Unread]:
    """Its rows in order: in runs that hold no more than a line of text may; in place of a row that does, a mark."""
    import pyarrow as pa

    for batch in table.to_batches() if isinstance(table, pa.Table) else [table]:
        sizes = _sizes(batch)
        begin = 0
        while begin < len(sizes):
            if sizes[begin] > lines.LONGEST_LINE:
                yield lines.Unread.too_long
                begin += 1
                continue
            fitting = int(np.searchsorted(np.cumsum(sizes[begin:]), lines.LONGEST_LINE, side="right"))
            yield _plain(batch.slice(begin, fitting))
            begin += fitting


def _sizes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Bytes of text in each row."""
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        sizes += _lengths(column)
    return sizes


def _lengths(column: pa.Array) -> npt.NDArray[np.int64] | int:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type) and _is_text(column.type.value_type):
        lengths: Any = pc.take(pc.binary_length(column.dictionary), column.indices)
    elif _is_text(column.type):
        lengths = pc.binary_length(column)
    else:
        return 0  # no text, and refused as such
    return cast(npt.NDArray[np.int64], lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64))


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """With each text in its row: Python's values come faster so."""
    import pyarrow as pa

    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return any(
        is_kind(kind)
        for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    )
