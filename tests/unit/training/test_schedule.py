"""The learning rate rises in a line, falls without jumps, and ends where it should."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.errors import UserError
from summarizer.training.schedule import ScheduleConfig, ScheduleKind, learning_rate_factor

FALLING = [ScheduleKind.inverse_sqrt, ScheduleKind.cosine, ScheduleKind.linear]
ENDING = [ScheduleKind.cosine, ScheduleKind.linear]

configs = st.builds(
    ScheduleConfig,
    kind=st.sampled_from(ScheduleKind),
    warmup_steps=st.integers(0, 300),
    final_factor=st.floats(0, 1),
)
lengths = st.integers(1, 400)


@given(configs, lengths)
def test_the_factor_is_always_above_or_at_zero_and_never_above_one(config: ScheduleConfig, max_steps: int) -> None:
    factors = curve(config, max_steps)
    assert all(0 <= factor <= 1 for factor in factors)
    assert all(factor > 0 for factor in factors[:-1]), "an update before the last would be wasted"


@given(configs, lengths)
def test_the_warm_up_is_a_line_from_the_first_update_to_one(config: ScheduleConfig, max_steps: int) -> None:
    for step, factor in enumerate(curve(config, max_steps)[: config.warmup_steps], start=1):
        assert factor == pytest.approx(step / config.warmup_steps)


@given(configs, lengths)
def test_after_the_warm_up_it_never_rises(config: ScheduleConfig, max_steps: int) -> None:
    after = curve(config, max_steps)[max(config.warmup_steps, 1) - 1 :]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(after))


@pytest.mark.parametrize("kind", FALLING)
def test_it_does_fall(kind: ScheduleKind) -> None:
    after = curve(ScheduleConfig(kind=kind, warmup_steps=10), 100)[9:]
    assert all(later < earlier for earlier, later in pairwise(after))


@pytest.mark.parametrize("kind", ScheduleKind)
def test_it_has_no_jump_anywhere(kind: ScheduleKind) -> None:
    factors = curve(ScheduleConfig(kind=kind, warmup_steps=100, final_factor=0.2), 1000)
    steepest = 0.01  # the warm-up's
    assert all(abs(b - a) <= steepest + 1e-12 for a, b in pairwise(factors))
    assert factors[99] == 1


@pytest.mark.parametrize("final_factor", [0.0, 0.3])
@pytest.mark.parametrize("kind", ENDING)
def test_cosine_and_linear_end_at_the_final_factor_at_the_last_update(kind: ScheduleKind, final_factor: float) -> None:
    config = ScheduleConfig(kind=kind, warmup_steps=20, final_factor=final_factor)
    factors = curve(config, 120)
    assert factors[-1] == pytest.approx(final_factor)
    assert factors[69] == pytest.approx((1 + final_factor) / 2), "half way between warm-up and end"
    assert learning_rate_factor(500, config, max_steps=120) == pytest.approx(final_factor)


def test_inverse_sqrt_halves_when_the_steps_quadruple_whatever_the_length_of_the_run() -> None:
    config = ScheduleConfig(kind=ScheduleKind.inverse_sqrt, warmup_steps=50)
    for step in (50, 100, 200):
        quadruple = learning_rate_factor(4 * step, config, max_steps=10**6)
        assert quadruple == pytest.approx(learning_rate_factor(step, config, max_steps=1) / 2)
    assert learning_rate_factor(50, config, max_steps=1000) == 1


def test_constant_stays_at_one_after_the_warm_up() -> None:
    factors = curve(ScheduleConfig(kind=ScheduleKind.constant, warmup_steps=5, final_factor=0.1), 50)
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert set(factors[4:]) == {1.0}


@pytest.mark.parametrize("kind", ScheduleKind)
def test_the_first_update_is_neither_wasted_nor_skipped(kind: ScheduleKind) -> None:
    first = learning_rate_factor(1, ScheduleConfig(kind=kind, warmup_steps=0), max_steps=1000)
    assert first == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize(("field", "value"), [("warmup_steps", -1), ("final_factor", 1.5), ("final_factor", math.nan)])
def test_a_setting_that_cannot_work_is_refused_by_name(field: str, value: float) -> None:
    ScheduleConfig().validate()
    with pytest.raises(UserError, match=rf"schedule\.{field} \({value}\)"):
        ScheduleConfig(**{field: value}).validate()  # type: ignore[arg-type]


def curve(config: ScheduleConfig, max_steps: int) -> list[float]:
    """The factor of every update of a run."""
    return [learning_rate_factor(step, config, max_steps=max_steps) for step in range(1, max_steps + 1)]
