"""Encoded examples in, one padded batch of tensors out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
    source_is_full: bool = False  # no source has padding: known here, where asking does not make a GPU wait

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
        return self._each(torch.Tensor.pin_memory)

    def copied(self) -> Batch:
        """The same batch in this process's own memory."""
        return self._each(torch.Tensor.clone)

    def to(self, device: torch.device) -> Batch:
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def split(self, pieces: int) -> list[Batch]:
        """The same examples in at most so many smaller batches, padded as before."""
        size = -(-len(self.ids) // pieces)
        return [self._rows(slice(start, start + size)) for start in range(0, len(self.ids), size)]

    def without_targets(self) -> Batch:
        """The same with padding alone to predict: it has no loss, and gradients of zero."""
        return replace(self, target_lengths_B=torch.zeros_like(self.target_lengths_B))

    def _rows(self, rows: slice) -> Batch:
        return replace(self._each(lambda tensor: tensor[rows]), ids=self.ids[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: change(tensor) for name, tensor in tensors.items()})  # type: ignore[arg-type]


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
    source_BS = _pad(sources, source_length, pad_id)
    return Batch(
        ids=tuple(example.id for example in examples),
        source_BS=source_BS,
        source_lengths_B=torch.tensor([len(source) for source in sources]),
        decoder_input_BT=_pad(decoder_inputs, target_length, pad_id),
        target_BT=_pad(targets, target_length, pad_id),
        target_lengths_B=torch.tensor([len(target) for target in targets]),
        source_is_full=all(len(source) == source_BS.shape[1] for source in sources),
    )


def _pad(rows: Sequence[npt.NDArray[np.int_] | npt.NDArray[np.int32]], length: int | None, pad_id: int) -> Tensor:
    width = length if length is not None else max(len(row) for row in rows)
    padded = np.full((len(rows), width), pad_id, dtype=np.int64)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return torch.from_numpy(padded)
