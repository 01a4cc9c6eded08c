"""A batch is encoded once as long as there is room, and never taken for another."""

from __future__ import annotations

import torch
from torch import Tensor

from summarizer.decoding.encoder_memory import EncoderMemory


class Encoder:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[Tensor] = []

    def through(self, memory: EncoderMemory, source_BS: Tensor) -> Tensor:
        def compute() -> Tensor:
            self.asked.append(source_BS)
            return source_BS.float()[:, :, None] + len(self.asked)

        return memory.encode(source_BS, compute)


def test_the_same_batch_is_encoded_once_and_the_time_it_took_is_counted() -> None:
    memory, encoder = EncoderMemory(), Encoder()
    source_BS = torch.tensor([[5, 6], [7, 0]])
    first = encoder.through(memory, source_BS)
    assert memory.saved_seconds == 0
    assert torch.equal(encoder.through(memory, source_BS.clone()), first)
    assert len(encoder.asked) == 1
    assert memory.saved_seconds > 0


def test_no_batch_is_taken_for_another() -> None:
    """Not one of other rows, nor one of another order or shape."""
    memory, encoder = EncoderMemory(), Encoder()
    batches = [[[5, 6], [7, 0]], [[7, 0], [5, 6]], [[5, 6, 7, 0]], [[5], [6], [7], [0]], [[5, 6], [7, 8]]]
    for batch in batches:
        encoder.through(memory, torch.tensor(batch))
    assert len(encoder.asked) == len(batches)


def test_what_does_not_fit_is_encoded_each_time() -> None:
    memory, encoder = EncoderMemory(most_bytes=2 * 4 * 4), Encoder()  # two batches of four numbers
    batches = [torch.tensor([[number, 1, 1, 1]]) for number in range(3)]
    for _ in range(2):
        for batch in batches:
            encoder.through(memory, batch)
    assert [int(each[0, 0]) for each in encoder.asked] == [0, 1, 2, 2]
