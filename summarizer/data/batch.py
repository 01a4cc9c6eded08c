"""Encoded examples in, one padded batch of tensors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from summarizer.data.example import EncodedExample


@dataclass(frozen=True)
class Batch:
    """Padded token ids. B examples, S source positions, T target positions."""

    ids: tuple[str, ...]  # (B,) ids of the examples, for messages and samples
    source_BS: Tensor  # int64
    source_lengths_B: Tensor  # int64, real tokens in each source
    decoder_input_BT: Tensor  # int64, the target moved right by one, starting with the start id
    target_BT: Tensor  # int64, what the decoder must predict, ending with the end id
    target_lengths_B: Tensor  # int64, real tokens in each target

    @property
    def num_target_tokens(self) -> int:
        return int(self.target_lengths_B.sum())

    @property
    def num_real_tokens(self) -> int:
        return int(self.source_lengths_B.sum()) + self.num_target_tokens

    @property
    def num_positions(self) -> int:
        """Real tokens and padding together: what the machine computes."""
        return self.source_BS.numel() + self.target_BT.numel()

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, from which a GPU can copy without waiting."""
        return Batch(self.ids, *(tensor.pin_memory() for tensor in self._tensors()))

    def to(self, device: torch.device) -> Batch:
        return Batch(self.ids, *(tensor.to(device, non_blocking=True) for tensor in self._tensors()))

    def split(self, pieces: int) -> list[Batch]:
        """The same examples in at most so many smaller batches, padded as before."""
        rows = -(-len(self.ids) // pieces)
        starts = range(0, len(self.ids), rows)
        return [
            Batch(self.ids[start : start + rows], *(tensor[start : start + rows] for tensor in self._tensors()))
            for start in starts
        ]

    def _tensors(self) -> tuple[Tensor, ...]:
        return (
            self.source_BS,
            self.source_lengths_B,
            self.decoder_input_BT,
            self.target_BT,
            self.target_lengths_B,
        )


def collate(
    examples: Sequence[EncodedExample],
    *,
    pad_id: int,
    start_id: int,
    source_length: int | None = None,
    target_length: int | None = None,
) -> Batch:
    """Pad ``examples`` to ``source_length`` and ``target_length``; by default to the longest of each side."""
    sources = [example.source for example in examples]
    targets = [example.target for example in examples]
    decoder_inputs = [np.concatenate(([start_id], target[:-1])) for target in targets]
    return Batch(
        ids=tuple(example.id for example in examples),
        source_BS=_pad(sources, source_length, pad_id),
        source_lengths_B=torch.tensor([len(source) for source in sources]),
        decoder_input_BT=_pad(decoder_inputs, target_length, pad_id),
        target_BT=_pad(targets, target_length, pad_id),
        target_lengths_B=torch.tensor([len(target) for target in targets]),
    )


def _pad(rows: Sequence[npt.NDArray[np.int_] | npt.NDArray[np.int32]], length: int | None, pad_id: int) -> Tensor:
    width = length if length is not None else max(len(row) for row in rows)
    padded = np.full((len(rows), width), pad_id, dtype=np.int64)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return torch.from_numpy(padded)
