"""Padded rows in, the same without their padding out: training then computes real tokens alone (CPU only).

The rows of a batch are laid end to end in one long row, through which all goes that treats positions alike. Attention
takes the documents apart again. Kernels of a GPU rather have padded rows, cut in two (``segments.py``).

N: the real tokens of all rows of one side of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_WORTH = 2**20  # padding of a document times width², from where attending to it apart has cost less


class Rows(NamedTuple):
    """One side of a batch: how long each row is, and how long all are with padding."""

    lengths: tuple[int, ...]
    padded_length: int

    @property
    def padding(self) -> int:
        """How many positions are none."""
        return len(self.lengths) * self.padded_length - sum(self.lengths)

    def joined(self, rows_BS: Tensor) -> Tensor:
        """joined_1N of what is real in the rows; joined_1ND of a table_1SD that all rows share."""
        rows = rows_BS.expand(len(self.lengths), *rows_BS.shape[1:])
        return torch.cat([row[:length] for row, length in zip(rows, self.lengths, strict=True)])[None]

    def split(self, joined_1HNK: Tensor) -> Sequence[Tensor]:
        """rows_1HSK, one after the other, each of its own length."""
        return torch.split(joined_1HNK, list(self.lengths), dim=2)

    def padded(self, joined_1ND: Tensor) -> Tensor:
        """rows_BSD, with zeros for padding."""
        places_BS = torch.arange(len(self.lengths) * self.padded_length).view(len(self.lengths), self.padded_length)
        rows_PD = joined_1ND.new_zeros(places_BS.numel(), joined_1ND.shape[-1])
        rows_PD = rows_PD.index_copy(0, self.joined(places_BS)[0], joined_1ND[0])
        return rows_PD.view(*places_BS.shape, -1)


class Documents(NamedTuple):
    """The rows of both sides."""

    source: Rows
    target: Rows


def places(targets: Sequence[int], sources: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Where the queries and the keys of each document are among the joined ones, from their lengths."""
    query = key = 0
    for num_queries, num_keys in zip(targets, sources, strict=True):
        yield slice(query, query + num_queries), slice(key, key + num_keys)
        query, key = query + num_queries, key + num_keys


def longest(hidden_BTD: Tensor, rows: Rows | None) -> int:
    """Positions of the longest row: of those that are joined in one, or of padded ones."""
    return hidden_BTD.shape[1] if rows is None else max(rows.lengths)


def documents_worth_unpadding(
    source_lengths_B: Tensor, source_length: int, target_lengths_B: Tensor, target_length: int, *, width: int
) -> Documents | None:
    """Of rows padded to these lengths; None where padding costs less than to attend document by document.

    :param width: of the model's vectors.
    """
    if source_lengths_B.device.type != "cpu":
        return None
    documents = Documents(
        Rows(tuple(source_lengths_B.tolist()), source_length), Rows(tuple(target_lengths_B.tolist()), target_length)
    )
    padding = documents.source.padding + documents.target.padding
    is_worth_it = padding * width**2 >= len(source_lengths_B) * _WORTH
    return documents if is_worth_it and min(*documents.source.lengths, *documents.target.lengths) > 0 else None
