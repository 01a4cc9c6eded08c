"""Operations against formulas by hand, memory against what is known to be held, and the order of the timings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from summarizer.comparison import cost
from summarizer.comparison.cost import CostConfig, measure_costs, num_timings
from summarizer.comparison.flops import count_flops
from summarizer.comparison.mechanisms import build_mixer, num_parameters, parse_mechanism
from summarizer.errors import UserError
from summarizer.measurement import peak_bytes
from summarizer.runtime import Precision, Runtime

LENGTH, WIDTH, HEADS = 24, 16, 2
HEAD = WIDTH // HEADS
CPU = torch.device("cpu")
RUNTIME = Runtime(CPU, Precision.fp32)
PROJECTIONS = 3 * 2 * 4 * LENGTH * WIDTH**2  # forward and twice backward; multiply-adds; query, key, value, output
SCORES = MIXES = 3 * 2 * LENGTH**2 * WIDTH
BY_HAND = {
    "scaled_dot+none": PROJECTIONS + SCORES + MIXES,
    # A number added to each score; what is learned, summed up again.
    "dot+alibi": PROJECTIONS + SCORES + MIXES + LENGTH**2 * HEADS,
    "scaled_dot+relative_bias": PROJECTIONS + SCORES + MIXES + 2 * LENGTH**2 * HEADS,
    # Queries and keys turned, and their gradients turned back.
    "scaled_dot+rotary": PROJECTIONS + SCORES + MIXES + 2 * 3 * 2 * LENGTH * WIDTH,
    "general+none": PROJECTIONS + 3 * 2 * LENGTH * HEADS * HEAD**2 + SCORES + MIXES,
    # q + k, tanh and the sum with v: 4. Backward q + k and tanh: 2, by v and by q: 4, slope: 4, by k: 2.
    "additive+none": PROJECTIONS + (4 + 12) * LENGTH**2 * WIDTH + MIXES,
    "convolution": 3 * 2 * LENGTH * 4 * WIDTH**2,
}


def flops(name: str, length: int = LENGTH) -> int:
    return count_flops(parse_mechanism(name), length, width=WIDTH, num_heads=HEADS)


@pytest.mark.parametrize("name", BY_HAND)
def test_operations_are_those_counted_by_hand(name: str) -> None:
    assert flops(name) == BY_HAND[name]


@pytest.mark.parametrize("name", ["lstm", "convolution", "scaled_dot+none"])
def test_the_formulas_are_what_pytorch_counts(name: str) -> None:
    with torch.device("meta"):
        mixer = build_mixer(parse_mechanism(name), width=WIDTH, num_heads=HEADS)
        hidden_BTD = torch.empty(1, LENGTH, WIDTH, requires_grad=True)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        mixer(hidden_BTD).sum().backward()
    # Of the LSTM the counter leaves out the gradient of the initial state, which nobody asks for.
    assert counter.get_total_flops() == pytest.approx(flops(name), rel=0.01 if name == "lstm" else 0)


@pytest.mark.parametrize(("name", "growth"), [("scaled_dot+none", 4), ("convolution", 2), ("lstm", 2)])
def test_operations_of_attention_grow_with_the_square_of_the_length_and_of_the_references_with_the_length(
    name: str, growth: int
) -> None:
    assert flops(name, 8192) / flops(name, 4096) == pytest.approx(growth, rel=0.01)


def test_peak_memory_is_what_was_held_at_once() -> None:
    def one_after_the_other() -> None:
        for _ in range(3):
            torch.empty(1_000_000, dtype=torch.uint8)

    def together() -> None:
        [torch.empty(1_000_000, dtype=torch.uint8) for _ in range(3)]

    assert 1_000_000 <= peak_bytes(one_after_the_other, CPU) < 1_100_000
    assert 3_000_000 <= peak_bytes(together, CPU) < 3_100_000


@pytest.mark.gpu
def test_peak_memory_on_a_gpu_is_what_was_held_at_once() -> None:
    device = torch.device("cuda")
    kept = torch.empty(5_000_000, dtype=torch.uint8, device=device)
    peak = peak_bytes(lambda: [torch.empty(1_000_000, dtype=torch.uint8, device=device) for _ in range(3)], device)
    assert 3_000_000 <= peak < 3_100_000
    assert kept.numel() == 5_000_000


def test_memory_of_scores_grows_with_the_square_of_the_length_and_of_the_fused_kernel_with_the_length() -> None:
    peaks = {}
    for name in ("scaled_dot+none", "scaled_dot+relative_bias"):
        mixer = build_mixer(parse_mechanism(name), width=WIDTH, num_heads=HEADS)
        for length in (256, 512):
            hidden_BTD = torch.randn(1, length, WIDTH, requires_grad=True)
            work = cost._work(mixer, hidden_BTD, RUNTIME)
            work()
            peaks[name, length] = peak_bytes(work, CPU)
    assert peaks["scaled_dot+none", 512] < 2.3 * peaks["scaled_dot+none", 256]
    assert peaks["scaled_dot+relative_bias", 512] > 3.5 * peaks["scaled_dot+relative_bias", 256]


def test_timings_take_turns_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    seconds = iter([100.0, 200.0, 1.0, 2.0, 3.0, 4.0, 9.0, 8.0])

    def timed(work: Callable[[], None], device: torch.device) -> float:
        work()
        return next(seconds)

    monkeypatch.setattr(cost, "_seconds", timed)
    works = [lambda: order.append("a"), lambda: order.append("b")]
    assert cost._interleaved_seconds(works, 3, CPU, lambda: None) == [3.0, 4.0]
    assert "".join(order) == "abababab"


def test_every_mechanism_is_measured_at_every_length() -> None:
    mechanisms = [parse_mechanism(name) for name in ("scaled_dot+alibi", "additive+rotary", "convolution", "lstm")]
    config = CostConfig(lengths=[8, 16], repeats=1)
    steps: list[None] = []
    costs = measure_costs(
        mechanisms, config, width=WIDTH, num_heads=HEADS, seed=1, runtime=RUNTIME, on_step=lambda: steps.append(None)
    )
    assert [each.mechanism for each in costs] == [each.name for each in mechanisms]
    assert len(steps) == len(mechanisms) * num_timings(config)
    for measured, mechanism in zip(costs, mechanisms, strict=True):
        assert measured.parameters == num_parameters(build_mixer(mechanism, width=WIDTH, num_heads=HEADS))
        assert list(measured.by_length) == [8, 16]
        for length, point in measured.by_length.items():
            assert point.flops == flops(mechanism.name, length)
            assert point.seconds > 0
            assert point.peak_bytes > length * WIDTH * 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lengths": []}, ["cost.lengths ([])", "try cost.lengths="]),
        ({"lengths": [128, 0]}, ["cost.lengths (0)", "at least 1"]),
        ({"repeats": 0}, ["cost.repeats (0)", "at least 1"]),
    ],
)
def test_costs_that_cannot_be_measured_are_refused(changes: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        CostConfig(**changes).validate()  # type: ignore[arg-type]
    assert all(word in str(refusal.value) for word in words)
