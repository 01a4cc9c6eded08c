"""The position-wise network treats each position alone."""

import torch

from summarizer.model.feed_forward import FeedForward


def test_it_is_linear_relu_linear() -> None:
    network = FeedForward(width=4, hidden_dim=9)
    hidden_BTD = torch.randn(2, 5, 4)
    activated_BTF = (hidden_BTD @ network.widen.weight.T + network.widen.bias).clamp(min=0)
    expected_BTD = activated_BTF @ network.narrow.weight.T + network.narrow.bias
    torch.testing.assert_close(network(hidden_BTD), expected_BTD)


def test_no_position_sees_another() -> None:
    network = FeedForward(width=4, hidden_dim=9)
    hidden_BTD = torch.randn(2, 5, 4, requires_grad=True)
    (gradient_BTD,) = torch.autograd.grad(network(hidden_BTD)[1, 3].sum(), hidden_BTD)
    touched_BT = gradient_BTD.ne(0).any(-1)
    assert touched_BT.nonzero().tolist() == [[1, 3]]
