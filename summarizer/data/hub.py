"""A data set on the Hugging Face Hub in, the rows of one of its splits out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from summarizer.data.arrow_rows import ROWS_PER_BATCH
from summarizer.data.config import DataConfig
from summarizer.data.readers import BadRow, Columns, Row, read_arrow
from summarizer.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset


class HubRows:
    """The rows of a loaded ``datasets.Dataset``, streamed from its memory-mapped files."""

    def __init__(self, dataset: Dataset, columns: Columns, place: str) -> None:
        self.place = place
        self._dataset = dataset.select_columns(columns.select(dataset.column_names, place))

    def __iter__(self) -> Iterator[Row | BadRow]:
        return read_arrow(self._tables(), self.place)

    def content_hash(self) -> str:
        """Hash of the values: how Arrow lays them out may change with the version that wrote them."""
        digest = hashlib.sha256()
        for row in self:
            values = ("",) if isinstance(row, BadRow) else tuple(row.values.values())
            for value in values:
                data = (value if isinstance(value, str) else repr(value)).encode("utf-8", "surrogatepass")
                digest.update(b"%s %d " % (type(value).__name__.encode(), len(data)))
                digest.update(data)
        return digest.hexdigest()

    def _tables(self) -> Iterator[pa.Table]:
        tables: Iterator[pa.Table] = self._dataset.with_format("arrow").iter(ROWS_PER_BATCH)
        return tables


def load_hub_split(config: DataConfig, name: str) -> Dataset:
    """Download (once) and open the split that the Hub calls ``name``."""
    from datasets import load_dataset  # 1.3 s, which people with local files should not wait for

    # pandas, below, reads the texts "NA", "null", "None" as missing unless told not to.
    options = {"keep_default_na": False} if config.hub_is_csv else {}
    try:
        return load_dataset(config.hub_id, config.hub_config, split=name, revision=config.revision, **options)
    # datasets, huggingface_hub and httpx each have exceptions of their own, with no common base, for a
    # missing network, data set, configuration or split; what they say is kept.
    except Exception as error:
        raise UserError(
            f'cannot load split "{name}" of {_describe(config)} from the Hub ({_first_line(error)});'
            " check these names and the network, set HF_HOME to a cache that holds it,"
            " or read files with data.path=<folder>"
        ) from error


def _describe(config: DataConfig) -> str:
    parts = [f"{key} {value}" for key, value in (("config", config.hub_config), ("revision", config.revision)) if value]
    return f"{config.hub_id} ({', '.join(parts)})" if parts else f"{config.hub_id}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('. ')}" if lines else type(error).__name__
