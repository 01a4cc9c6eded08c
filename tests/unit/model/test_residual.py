"""Norms against their formulas, and where a sub-layer and a stack normalise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from summarizer.model.config import NormKind, NormPlacement
from summarizer.model.residual import build_norm, build_residual, build_stack_norm
from summarizer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
WIDTH = 6
each_norm = pytest.mark.parametrize("kind", NormKind, ids=lambda kind: kind.name)
each_placement = pytest.mark.parametrize("placement", NormPlacement, ids=lambda placement: placement.name)


def hidden() -> Tensor:
    """hidden_BTD, not centred."""
    return 1 + 2 * torch.randn(2, 3, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def random_norm(kind: NormKind) -> nn.Module:
    torch.manual_seed(1)
    norm = build_norm(kind, WIDTH).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


def test_layer_norm_centres_and_scales_each_vector() -> None:
    norm, hidden_BTD = random_norm(NormKind.layer), hidden()
    centred_BTD = hidden_BTD - hidden_BTD.mean(-1, keepdim=True)
    scaled_BTD = centred_BTD / (centred_BTD.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(norm(hidden_BTD), scaled_BTD * norm.weight + norm.bias)


def test_rms_norm_scales_each_vector_and_keeps_its_mean() -> None:
    norm, hidden_BTD = random_norm(NormKind.rms), hidden()
    scaled_BTD = hidden_BTD / (hidden_BTD.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(norm(hidden_BTD), scaled_BTD * norm.weight)
    assert [name for name, _ in norm.named_parameters()] == ["weight"]


@each_norm
def test_a_vector_of_zeros_stays_finite_forward_and_backward(kind: NormKind) -> None:
    hidden_BTD = torch.zeros(1, 1, WIDTH, dtype=torch.float64, requires_grad=True)
    output_BTD = random_norm(kind)(hidden_BTD)
    (gradient_BTD,) = torch.autograd.grad(output_BTD.sum(), hidden_BTD)
    assert output_BTD.isfinite().all()
    assert gradient_BTD.isfinite().all()


@each_norm
def test_pre_norm_leaves_the_stream_and_normalises_what_enters(kind: NormKind) -> None:
    residual, norm, hidden_BTD = build_residual(NormPlacement.pre, 0.0), random_norm(kind), hidden()
    expected_BTD = hidden_BTD + torch.sin(norm(hidden_BTD))
    torch.testing.assert_close(residual(hidden_BTD, norm, torch.sin), expected_BTD)


@each_norm
def test_post_norm_gives_the_stream_as_it_is_and_normalises_the_sum(kind: NormKind) -> None:
    residual, norm, hidden_BTD = build_residual(NormPlacement.post, 0.0), random_norm(kind), hidden()
    expected_BTD = norm(hidden_BTD + torch.sin(hidden_BTD))
    torch.testing.assert_close(residual(hidden_BTD, norm, torch.sin), expected_BTD)


@each_placement
def test_only_what_a_sub_layer_adds_is_dropped_and_in_training_only(placement: NormPlacement) -> None:
    residual, norm, hidden_BTD = build_residual(placement, 1.0), random_norm(NormKind.layer), hidden()
    stream_BTD = hidden_BTD if placement is NormPlacement.pre else norm(hidden_BTD)
    assert torch.equal(residual.train()(hidden_BTD, norm, torch.sin), stream_BTD)
    kept_BTD = build_residual(placement, 0.0)(hidden_BTD, norm, torch.sin)
    assert torch.equal(residual.eval()(hidden_BTD, norm, torch.sin), kept_BTD)


@each_norm
def test_a_stack_normalises_its_output_only_if_its_layers_do_not(kind: NormKind) -> None:
    hidden_BTD = hidden()
    after_pre, after_post = (build_stack_norm(placement, kind, WIDTH).double() for placement in NormPlacement)
    torch.testing.assert_close(after_pre(hidden_BTD), build_norm(kind, WIDTH).double()(hidden_BTD))
    assert torch.equal(after_post(hidden_BTD), hidden_BTD)
    assert not list(after_post.parameters())


@each_norm
@each_placement
def test_both_stacks_of_the_model_end_normalised_once(
    tiny_model: MakeModel, placement: NormPlacement, kind: NormKind
) -> None:
    model = tiny_model(norm=kind, norm_placement=placement)
    for parameter_name, parameter in model.named_parameters():
        if "norm" in parameter_name:
            nn.init.constant_(parameter, 3.0 if parameter_name.endswith("weight") else 0.0)
    source_BS, mask_BS = torch.tensor([[5, 6, 7, 8]]), torch.ones(1, 4).bool()
    encoder_output_BSD = model.encode(source_BS, mask_BS)
    decoder_output_BTD = model.decode(source_BS, encoder_output_BSD, mask_BS).hidden_BTD
    for output in (encoder_output_BSD, decoder_output_BTD):  # twice would be as once, but for the last gain
        size = output.square().mean(-1).sqrt()
        torch.testing.assert_close(size, torch.full_like(size, 3.0), rtol=1e-3, atol=0)
    assert isinstance(model.encoder_norm, nn.Identity) == (placement is NormPlacement.post)
    assert isinstance(model.decoder_norm, nn.Identity) == (placement is NormPlacement.post)


@each_placement
def test_norms_of_different_sub_layers_are_not_shared(tiny_model: MakeModel, placement: NormPlacement) -> None:
    model = tiny_model(norm_placement=placement)
    gains = [name for name, _ in model.named_parameters() if name.endswith("norm.weight")]
    assert len(gains) == 2 * 2 + 2 * 3 + (2 if placement is NormPlacement.pre else 0)
