"""Keys and values kept between decoding steps, so that each step computes one new position only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from summarizer.model.attention import KeysValues
from summarizer.model.config import AttentionShape
from summarizer.model.pointer import Copying, DistinctTokens

_FIRST_ROOM = 32  # positions allocated at first; doubled whenever they are used up


@dataclass
class LayerCache:
    """One decoder layer's share.

    The self-attention buffers hold every beam's own history; their positions beyond the current step are not yet
    written. The cross-attention keys and values exist once per document: its beams only differ in their queries.
    """

    self_key_BWHTK: Tensor
    self_value_BWHTU: Tensor
    cross: KeysValues

    def write(self, step: int, newest: KeysValues) -> KeysValues:
        """Store position ``step`` of each beam; return all positions so far.

        In what is given and returned, beams are folded into the batch.
        """
        for buffer, vector_NG1K in zip((self.self_key_BWHTK, self.self_value_BWHTU), newest, strict=True):
            place_BWHK = buffer[:, :, :, step]
            place_BWHK.copy_(vector_NG1K.reshape(place_BWHK.shape))
        return KeysValues(
            self.self_key_BWHTK[:, :, :, : step + 1].flatten(0, 1),
            self.self_value_BWHTU[:, :, :, : step + 1].flatten(0, 1),
        )


class PointerCache(NamedTuple):
    """The pointer's share. It exists once per document."""

    encoder_output_BSD: Tensor
    key_BSK: Tensor
    tokens: DistinctTokens

    def keep(self, document_B: Tensor) -> PointerCache:
        tokens = DistinctTokens(*(tensor[document_B] for tensor in self.tokens))
        return PointerCache(self.encoder_output_BSD[document_B], self.key_BSK[document_B], tokens)


class DecoderCache:
    """All layers' caches, and the mask of the source they look at.

    :param max_length: number of positions that will ever be written; the buffers never grow beyond it.
    """

    def __init__(self, layers: list[LayerCache], source_mask_BS: Tensor, *, max_length: int) -> None:
        self.layers = layers
        self.source_mask_BS = source_mask_BS
        self.max_length = max_length
        self.length = 0
        self.pointer: PointerCache | None = None  # of a model that has one
        self.copying: Copying | None = (
            None  # what its pointer said at the latest step, T being the beams; not moved with them
        )

    @classmethod
    def empty(
        cls,
        own: AttentionShape,
        cross: list[KeysValues],
        source_mask_BS: Tensor,
        *,
        num_beams: int,
        max_length: int,
    ) -> DecoderCache:
        """A cache with nothing decoded yet.

        :param own: sizes of the decoder's self-attentions.
        :param cross: each layer's keys and values of the encoder output.
        """
        layers = []
        for keys_values in cross:
            key_BGSK = keys_values.key_BGSK
            leading = (key_BGSK.shape[0], num_beams, own.kv_heads, min(_FIRST_ROOM, max_length))
            layers.append(
                LayerCache(
                    key_BGSK.new_zeros(*leading, own.key_dim), key_BGSK.new_zeros(*leading, own.value_dim), keys_values
                )
            )
        return cls(layers, source_mask_BS, max_length=max_length)

    def make_room(self, length: int) -> None:
        """Let the buffers hold ``length`` positions, which from now on are the ones that count."""
        assert length <= self.max_length, f"{length} positions in a cache made for {self.max_length}"
        self.length = length
        for layer in self.layers:
            room = layer.self_key_BWHTK.shape[3]
            if length > room:
                new_room = min(2 * room, self.max_length)
                layer.self_key_BWHTK = _lengthened(layer.self_key_BWHTK, new_room)
                layer.self_value_BWHTU = _lengthened(layer.self_value_BWHTU, new_room)

    def reorder(self, parent_BW: Tensor) -> None:
        """Let beam w of document b continue what was beam ``parent_BW[b, w]``."""
        batch, num_beams = parent_BW.shape
        if num_beams == 1:
            return
        first_B1 = torch.arange(batch, device=parent_BW.device)[:, None] * num_beams
        row_N = (first_B1 + parent_BW).flatten()
        for layer in self.layers:
            for buffer in (layer.self_key_BWHTK, layer.self_value_BWHTU):
                rows_NHTK = buffer[:, :, :, : self.length].flatten(0, 1)
                buffer[:, :, :, : self.length] = rows_NHTK[row_N].view(batch, num_beams, *rows_NHTK.shape[1:])

    def keep(self, document_B: Tensor) -> None:
        """Drop all documents but those whose indices ``document_B`` lists, in its order."""
        self.source_mask_BS = self.source_mask_BS[document_B]
        if self.pointer is not None:
            self.pointer = self.pointer.keep(document_B)
        for layer in self.layers:
            layer.self_key_BWHTK = layer.self_key_BWHTK[document_B]
            layer.self_value_BWHTU = layer.self_value_BWHTU[document_B]
            layer.cross = KeysValues(*(tensor[document_B] for tensor in layer.cross))


def _lengthened(buffer_BWHTK: Tensor, room: int) -> Tensor:
    batch, beams, heads, old_room, size = buffer_BWHTK.shape
    longer = buffer_BWHTK.new_zeros(batch, beams, heads, room, size)
    longer[:, :, :, :old_room] = buffer_BWHTK
    return longer
