"""A model whose every weight is spread over the processes that train it (FSDP2; Zhao et al. 2023), and back again.

Each process keeps its rows of each weight, of the gradient and of the optimizer's means. The forward and the backward
pass bring the weights of one layer together for as long as that layer needs them, and gradients leave a layer as sums
over all processes, each row where it is kept. Those of the model around its layers (embeddings, the projection to the
vocabulary, the pointer) stay together from their forward pass to their backward pass, so that a loss may use them too.

Weights travel in float32. PyTorch could send them in half precision, but then norms and embeddings would be rounded
too, and gradients added up in few bits: autocast, which rounds nothing but what matrices are multiplied from, gives the
numbers of a model that is not spread.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeGuard, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from summarizer.parallel import noticing_loss

if TYPE_CHECKING:  # importing them takes a second and a half, which most commands never need
    from torch.distributed.tensor import DTensor

Module = TypeVar("Module", bound=nn.Module)


def shard(model: nn.Module, layers: Iterable[nn.Module], device: torch.device) -> None:
    """Spread the weights of ``model`` over all processes, and move them to ``device``.

    :param layers: the parts of it that are brought together one at a time.
    """
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    assert dist.group.WORLD is not None, "there is nobody to share the weights with"
    mesh = DeviceMesh.from_group(dist.group.WORLD, device.type)
    for module in (*layers, model):
        fully_shard(module, mesh=mesh)
    for module in model.modules():
        if isinstance(module, FSDPModule):  # sums, for each loss is divided by the tokens of all
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def is_sharded(model: nn.Module) -> bool:
    return any(map(_is_part, model.parameters()))


def _is_part(tensor: Tensor) -> TypeGuard[DTensor]:
    loaded = sys.modules.get("torch.distributed.tensor")  # where nobody has imported it, there is none
    return loaded is not None and isinstance(tensor, loaded.DTensor)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, of which this process may hold a part: all of them must ask."""
    if not _is_part(tensor):
        return tensor
    with noticing_loss():
        return tensor.full_tensor()


def fill(target: Tensor, values: Tensor) -> None:
    """Copy ``values`` into ``target``, or what of them belongs there."""
    if _is_part(target):
        from torch.distributed.tensor import distribute_tensor

        # Each process takes its own rows of what all of them have.
        values = distribute_tensor(values, target.device_mesh, target.placements, src_data_rank=None)
    target.copy_(values)


def gathered(tensors: Mapping[str, Tensor], memory: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Copies on the CPU of whole tensors, brought together one after the other: all processes must ask.

    :param memory: tensors that nobody needs any more; copies that fit there are made there.
    :param keep: whether this process wants them, or just gives its parts.
    """
    copies = {}
    for name, part in tensors.items():
        tensor = whole(part)
        if keep:
            copies[name] = _copied(tensor, memory.get(name))
    return copies


def _copied(tensor: Tensor, memory: Tensor | None) -> Tensor:
    if memory is None or memory.shape != tensor.shape or memory.dtype != tensor.dtype:
        memory = torch.empty(tensor.shape, dtype=tensor.dtype)
    return memory.copy_(tensor)


class WholeTwin(Generic[Module]):
    """A model for one process alone, with the weights of another that is spread over all.

    It has them only for a while: a training may not leave the memory room for them.
    """

    def __init__(self, model: Module, device: torch.device) -> None:
        """:param model: before it is spread; the twin has its buffers, and no weights."""
        empty = {id(parameter): nn.Parameter(torch.empty(0)) for parameter in model.parameters()}
        self.model = copy.deepcopy(model, empty).to(device)

    @contextmanager
    def with_weights_of(self, sharded: nn.Module) -> Iterator[None]:
        """All processes must enter together; inside, each may do what it likes."""
        mine = dict(self.model.named_parameters())
        try:
            for name, part in sharded.named_parameters():
                mine[name].data = whole(part.detach())
            yield
        finally:
            for parameter in mine.values():
                parameter.data = parameter.new_empty(0)
