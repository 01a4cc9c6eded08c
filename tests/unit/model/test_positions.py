"""Every position has its own encoding, whatever was asked for before."""

import math

import pytest
import torch

from summarizer.model.positions import SinusoidalPositions, sinusoids


@pytest.mark.parametrize("position", [0, 1, 7, 511, 512, 5000])
def test_encodings_are_those_of_the_paper(position: int) -> None:
    encoding_D = SinusoidalPositions(8)(position, 1)[0]
    angles = [position / 10_000 ** (2 * pair / 8) for pair in range(4)]
    expected = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
    torch.testing.assert_close(encoding_D, torch.tensor(expected))


def test_longer_texts_do_not_change_what_a_position_means() -> None:
    positions = SinusoidalPositions(8)
    before_TD = positions(0, 512)
    after_TD = positions(0, 1500)
    assert after_TD.shape == (1500, 8)
    assert torch.equal(after_TD[:512], before_TD)
    assert torch.equal(positions(700, 20), after_TD[700:720])


def test_growth_keeps_the_number_type_and_device_of_the_model() -> None:
    assert SinusoidalPositions(8).double()(600, 3).dtype == torch.float64
    assert SinusoidalPositions(8).to(torch.bfloat16)(600, 3).dtype == torch.bfloat16
    assert SinusoidalPositions(8).to("meta")(600, 3).device.type == "meta"


def test_the_product_of_two_encodings_depends_on_their_distance_only() -> None:
    table_SD = sinusoids(2000, 16).double()
    for distance in (0, 1, 5, 40):
        products = (table_SD[: 2000 - distance] * table_SD[distance:]).sum(1)
        expected = sum(math.cos(distance * 10_000 ** (-pair / 8)) for pair in range(8))
        torch.testing.assert_close(products, torch.full_like(products, expected), rtol=0, atol=1e-5)


def test_encodings_are_no_part_of_a_checkpoint() -> None:
    assert not SinusoidalPositions(8).state_dict()
