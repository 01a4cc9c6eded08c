"""What an update does to weights and optimizer, seen from outside."""

from __future__ import annotations

import torch
from torch import Tensor

from summarizer.model.transformer import Transformer
from summarizer.training.step import Updater


def descender(update: Updater) -> Updater:
    """The updater with plain gradient descent: a change of its weights shows the gradient as it is."""
    update.optimizer = torch.optim.SGD(update.model.parameters())
    return update


def weights(model: Transformer) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def everything(update: Updater) -> dict[str, Tensor]:
    """Copies of the weights and of the optimizer's tensors."""
    found = weights(update.model)
    for name, parameter in update.model.named_parameters():
        found |= {f"{name}/{key}": value.clone() for key, value in update.optimizer.state[parameter].items()}
    return found


def assert_same_bits(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    assert [name for name in actual if not torch.equal(actual[name], expected[name])] == []
