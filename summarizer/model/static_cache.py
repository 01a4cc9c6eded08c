"""A decoder cache whose tensors keep their places and shapes from step to step, so that a step can be recorded once.

What changes lies in the tensors: the step is one of them, and what is not written yet is hidden by masks and not left
out. Rows without a document and positions beyond a source are there too; nobody reads what comes of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from summarizer.model.attention import KeysValues
from summarizer.model.cache import DecoderCache, LayerCache, PointerCache
from summarizer.model.pointer import DistinctTokens


class StaticShape(NamedTuple):
    """All that decides the shapes of a step."""

    documents: int
    beams: int
    source: int  # positions
    target: int  # positions


class StaticLayerCache(LayerCache):
    """One decoder layer's share."""

    def write(self, step: int | Tensor, newest: KeysValues) -> KeysValues:
        """Store the position that the tensor ``step`` names; return all, written or not."""
        assert isinstance(step, Tensor)
        batch, heads, _, num_beams, _ = self.self_key_BGTWK.shape
        for buffer_BGTWK, vector_NG1K in zip((self.self_key_BGTWK, self.self_value_BGTWU), newest, strict=True):
            vector_BGWK = vector_NG1K.view(batch, num_beams, heads, -1).transpose(1, 2)
            buffer_BGTWK.index_copy_(2, step, vector_BGWK[:, :, None].to(buffer_BGTWK.dtype))
        return KeysValues(self.self_key_BGTWK.flatten(2, 3), self.self_value_BGTWU.flatten(2, 3))


class StaticCache(DecoderCache):
    """Room for ``shape.documents``, some of them missing; :meth:`load` and :meth:`take` put documents in.

    :param like: a cache of the same model, for the sizes of heads and the types of numbers.
    """

    def __init__(self, shape: StaticShape, like: DecoderCache) -> None:
        layers: list[LayerCache] = [
            StaticLayerCache(
                _room(layer.self_key_BGTWK, (0, 2), (shape.documents, shape.target)),
                _room(layer.self_value_BGTWU, (0, 2), (shape.documents, shape.target)),
                KeysValues(*(_room(tensor, (0, 2), (shape.documents, shape.source)) for tensor in layer.cross)),
            )
            for layer in like.layers
        ]
        mask_BS = _room(like.source_mask_BS, (0, 1), (shape.documents, shape.source))
        super().__init__(layers, mask_BS, num_beams=shape.beams, max_length=shape.target)
        self.shape = shape
        self.step_1 = torch.zeros(1, dtype=torch.int64, device=mask_BS.device)  # the position to write next
        self.parent_BW = self.own_BW.clone()  # which beam each is to continue, once the next position begins
        self.writer_BWT = torch.zeros(*self.own_BW.shape, shape.target, dtype=torch.int64, device=mask_BS.device)
        self._position_T = torch.arange(shape.target, device=mask_BS.device)
        if like.pointer is not None:
            encoder_output_BSD, key_BSK, tokens = like.pointer
            of_source = [
                _room(tensor, (0, 1), (shape.documents, shape.source))
                for tensor in (encoder_output_BSD, key_BSK, *tokens)
            ]
            self.pointer = PointerCache(of_source[0], of_source[1], DistinctTokens(of_source[2], of_source[3]))

    def load(self, fresh: DecoderCache) -> None:
        """Begin with the documents of a cache in which nothing is decoded yet: in the first rows, in their order."""
        self.step_1.zero_()
        for tensor in _of_histories(self):
            tensor.zero_()  # what was there need not be finite, and even hidden values are multiplied, by zero
        self.parent_BW.copy_(self.own_BW)
        self._put(_of_documents(self), _of_documents(fresh))

    def take(self, other: StaticCache, row_B: Tensor) -> None:
        """Go on with these rows of another static cache, in their order."""
        self.step_1.copy_(other.step_1)
        for tensors in (_of_documents, _of_histories):
            self._put(tensors(self), [tensor.index_select(0, row_B) for tensor in tensors(other)])

    def extend(self) -> None:
        """Begin the position ``step_1``: beams continue their parents, and then are their own again."""
        parent_BWT = self.parent_BW[..., None].expand_as(self.writer_BWT)
        self.writer_BWT.copy_(self.writer_BWT.gather(1, parent_BWT))
        self.parent_BW.copy_(self.own_BW)
        self.writer_BWT.index_copy_(2, self.step_1, self.own_BW[..., None])
        reached_T1 = (self._position_T <= self.step_1)[:, None]
        self.history_mask_BWS = ((self.writer_BWT[..., None] == self.own_BW[0]) & reached_T1).flatten(2)

    def reorder(self, parent_BW: Tensor) -> None:
        self.parent_BW.copy_(parent_BW)

    def keep(self, document_B: Tensor) -> None:
        raise AssertionError("its rows stay; another cache takes those that go on")

    def _put(self, rooms: list[Tensor], tensors: list[Tensor]) -> None:
        """Each tensor into the corner of its room, with zeros around it."""
        for room, tensor in zip(rooms, tensors, strict=True):
            room.zero_()
            room[tuple(slice(size) for size in tensor.shape)] = tensor
        # A query that may attend to nothing is a case that some kernels answer with NaN.
        self.source_mask_BS[len(tensors[0]) :, 0] = True


def _of_documents(cache: DecoderCache) -> list[Tensor]:
    """What is known before decoding, each tensor with a row a document."""
    of_pointer = () if cache.pointer is None else (*cache.pointer[:2], *cache.pointer.tokens)
    return [cache.source_mask_BS, *of_pointer, *(tensor for layer in cache.layers for tensor in layer.cross)]


def _of_histories(cache: StaticCache) -> list[Tensor]:
    """What decoding adds."""
    buffers = [tensor for layer in cache.layers for tensor in (layer.self_key_BGTWK, layer.self_value_BGTWU)]
    return [cache.parent_BW, cache.writer_BWT, *buffers]


def _room(tensor: Tensor, dimensions: tuple[int, int], sizes: tuple[int, int]) -> Tensor:
    """Zeros, shaped as ``tensor`` but for two dimensions."""
    shape = list(tensor.shape)
    for dimension, size in zip(dimensions, sizes, strict=True):
        shape[dimension] = size
    return tensor.new_zeros(shape)
