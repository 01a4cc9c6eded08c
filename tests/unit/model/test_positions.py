"""Vectors that are added and rotations against their formulas, from any start; where in the model each kind enters."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from summarizer.model.config import PositionKind
from summarizer.model.positions import (
    AttentionPositions,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    sinusoids,
)
from summarizer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]

# Sinusoids


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


# Learned vectors


def test_learned_positions_are_rows_of_one_table_and_end_with_it() -> None:
    positions = LearnedPositions(8, max_positions=10)
    assert positions.table_SD.shape == (10, 8)
    assert torch.equal(positions(3, 4), positions.table_SD[3:7])
    assert torch.equal(positions(0, 10), positions.table_SD)
    for start, length in ((0, 11), (10, 1), (7, 4)):
        with pytest.raises(AssertionError, match=f"position {start + length} of 10 learned ones"):
            positions(start, length)


def test_learned_positions_start_as_large_as_sinusoids() -> None:
    torch.manual_seed(0)
    learned, fixed = (
        table.square().mean().item() for table in (LearnedPositions(64, 500).table_SD, sinusoids(500, 64))
    )
    assert learned == pytest.approx(fixed, rel=0.02)


def test_every_layer_adds_its_own_learned_positions_to_what_enters_it(tiny_model: MakeModel) -> None:
    model = tiny_model(positions=PositionKind.learned_per_layer, max_positions=9)
    layers = [*model.encoder_layers, *model.decoder_layers]
    tables = [layer.get_parameter("positions.table_SD") for layer in layers]
    assert len({table.data_ptr() for table in tables}) == len(layers)
    assert not list(model.positions.parameters())
    output_BTD = run(model, sources=6, targets=4)
    lengths = [6] * len(model.encoder_layers) + [4] * len(model.decoder_layers)
    for gradient_SD, length in zip(torch.autograd.grad(output_BTD.square().sum(), tables), lengths, strict=True):
        assert torch.equal(gradient_SD.ne(0).any(-1), torch.arange(9) < length)


def test_what_is_added_to_the_embeddings_is_not_added_again_by_the_layers(tiny_model: MakeModel) -> None:
    for kind in PositionKind:
        model = tiny_model(positions=kind)
        zeros_BTD = torch.zeros(1, 3, model.config.width, dtype=torch.float64)
        added = model.positions.added_to(zeros_BTD, 0, 3)
        assert bool(added.any()) == (kind in (PositionKind.sinusoidal, PositionKind.learned))
        for layer in (*model.encoder_layers, *model.decoder_layers):
            added = layer.positions.added_to(zeros_BTD, 0, 3)
            assert bool(added.any()) == (kind is PositionKind.learned_per_layer)


# Rotation


def rotated_by_definition(vectors_BHTK: Tensor, start: int) -> Tensor:
    """Pairs are complex numbers; position p multiplies the k-th of n by exp(i p 10000^(-k / n))."""
    pairs = vectors_BHTK.shape[-1] // 2
    complex_BHTk = torch.complex(vectors_BHTK[..., :pairs], vectors_BHTK[..., pairs:])
    turns = [
        [cmath.exp(1j * position * 10_000 ** (-pair / pairs)) for pair in range(pairs)]
        for position in range(start, start + vectors_BHTK.shape[-2])
    ]
    turned_BHTk = complex_BHTk * torch.tensor(turns, dtype=torch.complex128)
    return torch.cat((turned_BHTk.real, turned_BHTk.imag), dim=-1)


@pytest.mark.parametrize("start", [0, 1, 300])
def test_rotation_multiplies_complex_numbers(start: int) -> None:
    vectors_BHTK = random_tensor(2, 3, 5, 8)
    rotated_BHTK = RotaryPositions(8).double().rotated(vectors_BHTK, start)
    torch.testing.assert_close(rotated_BHTK, rotated_by_definition(vectors_BHTK, start), rtol=0, atol=1e-4)


def test_rotation_keeps_lengths_and_what_stands_first() -> None:
    vectors_BHTK = random_tensor(2, 3, 5, 8)
    rotated_BHTK = RotaryPositions(8).double().rotated(vectors_BHTK, 0)
    torch.testing.assert_close(rotated_BHTK.norm(dim=-1), vectors_BHTK.norm(dim=-1), rtol=0, atol=1e-12)
    assert torch.equal(rotated_BHTK[:, :, 0], vectors_BHTK[:, :, 0])
    assert (rotated_BHTK - vectors_BHTK)[:, :, 1:].abs().amax(-1).min() > 1e-3


def test_the_product_of_rotated_vectors_depends_on_their_distance_only() -> None:
    positions = RotaryPositions(8).double()
    query_BHTK, key_BHTK = random_tensor(1, 1, 1, 8), random_tensor(1, 1, 1, 8, seed=1)
    products = {
        (start, distance): (
            (positions.rotated(query_BHTK, start + distance) * positions.rotated(key_BHTK, start)).sum().item()
        )
        for start in (0, 3, 500)
        for distance in (0, 1, 7)
    }
    for (_, distance), product in products.items():
        assert product == pytest.approx(products[0, distance], abs=1e-9)
    assert products[0, 0] == pytest.approx((query_BHTK * key_BHTK).sum().item(), abs=1e-12)
    assert len({round(products[0, distance], 3) for distance in (0, 1, 7)}) == 3


def test_rotation_that_starts_later_is_the_rest_of_a_longer_one() -> None:
    positions, vectors_BHTK = RotaryPositions(8).double(), random_tensor(2, 3, 9, 8)
    later_BHTK = positions.rotated(vectors_BHTK[:, :, 6:], 6)
    assert torch.equal(later_BHTK, positions.rotated(vectors_BHTK, 0)[:, :, 6:])


def test_half_precision_rounds_the_rotated_vectors_but_not_their_positions() -> None:
    vectors_BHTK = random_tensor(1, 1, 4, 8)
    rotated_BHTK = RotaryPositions(8).rotated(vectors_BHTK.bfloat16(), 1001)
    assert rotated_BHTK.dtype == torch.bfloat16
    torch.testing.assert_close(rotated_BHTK.double(), rotated_by_definition(vectors_BHTK, 1001), rtol=0, atol=0.04)


# In the model


@pytest.mark.parametrize("kind", PositionKind, ids=lambda kind: kind.name)
def test_cross_attention_relates_two_sequences_and_knows_no_positions(
    tiny_model: MakeModel, kind: PositionKind
) -> None:
    for layer in tiny_model(positions=kind).decoder_layers:
        assert type(layer.cross_attention.positions) is AttentionPositions


@pytest.mark.parametrize("kind", PositionKind, ids=lambda kind: kind.name)
def test_without_positions_alone_the_encoder_sees_a_set(tiny_model: MakeModel, kind: PositionKind) -> None:
    model, order_S = tiny_model(positions=kind), torch.tensor([3, 0, 4, 1, 2])
    source_BS, mask_BS = torch.tensor([[5, 6, 7, 8, 9]]), torch.ones(1, 5).bool()
    plain_BSD, permuted_BSD = model.encode(source_BS, mask_BS), model.encode(source_BS[:, order_S], mask_BS)
    difference = (plain_BSD[:, order_S] - permuted_BSD).abs().max()
    assert difference < 1e-12 if kind is PositionKind.none else difference > 1e-3


@pytest.mark.parametrize("kind", PositionKind, ids=lambda kind: kind.name)
def test_every_layer_of_the_decoder_knows_the_order_of_what_it_wrote(tiny_model: MakeModel, kind: PositionKind) -> None:
    model = tiny_model(positions=kind, decoder_layers=1)
    encoder_output_BSD, mask_BS = random_tensor(1, 3, 16), torch.ones(1, 3).bool()
    ends = [
        model.decode(torch.tensor([history]), encoder_output_BSD, mask_BS).hidden_BTD[0, -1]
        for history in ([5, 6, 7, 8], [7, 5, 6, 8])
    ]
    difference = (ends[0] - ends[1]).abs().max()
    assert difference < 1e-12 if kind is PositionKind.none else difference > 1e-3


@pytest.mark.parametrize("kind", PositionKind, ids=lambda kind: kind.name)
def test_a_checkpoint_holds_learned_positions_only(tiny_model: MakeModel, kind: PositionKind) -> None:
    plain = set(tiny_model(positions=PositionKind.none).state_dict())
    added = set(tiny_model(positions=kind).state_dict()) - plain
    expected = {
        PositionKind.learned: {"positions.table_SD"},
        PositionKind.learned_per_layer: {
            f"{stack}_layers.{layer}.positions.table_SD" for stack in ("encoder", "decoder") for layer in range(2)
        },
        PositionKind.relative_bias: {
            f"{stack}_layers.{layer}.{site}.positions.table_HN"
            for stack, site in (("encoder", "attention"), ("decoder", "self_attention"))
            for layer in range(2)
        },
    }
    assert added == expected.get(kind, set())


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(model: Transformer, *, sources: int, targets: int) -> Tensor:
    """decoder_output_BTD of two documents."""
    source_BS, input_BT = torch.arange(2 * sources).view(2, -1) % 11, torch.arange(2 * targets).view(2, -1) % 11
    output_BTD: Tensor = model(source_BS, torch.ones(2, sources).bool(), input_BT).hidden_BTD
    return output_BTD
