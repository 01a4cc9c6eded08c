"""The position-wise networks against their formulas; each position is treated alone."""

import math

import pytest
import torch
from torch import Tensor

from summarizer.model.config import FeedForwardKind
from summarizer.model.feed_forward import FeedForward, GatedFeedForward, build_feed_forward

WIDTH, HIDDEN = 4, 9
each_kind = pytest.mark.parametrize("kind", FeedForwardKind, ids=lambda kind: kind.name)


def make(kind: FeedForwardKind) -> tuple[FeedForward, Tensor]:
    """The network with random parameters, and hidden_BTD."""
    torch.manual_seed(0)
    network = build_feed_forward(kind, width=WIDTH, hidden_dim=HIDDEN).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    return network, torch.randn(2, 5, WIDTH, dtype=torch.float64, requires_grad=True)


def linear(layer: torch.nn.Linear, hidden: Tensor) -> Tensor:
    return hidden @ layer.weight.T + layer.bias


def relu(input_BTF: Tensor) -> Tensor:
    return input_BTF.clamp(min=0)


def gelu(input_BTF: Tensor) -> Tensor:
    """The input times the chance that a standard normal number is below it."""
    return input_BTF * (1 + torch.erf(input_BTF / math.sqrt(2))) / 2


@pytest.mark.parametrize(
    ("kind", "activation"), [(FeedForwardKind.relu, relu), (FeedForwardKind.gelu, gelu)], ids=["relu", "gelu"]
)
def test_it_widens_activates_and_narrows(kind: FeedForwardKind, activation: object) -> None:
    assert callable(activation)
    network, hidden_BTD = make(kind)
    expected_BTD = linear(network.narrow, activation(linear(network.widen, hidden_BTD)))
    torch.testing.assert_close(network(hidden_BTD), expected_BTD)


def test_swiglu_gates_what_it_widens() -> None:
    network, hidden_BTD = make(FeedForwardKind.swiglu)
    assert isinstance(network, GatedFeedForward)
    gate_BTF = linear(network.gate, hidden_BTD)
    swish_BTF = gate_BTF / (1 + (-gate_BTF).exp())
    expected_BTD = linear(network.narrow, swish_BTF * linear(network.widen, hidden_BTD))
    torch.testing.assert_close(network(hidden_BTD), expected_BTD)


@each_kind
def test_the_number_of_parameters_is_the_one_documented(kind: FeedForwardKind) -> None:
    widening_maps = 2 if kind is FeedForwardKind.swiglu else 1
    network, _ = make(kind)
    expected = widening_maps * (WIDTH + 1) * HIDDEN + (HIDDEN + 1) * WIDTH
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@each_kind
def test_no_position_sees_another(kind: FeedForwardKind) -> None:
    network, hidden_BTD = make(kind)
    (gradient_BTD,) = torch.autograd.grad(network(hidden_BTD)[1, 3].sum(), hidden_BTD)
    touched_BT = gradient_BTD.ne(0).any(-1)
    assert touched_BT.nonzero().tolist() == [[1, 3]]
