"""What is compared: causal mixers of equal size, called by name."""

from __future__ import annotations

import pytest
import torch

from summarizer.comparison.mechanisms import POSITIONS, REFERENCES, build_mixer, num_parameters, parse_mechanism
from summarizer.errors import UserError
from summarizer.model.config import ScoreKind

NAMES = [*REFERENCES, *(f"{score.name}+{positions.name}" for score in ScoreKind for positions in POSITIONS)]


def seen_by(name: str, position: int, length: int = 12) -> list[bool]:
    """Which input positions the output at ``position`` depends on."""
    torch.manual_seed(0)
    mixer = build_mixer(parse_mechanism(name), width=16, num_heads=2)
    hidden_BTD = torch.randn(1, length, 16, requires_grad=True)
    (gradient_BTD,) = torch.autograd.grad(mixer(hidden_BTD)[:, position].sum(), hidden_BTD)
    return (gradient_BTD[0] != 0).any(dim=-1).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_position_sees_nothing_of_what_comes_after_it(name: str) -> None:
    seen = seen_by(name, 7)
    assert seen[7]
    assert not any(seen[8:])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "convolution"])
def test_attention_and_recurrence_see_all_that_came_before(name: str) -> None:
    assert all(seen_by(name, 11))


def test_a_convolution_sees_four_positions() -> None:
    assert seen_by("convolution", 7) == [4 <= position <= 7 for position in range(12)]


@pytest.mark.parametrize("width", [32, 64, 256])
@pytest.mark.parametrize("name", REFERENCES)
def test_the_references_have_as_many_parameters_as_attention(name: str, width: int) -> None:
    ours, attention = (
        num_parameters(build_mixer(parse_mechanism(each), width=width, num_heads=4))
        for each in (name, "scaled_dot+none")
    )
    assert abs(ours / attention - 1) < 0.04


@pytest.mark.parametrize(
    "name", ["", "lsmt", "scaled_dot", "scaled_dot+", "+alibi", "scaled_dot+learned", "lstm+alibi"]
)
def test_an_unknown_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UserError) as refusal:
        parse_mechanism(name)
    for word in (f"mechanisms ({name})", "convolution, lstm", "scaled_dot, dot, general, additive", "alibi, none"):
        assert word in str(refusal.value)
