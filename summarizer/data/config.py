"""The settings of a data set: where its splits come from, which columns to read, how long a text may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from summarizer.data.sampler import BatchingConfig
from summarizer.errors import UserError

SPLITS = ("train", "validation", "test")


class BadRowPolicy(Enum):
    """What to do with a row that cannot be an example."""

    error = "error"  # stop, naming file, line and reason
    skip = "skip"  # leave it out, count it and say so in the report


@dataclass(kw_only=True)
class DataLimit:
    """Use only the first so many valid rows of a split; None uses all."""

    train: int | None = None
    validation: int | None = None
    test: int | None = None

    def of(self, split: str) -> int | None:
        """The limit of ``split``, one of SPLITS."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]

    def validate(self) -> None:
        for split in SPLITS:
            limit = self.of(split)
            if limit is not None and limit < 1:
                raise UserError(f"data.limit.{split} ({limit}) must be at least 1; leave it null to use every row")


@dataclass(kw_only=True)
class DataConfig:
    """One data set: three splits from the Hugging Face Hub or from local files, read by named columns."""

    name: str = "local"
    """What tables and logs call the data set."""
    hub_id: str | None = None
    """Data set on the Hub, "owner/name"."""
    hub_config: str | None = None
    """Configuration of the Hub data set, such as "3.0.0"; None where it has only one."""
    revision: str | None = None
    """Branch, tag or commit of the Hub data set; None is its main branch."""
    hub_is_csv: bool = False
    """The Hub serves csv files: then texts like "NA" and "null" must be kept from being read as missing."""
    licence: str | None = None
    """Licence of the data, for people to read; None where we do not know it."""
    path: str | None = None
    """Folder or file of local data; replaces the Hub. summarizer/data/files.py tells how files are named."""
    train_split: str = "train"
    """What the source calls the split we train on."""
    validation_split: str = "validation"
    """What the source calls the split that chooses the best checkpoint."""
    test_split: str = "test"
    """What the source calls the split we report on."""
    document_column: str = "document"
    """Column with the text to summarize."""
    summary_column: str = "summary"
    """Column with the summary a human wrote."""
    id_column: str | None = "id"
    """Column with the name of a row; where it is None or absent, rows are called "<split>-<row number>"."""
    on_bad_row: BadRowPolicy = BadRowPolicy.error
    """Stop at a row that cannot be used, or skip and count it."""
    limit: DataLimit = field(default_factory=DataLimit)
    """How many rows of each split to use."""
    max_source_tokens: int = 512
    """A longer document is cut to this many tokens, its end symbol included."""
    max_target_tokens: int = 128
    """A longer summary is cut to this many tokens, its end symbol included."""
    cache_dir: str = ".cache/summarizer"
    """Folder for encoded splits; may be deleted at any time."""
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    """How examples are gathered into batches."""

    def source_name(self, split: str) -> str:
        """What the source calls ``split``, one of SPLITS."""
        return {"train": self.train_split, "validation": self.validation_split, "test": self.test_split}[split]

    def validate(self) -> None:
        """Raise UserError for the first setting that cannot work."""
        self._validate_source()
        self._validate_columns()
        self._validate_lengths()
        self.limit.validate()
        self.batching.validate()

    def _validate_source(self) -> None:
        if not self.hub_id and not self.path:
            raise UserError(
                "data.hub_id and data.path are both empty and one must say where the data is;"
                " set data.hub_id=<owner/name> or data.path=<folder or file>"
            )
        for split in SPLITS:
            if not self.source_name(split):
                raise UserError(f'data.{split}_split () must name a split of the source; the usual name is "{split}"')
        if not self.cache_dir:
            raise UserError("data.cache_dir () must name a folder; the default is .cache/summarizer")

    def _validate_columns(self) -> None:
        for key in ("document_column", "summary_column"):
            if not getattr(self, key):
                raise UserError(f"data.{key} () must name a column of the data; set data.{key}=<column>")
        if self.document_column == self.summary_column:
            raise UserError(
                f"data.summary_column ({self.summary_column}) must differ from data.document_column;"
                " name the column that holds the summaries"
            )

    def _validate_lengths(self) -> None:
        for key in ("max_source_tokens", "max_target_tokens"):
            if getattr(self, key) < 2:
                raise UserError(
                    f"data.{key} ({getattr(self, key)}) must be at least 2; one token is the end symbol alone"
                )
