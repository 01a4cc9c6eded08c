"""Seconds add up, an exchange sends what a ring sends, and an MFU that is given is the one that comes out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from summarizer.planning.step_time import Assumption, Load, ring_bytes, step_time

HALF = Assumption(products=0.5, passes=8.0, basis="a test")
LOAD = Load(flops=3e12, real_flops=2e12, kept_bytes=1e9, parameters=1e6, sent_bytes=5e8)
SPEEDS = {"peak": 1e13, "bandwidth": 1e11, "link": 1e9}


def test_an_update_takes_the_sum_of_its_parts() -> None:
    time = step_time(LOAD, HALF, **SPEEDS)
    assert time.products == pytest.approx(3e12 / 5e12)
    assert time.memory == pytest.approx(8 * 1e9 / 1e11)
    assert time.optimizer == pytest.approx(44 * 1e6 / 1e11)
    assert time.communication == pytest.approx(0.5)
    assert time.total == pytest.approx(0.6 + 0.08 + 0.00044 + 0.5)
    assert sum(time.shares().values()) == pytest.approx(1)


def test_an_mfu_that_is_given_is_that_of_real_operations_before_the_exchange() -> None:
    time = step_time(LOAD, HALF, **SPEEDS, mfu=0.4)
    assert time.total - time.communication == pytest.approx(2e12 / (0.4 * 1e13))
    alone = step_time(replace(LOAD, sent_bytes=0.0), HALF, **SPEEDS, mfu=0.4)
    assert LOAD.real_flops / SPEEDS["peak"] / alone.total == pytest.approx(0.4)


@pytest.mark.parametrize("devices", [1, 2, 3, 8])
def test_a_ring_sends_what_each_device_passes_on(devices: int) -> None:
    """By hand: the buffer in as many pieces as devices, each of which goes round twice but for one step."""
    pieces, sent = [[1.0] * devices for _ in range(devices)], 0.0
    for adds in (True, False):
        for step in range(devices - 1):
            before = [list(each) for each in pieces]
            for device in range(devices):
                piece = (device - step + (0 if adds else 1)) % devices
                target = (device + 1) % devices
                pieces[target][piece] = before[device][piece] + (before[target][piece] if adds else 0.0)
                sent += 1 / devices / devices
    assert pieces == [[float(devices)] * devices] * devices, "all have all sums"
    assert ring_bytes(1.0, devices) == pytest.approx(sent)
