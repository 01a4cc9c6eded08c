"""Weight decay pulls at linear maps only, and every parameter is trained."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from summarizer.errors import UserError
from summarizer.model.config import AttentionConfig, AttentionSites, PositionKind, ScoreKind
from summarizer.model.transformer import Transformer
from summarizer.training.optimizer import OptimizerConfig, build_optimizer

BILINEAR = AttentionSites(cross=AttentionConfig(score=ScoreKind.general))


@pytest.mark.parametrize("positions", [PositionKind.sinusoidal, PositionKind.learned, PositionKind.relative_bias])
@pytest.mark.parametrize("tied", [True, False])
def test_linear_maps_decay_and_embeddings_positions_norms_biases_and_scores_do_not(
    make_model: Callable[..., Transformer], tied: bool, positions: PositionKind
) -> None:
    model = make_model(tie_embeddings=tied, positions=positions, attention=BILINEAR)
    decayed = {
        name
        for name, parameter in model.named_parameters()
        if decay_of(model, parameter, OptimizerConfig(weight_decay=0.25)) == 0.25
    }
    linear_weights = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert decayed == linear_weights - ({"vocabulary.weight"} if tied else set())
    assert len(decayed) > 10


@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_is_in_exactly_one_group(make_model: Callable[..., Transformer], tied: bool) -> None:
    model = make_model(tie_embeddings=tied)
    groups = build_optimizer(model, OptimizerConfig()).param_groups
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())


def test_without_gradient_signal_a_step_shrinks_only_what_decays(
    make_model: Callable[..., Transformer],
) -> None:
    model = make_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.1, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * decay_of(model, parameter, OptimizerConfig(weight_decay=0.5))
        torch.testing.assert_close(parameter.detach(), before[name] * factor, msg=name)


def test_the_settings_reach_adamw(make_model: Callable[..., Transformer]) -> None:
    config = OptimizerConfig(lr=0.02, beta1=0.8, beta2=0.95, eps=1e-7, weight_decay=0.3)
    for group in build_optimizer(make_model(), config).param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (0.02, (0.8, 0.95), 1e-7)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", 10.0),
        ("beta1", 1.0),
        ("beta2", -0.1),
        ("eps", 0.0),
        ("weight_decay", -1.0),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(field: str, value: float) -> None:
    OptimizerConfig().validate()
    with pytest.raises(UserError, match=rf"optimizer\.{field} \({value}\)"):
        OptimizerConfig(**{field: value}).validate()


def decay_of(model: Transformer, parameter: nn.Parameter, config: OptimizerConfig) -> float:
    [decay] = [
        group["weight_decay"]
        for group in build_optimizer(model, config).param_groups
        if any(parameter is member for member in group["params"])
    ]
    return float(decay)
