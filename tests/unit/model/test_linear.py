"""The linear layer that trains by oneDNN is PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from summarizer.model import linear as module
from summarizer.model.config import TransformerConfig
from summarizer.model.linear import Linear
from summarizer.model.memory import SavedStorages
from summarizer.model.transformer import Transformer

needs_onednn = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this PyTorch comes without oneDNN"
)
needs_bfloat16 = pytest.mark.skipif(
    not (hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    reason="oneDNN has no products in bfloat16 for this processor",
)


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of what oneDNN multiplied, on whatever processor."""
    counted_shapes: list[tuple[int, ...]] = []
    product = module._product_by_onednn

    def counted(input_NI: Tensor, *others: Any) -> Tensor:
        counted_shapes.append(tuple(input_NI.shape))
        return product(input_NI, *others)

    monkeypatch.setattr(module, "_is_amd", lambda: True)
    monkeypatch.setattr(module, "_product_by_onednn", counted)
    return counted_shapes


@needs_onednn
@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 12), (1, 1, 12), (12,)], ids=str)
@pytest.mark.parametrize("sliced", [False, True])
def test_outputs_and_gradients_are_those_of_pytorch(
    shapes: list[tuple[int, ...]], shape: tuple[int, ...], sliced: bool
) -> None:
    torch.manual_seed(1)
    ours, theirs = Linear(12, 7), nn.Linear(12, 7)
    theirs.load_state_dict(ours.state_dict())
    input = torch.randn(*shape[:-1], 24)[..., ::2] if sliced else torch.randn(shape)
    weight = torch.randn(*shape[:-1], 14)[..., ::2] if sliced else torch.randn(*shape[:-1], 7)
    results = []
    for layer in (ours, theirs):
        leaf = input.detach().requires_grad_()
        output = layer(leaf)
        results.append([output, *torch.autograd.grad((output * weight).sum(), [leaf, *layer.parameters()])])
    assert len(shapes) == 2, "forward, and the gradient of the input"
    for our_tensor, their_tensor in zip(*results, strict=True):
        assert our_tensor.shape == their_tensor.shape
        torch.testing.assert_close(our_tensor, their_tensor, rtol=1e-5, atol=1e-6)


@needs_onednn
@pytest.mark.parametrize(("inputs", "outputs"), [(5, 20), (20, 5)], ids=["widening", "narrowing"])
def test_so_are_those_of_weights_with_a_long_side_whose_gradient_is_onednns(
    shapes: list[tuple[int, ...]], inputs: int, outputs: int
) -> None:
    torch.manual_seed(1)
    layer, input, weight = Linear(inputs, outputs), torch.randn(4, 7, inputs), torch.randn(4, 7, outputs)
    results = [
        torch.autograd.grad((output * weight).sum(), list(layer.parameters()))
        for output in (layer(input), F.linear(input, layer.weight, layer.bias))
    ]
    assert shapes == [(28, inputs), (5, 28)], "forward, and the shorter side of the gradient of the weights"
    assert all(gradient.is_contiguous() for gradient in results[0])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


@needs_onednn
@pytest.mark.parametrize(
    "precision", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)], ids=["float32", "bfloat16"]
)
def test_relu_within_the_product_is_relu_of_the_outputs(shapes: list[tuple[int, ...]], precision: torch.dtype) -> None:
    torch.manual_seed(1)
    layer, input = Linear(12, 20), torch.randn(3, 12, requires_grad=True)
    results = []
    with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        for output in (layer.rectified(input), layer(input).relu()):
            assert output.dtype is precision
            results.append([output, *torch.autograd.grad(output.sum(), [input, *layer.parameters()])])
    assert 0 < results[0][0].count_nonzero() < results[0][0].numel()
    assert len(shapes) == 4, "forward and backward, both times"
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_relu_without_a_graph_is_the_same() -> None:
    layer, input = Linear(3, 4), torch.randn(2, 3)
    with torch.inference_mode():
        torch.testing.assert_close(layer.rectified(input), layer(input).relu())


@needs_onednn
def test_training_in_float32_takes_it_and_inference_and_other_types_do_not(
    shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, input = Linear(4, 4), torch.randn(2, 4)
    with torch.no_grad():
        layer(input)
    with torch.autocast("cpu", torch.float16):
        layer(input)
    layer.double()(input.double())
    assert not shapes
    layer.float()(input)
    assert shapes == [(2, 4)]
    monkeypatch.setattr(module, "_is_amd", lambda: False)
    layer(input)
    assert shapes == [(2, 4)]


@needs_bfloat16
@pytest.mark.parametrize("low_input", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_in_bfloat16_outputs_and_gradients_are_pytorchs_but_for_rounding(
    shapes: list[tuple[int, ...]], low_input: bool, count: int
) -> None:
    torch.manual_seed(1)
    layers = [Linear(32, outputs) for outputs in (48, 16)[:count]]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    input = torch.randn(3, 40, 32, dtype=torch.bfloat16 if low_input else torch.float32, requires_grad=True)
    results = []
    for ours in (True, False):
        with torch.autocast("cpu", torch.bfloat16):
            if ours:
                outputs = module.projected_at_once(input, layers)
            else:
                outputs = tuple(F.linear(input, layer.weight, layer.bias) for layer in layers)
        assert all(output.dtype is torch.bfloat16 for output in outputs)
        loss = sum(output.float().square().sum() for output in outputs)
        assert isinstance(loss, Tensor)
        results.append([*outputs, *torch.autograd.grad(loss, [input, *parameters])])
    assert shapes == [(120, 32), (120, sum(layer.out_features for layer in layers))]
    for our_tensor, their_tensor in zip(*results, strict=True):
        assert our_tensor.dtype is their_tensor.dtype
        assert (our_tensor - their_tensor).norm() <= 0.01 * their_tensor.norm()


@needs_onednn
def test_frozen_weights_and_inputs_get_no_gradient(shapes: list[tuple[int, ...]]) -> None:
    layer = Linear(4, 4)
    layer.weight.requires_grad_(False)
    layer(torch.randn(2, 4)).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    assert len(shapes) == 1, "no product for an input that needs no gradient"


@needs_onednn
def test_a_model_trains_as_with_pytorchs(shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    sizes = TransformerConfig(width=16, num_heads=2, encoder_layers=1, decoder_layers=1, dropout=0.0)
    model = Transformer(sizes, 20)
    source_BS, target_BT = torch.randint(20, (2, 6)), torch.randint(20, (2, 5))
    gradients = []
    for engine in ("oneDNN", "MKL", "autograd"):
        monkeypatch.setattr(module, "_is_amd", lambda engine=engine: engine == "oneDNN")
        if engine == "autograd":
            monkeypatch.setattr(module, "_type_to_train_in", lambda *tensors: None)
        loss = model.project(model(source_BS, None, target_BT).hidden_BTD).square().sum()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    # Encoder: three projections at once, output, widen, narrow. Decoder: the same, and in cross-attention keys and
    # values at once. Widen and narrow have weights with a long side.
    assert len(shapes) == 2 * (4 + 4 + 3) + 2 + 2
    # That of keys' biases is nothing but rounding, of numbers as large as those of the whole.
    *of_engines, of_autograd = gradients
    largest = max(theirs.norm() for theirs in of_autograd)
    for ours in of_engines:
        for our_gradient, their_gradient in zip(ours, of_autograd, strict=True):
            assert (our_gradient - their_gradient).norm() <= 1e-4 * their_gradient.norm() + 1e-6 * largest


@pytest.mark.parametrize("is_amd", [False, True])
def test_weights_that_are_multiplied_at_once_are_not_kept_joined(monkeypatch: pytest.MonkeyPatch, is_amd: bool) -> None:
    monkeypatch.setattr(module, "_is_amd", lambda: is_amd and module._has_onednn())
    layers = nn.ModuleList(Linear(12, outputs) for outputs in (5, 7))
    input = torch.randn(3, 12)
    with SavedStorages(layers) as saved:
        module.projected_at_once(input, list(layers))
    assert saved.num_bytes == input.untyped_storage().nbytes()
