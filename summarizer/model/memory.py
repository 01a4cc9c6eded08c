"""A model's sizes and the shape of a batch in; the bytes that a forward pass keeps for the backward pass out.

Nothing is computed and no memory is taken: the model itself runs on tensors without content and tells autograd what to
keep, so the number is what a CPU's kernels keep, to the byte. A GPU's keep the same but for a few numbers a head, and
joined copies of the weights that are multiplied at once.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from summarizer.model.config import TransformerConfig
from summarizer.model.transformer import Transformer

_VOCAB = 8  # what is kept does not depend on it: logits are not the model's


@dataclass(frozen=True)
class KeptBytes:
    """By the part that keeps them, copies of weights in low precision included; parameters are not."""

    encoder_layer: int  # each
    decoder_layer: int
    around: int  # embeddings, the pointer, what is shared

    def of(self, config: TransformerConfig) -> int:
        """All of them."""
        return config.encoder_layers * self.encoder_layer + config.decoder_layers * self.decoder_layer + self.around


def kept_bytes(
    config: TransformerConfig, *, examples: int, source: int, target: int, low_precision: torch.dtype | None = None
) -> KeptBytes:
    """Of a training step over ``examples`` padded to these lengths, the loss left out.

    :param low_precision: what autocast multiplies in; float32 throughout if None.
    """

    def with_layers(encoder: int, decoder: int) -> int:
        shallow = replace(config, encoder_layers=encoder, decoder_layers=decoder)
        return _traced_bytes(shallow, examples, source, target, low_precision)

    # Layers are alike, so their number does not change what one of them keeps.
    least, longer, higher = with_layers(1, 1), with_layers(2, 1), with_layers(1, 2)
    encoder_layer, decoder_layer = longer - least, higher - least
    return KeptBytes(encoder_layer, decoder_layer, least - encoder_layer - decoder_layer)


def _traced_bytes(
    config: TransformerConfig, examples: int, source: int, target: int, low_precision: torch.dtype | None
) -> int:
    with FakeTensorMode(), _NothingSpecial():
        model = Transformer(config, _VOCAB).train()
        source_BS = torch.ones(examples, source, dtype=torch.int64)
        target_BT = torch.ones(examples, target, dtype=torch.int64)
        mask_BS = torch.ones(examples, source, dtype=torch.bool)
        with SavedStorages(model) as saved, _autocast(low_precision):
            model(source_BS, mask_BS, target_BT)
        return saved.num_bytes


class SavedStorages:
    """While active, notes what autograd keeps, each storage once; the parameters of ``model`` do not count."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._parameters = {id(parameter.untyped_storage()) for parameter in model.parameters()}
        self._storages: dict[int, torch.UntypedStorage] = {}  # held, or another could get the same id
        self._hooks = saved_tensors_hooks(self._keep, lambda tensor: tensor)

    @property
    def num_bytes(self) -> int:
        return sum(storage.nbytes() for storage in self._storages.values())

    def __enter__(self) -> SavedStorages:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in self._parameters:
            self._storages[id(storage)] = storage
        return tensor


class _NothingSpecial(TorchFunctionMode):
    """Whether something holds for the content of a tensor without content: no. Kernels ask for rare cases."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return False if func is Tensor.__bool__ else func(*args, **(kwargs or {}))


def _autocast(low_precision: torch.dtype | None) -> AbstractContextManager[object]:
    return nullcontext() if low_precision is None else torch.autocast("cpu", low_precision)
