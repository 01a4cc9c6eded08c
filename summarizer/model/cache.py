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

    The self-attention buffers hold, for each position, what every beam wrote there; positions beyond the current step
    are not yet written. Nothing moves when beams are reordered: the beams of a document are so many queries over all
    of it, and a mask says what belongs to the history of each. The cross-attention keys and values exist once per
    document, too.
    """

    self_key_BGTWK: Tensor
    self_value_BGTWU: Tensor
    cross: KeysValues

    def write(self, step: int | Tensor, newest: KeysValues) -> KeysValues:
        """Store position ``step`` of each beam; return all positions so far.

        :param newest: of one position, with beams folded into the batch.
        :return: with beams folded into the positions: what beam w wrote at position t stands at t * W + w.
        """
        batch, heads, _, num_beams, _ = self.self_key_BGTWK.shape
        for buffer_BGTWK, vector_NG1K in zip((self.self_key_BGTWK, self.self_value_BGTWU), newest, strict=True):
            vector_BWGK = vector_NG1K.view(batch, num_beams, heads, -1)
            buffer_BGTWK[:, :, step] = vector_BWGK.transpose(1, 2)
        assert isinstance(step, int)
        return KeysValues(
            self.self_key_BGTWK[:, :, : step + 1].flatten(2, 3),
            self.self_value_BGTWU[:, :, : step + 1].flatten(2, 3),
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

    def __init__(self, layers: list[LayerCache], source_mask_BS: Tensor, *, num_beams: int, max_length: int) -> None:
        self.layers = layers
        self.source_mask_BS = source_mask_BS
        self.max_length = max_length
        self.own_BW = torch.arange(num_beams, device=source_mask_BS.device).expand(len(source_mask_BS), -1)
        self.writer_BWT = self.own_BW[..., None][..., :0]  # the beam that wrote each position of a beam's history
        # Which of the positions that LayerCache.write returns each beam may attend to; None, for a single beam: all.
        self.history_mask_BWS: Tensor | None = None
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
            leading = (key_BGSK.shape[0], own.kv_heads, min(_FIRST_ROOM, max_length), num_beams)
            layers.append(
                LayerCache(
                    key_BGSK.new_empty(*leading, own.key_dim),
                    key_BGSK.new_empty(*leading, own.value_dim),
                    # Every step reads them from end to end, so each head's lie together.
                    KeysValues(*(tensor.contiguous() for tensor in keys_values)),
                )
            )
        return cls(layers, source_mask_BS, num_beams=num_beams, max_length=max_length)

    @property
    def length(self) -> int:
        """Positions written, or being written."""
        return self.writer_BWT.shape[2]

    def extend(self) -> None:
        """Begin the next position: from now on each beam has something to say there."""
        step = self.length
        assert step < self.max_length, f"{step + 1} positions in a cache made for {self.max_length}"
        self.writer_BWT = torch.cat((self.writer_BWT, self.own_BW[..., None]), dim=2)
        if self.own_BW.shape[1] > 1:
            self.history_mask_BWS = (self.writer_BWT[..., None] == self.own_BW[0]).flatten(2)
        for layer in self.layers:
            room = layer.self_key_BGTWK.shape[2]
            if step == room:
                new_room = min(2 * room, self.max_length)
                layer.self_key_BGTWK = _lengthened(layer.self_key_BGTWK, new_room)
                layer.self_value_BGTWU = _lengthened(layer.self_value_BGTWU, new_room)

    def reorder(self, parent_BW: Tensor) -> None:
        """Let beam w of document b continue what was beam ``parent_BW[b, w]``."""
        self.writer_BWT = self.writer_BWT.gather(1, parent_BW[..., None].expand_as(self.writer_BWT))

    def keep(self, document_B: Tensor) -> None:
        """Drop all documents but those whose indices ``document_B`` lists, in its order."""
        self.source_mask_BS = self.source_mask_BS[document_B]
        self.own_BW, self.writer_BWT = self.own_BW[document_B], self.writer_BWT[document_B]
        if self.pointer is not None:
            self.pointer = self.pointer.keep(document_B)
        for layer in self.layers:
            layer.self_key_BGTWK = layer.self_key_BGTWK[document_B]
            layer.self_value_BGTWU = layer.self_value_BGTWU[document_B]
            layer.cross = KeysValues(*(tensor[document_B] for tensor in layer.cross))


def _lengthened(buffer_BGTWK: Tensor, room: int) -> Tensor:
    batch, heads, old_room, beams, size = buffer_BGTWK.shape
    longer_BGTWK = buffer_BGTWK.new_empty(batch, heads, room, beams, size)
    longer_BGTWK[:, :, :old_room] = buffer_BGTWK
    return longer_BGTWK
