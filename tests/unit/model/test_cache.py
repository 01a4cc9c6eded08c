"""The cache against the obvious way to keep histories: one list for every beam."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from summarizer.model.attention import KeysValues
from summarizer.model.cache import DecoderCache
from summarizer.model.config import AttentionShape

LAYERS = 2
OWN = AttentionShape(num_heads=4, kv_heads=2, key_dim=3, value_dim=1)
CROSS = AttentionShape(num_heads=3, kv_heads=3, key_dim=2, value_dim=4)


def document_tensor(documents: list[int], length: int, size: int) -> Tensor:
    """A tensor full of each document's number."""
    number_B = torch.tensor(documents, dtype=torch.float32)
    return number_B[:, None, None, None].expand(-1, CROSS.kv_heads, length, size)


def start(documents: list[int], num_beams: int, max_length: int) -> DecoderCache:
    cross = [
        KeysValues(
            document_tensor(documents, 4, CROSS.key_dim) + layer,
            -document_tensor(documents, 4, CROSS.value_dim) - layer,
        )
        for layer in range(LAYERS)
    ]
    mask_BS = torch.arange(4) <= torch.tensor(documents)[:, None]
    return DecoderCache.empty(OWN, cross, mask_BS, num_beams=num_beams, max_length=max_length)


class Pair:
    """A cache, and what it should hold: ``histories[b][w]``, the numbers written for beam w of document b."""

    def __init__(self, num_documents: int, num_beams: int, max_length: int) -> None:
        self.documents = list(range(num_documents))
        self.cache = start(self.documents, num_beams, max_length)
        self.histories: list[list[list[int]]] = [[[] for _ in range(num_beams)] for _ in self.documents]
        self.num_beams = num_beams
        self.step = 0
        self._next_number = 1  # no number is written twice, so a mix-up cannot hide

    def write(self) -> None:
        shape = (len(self.documents), self.num_beams)
        count = shape[0] * shape[1]
        number_BW = torch.arange(self._next_number, self._next_number + count).view(shape)
        self._next_number += count
        for beams, numbers in zip(self.histories, number_BW.tolist(), strict=True):
            for history, number in zip(beams, numbers, strict=True):
                history.append(number)

        self.cache.extend()
        for layer, layer_cache in enumerate(self.cache.layers):
            keys_values = layer_cache.write(self.step, self._filled(number_BW.flatten()[:, None] + layer))
            expected = self._filled(torch.tensor(self.histories).flatten(0, 1) + layer)
            assert torch.equal(self._histories(keys_values.key_BGSK), expected.key_BGSK)
            assert torch.equal(self._histories(keys_values.value_BGSU), expected.value_BGSU)
        self.step += 1

    def _histories(self, tensor_BGSK: Tensor) -> Tensor:
        """What each beam may see of the keys or values that a layer gives it."""
        mask_BWS = self.cache.history_mask_BWS
        if mask_BWS is None:
            return tensor_BGSK
        return torch.stack(
            [row_GSK[:, mask_S] for row_GSK, mask_WS in zip(tensor_BGSK, mask_BWS, strict=True) for mask_S in mask_WS]
        )

    def reorder(self, parents: list[list[int]]) -> None:
        self.cache.reorder(torch.tensor(parents))
        self.histories = [
            [list(beams[parent]) for parent in chosen] for beams, chosen in zip(self.histories, parents, strict=True)
        ]

    def keep(self, rows: list[int]) -> None:
        self.cache.keep(torch.tensor(rows))
        self.documents = [self.documents[row] for row in rows]
        self.histories = [self.histories[row] for row in rows]

    def check_documents(self) -> None:
        fresh = start(self.documents, self.num_beams, max_length=1)
        assert torch.equal(self.cache.source_mask_BS, fresh.source_mask_BS)
        for layer_cache, expected in zip(self.cache.layers, fresh.layers, strict=True):
            assert torch.equal(layer_cache.cross.key_BGSK, expected.cross.key_BGSK)
            assert torch.equal(layer_cache.cross.value_BGSU, expected.cross.value_BGSU)

    @staticmethod
    def _filled(number_NT: Tensor) -> KeysValues:
        """Keys full of each position's number, values of its negative."""
        number_N1T1 = number_NT[:, None, :, None].float()
        return KeysValues(
            number_N1T1.expand(-1, OWN.kv_heads, -1, OWN.key_dim),
            -number_N1T1.expand(-1, OWN.kv_heads, -1, OWN.value_dim),
        )


@settings(max_examples=60)
@given(data=st.data())
def test_every_beam_keeps_its_own_history_through_reordering_and_dropping(data: st.DataObject) -> None:
    max_length = data.draw(st.integers(1, 75), "max_length")
    pair = Pair(data.draw(st.integers(1, 4), "documents"), data.draw(st.integers(1, 3), "beams"), max_length)
    while pair.step < max_length:
        for _ in range(data.draw(st.integers(1, max_length - pair.step), "steps")):
            pair.write()
        beam = st.integers(0, pair.num_beams - 1)
        one_row = st.lists(beam, min_size=pair.num_beams, max_size=pair.num_beams)
        batch = len(pair.documents)
        pair.reorder(data.draw(st.lists(one_row, min_size=batch, max_size=batch), "parents"))
        pair.keep(data.draw(st.permutations(range(batch)), "order")[: data.draw(st.integers(1, batch), "kept")])
        pair.check_documents()


@pytest.mark.parametrize("max_length", [1, 20, 32, 33, 100, 300])
def test_room_follows_need_in_few_copies_and_never_exceeds_the_longest_summary(max_length: int) -> None:
    pair = Pair(1, 1, max_length)
    rooms = []
    for length in range(1, max_length + 1):
        pair.write()
        rooms.append(pair.cache.layers[0].self_key_BGTWK.shape[2])
        assert length <= rooms[-1] <= min(max_length, max(32, 2 * length))
    assert len(set(rooms)) <= 5
    with pytest.raises(AssertionError, match=f"in a cache made for {max_length}"):
        pair.cache.extend()


def test_beams_share_one_copy_of_what_they_know_of_the_document() -> None:
    cache = start([0, 1], num_beams=5, max_length=3)
    assert cache.layers[0].cross.key_BGSK.shape == (2, CROSS.kv_heads, 4, CROSS.key_dim)
