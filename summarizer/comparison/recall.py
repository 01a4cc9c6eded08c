"""A recall task: pairs of a key and its value stand among noise, and the sequence ends with questions for the values.

It is multi-query associative recall (Arora et al. 2023): a key's value is the token behind it, so that answering
takes two looks, and every sequence has keys and values of its own, so that nothing can be learned by heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NUM_KEYS = NUM_VALUES = NUM_NOISES = 16
VOCAB_SIZE = NUM_KEYS + NUM_VALUES + NUM_NOISES  # tokens in this order
CHANCE = 1 / NUM_VALUES


@dataclass(frozen=True)
class Questions:
    """A batch of sequences; the last P tokens of each are keys whose values are to be told there and then."""

    token_BT: Tensor  # int64
    answer_BP: Tensor  # int64, 0 .. NUM_VALUES - 1
    distance_BP: Tensor  # int64, from the question back to the value

    def to(self, device: torch.device) -> Questions:
        return Questions(self.token_BT.to(device), self.answer_BP.to(device), self.distance_BP.to(device))


def shortest_length(num_pairs: int) -> int:
    """Of a sequence with so many pairs and a question for each."""
    return 3 * num_pairs


def draw_questions(batch_size: int, length: int, num_pairs: int, generator: torch.Generator) -> Questions:
    """Random sequences with ``num_pairs`` different keys, each asked for once, in any order.

    The nearer to the questions a place is, the likelier it holds a pair, in inverse proportion: of distances from 8 to
    16 there are about as many as of those from 128 to 256.
    """
    assert shortest_length(num_pairs) <= length
    assert num_pairs <= NUM_KEYS
    context = length - num_pairs
    places = torch.arange(1, context // 2 + 1)  # of two tokens each, counted back from the questions
    place_BP = torch.multinomial((1 / places).expand(batch_size, -1), num_pairs, generator=generator)
    key_position_BP = context - 2 - 2 * place_BP
    key_BP = torch.rand(batch_size, NUM_KEYS, generator=generator).argsort(dim=1)[:, :num_pairs]
    value_BP = torch.randint(NUM_VALUES, (batch_size, num_pairs), generator=generator)
    token_BT = torch.randint(NUM_KEYS + NUM_VALUES, VOCAB_SIZE, (batch_size, length), generator=generator)
    token_BT.scatter_(1, key_position_BP, key_BP)
    token_BT.scatter_(1, key_position_BP + 1, NUM_KEYS + value_BP)
    order_BP = torch.rand(batch_size, num_pairs, generator=generator).argsort(dim=1)
    token_BT[:, context:] = key_BP.gather(1, order_BP)
    distance_BP = torch.arange(context, length) - (key_position_BP + 1).gather(1, order_BP)
    return Questions(token_BT, value_BP.gather(1, order_BP), distance_BP)


def distance_range(least: int) -> str:
    """Of the distances that are counted together: ``4-7``."""
    return str(least) if least == 1 else f"{least}-{2 * least - 1}"
