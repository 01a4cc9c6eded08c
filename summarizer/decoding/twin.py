"""A model out of training in; what to search with, and in which context, out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from summarizer.model.packing import can_pack, packed
from summarizer.model.transformer import Transformer
from summarizer.runtime import PACKED_TYPES, Runtime


def made_for_inference(
    model: Transformer, runtime: Runtime
) -> tuple[Transformer, Callable[[], AbstractContextManager[object]]]:
    """The same weights, packed for a CPU, or as they are for another device. A packed twin follows no later change.

    It multiplies in the wanted precision by itself: attention in bf16 is slower on a CPU than in fp32.
    """
    dtype = PACKED_TYPES.get(runtime.precision)
    if runtime.device.type != "cpu" or dtype is None or not can_pack(dtype):
        return model, runtime.autocast
    return packed(model, dtype), nullcontext
