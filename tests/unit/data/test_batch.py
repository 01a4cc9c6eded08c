from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from summarizer.data.batch import collate
from summarizer.data.example import EncodedExample

PAD, START = 0, 2

tokens = st.lists(st.integers(3, 50), min_size=1, max_size=12)
examples = st.lists(
    st.builds(
        lambda id, source, target: EncodedExample(id, np.array(source, np.int32), np.array(target, np.int32)),
        st.text(max_size=3),
        tokens,
        tokens,
    ),
    min_size=1,
    max_size=5,
)


@given(examples)
def test_rows_hold_their_tokens_and_then_padding_alone(examples: list[EncodedExample]) -> None:
    batch = collate(examples, pad_id=PAD, start_id=START)
    assert batch.ids == tuple(example.id for example in examples)
    for i, example in enumerate(examples):
        for row_BX, length_B, expected in (
            (batch.source_BS, batch.source_lengths_B, example.source),
            (batch.target_BT, batch.target_lengths_B, example.target),
        ):
            length = int(length_B[i])
            assert row_BX[i, :length].tolist() == expected.tolist()
            assert (row_BX[i, length:] == PAD).all()


@given(examples)
def test_the_decoder_sees_the_start_and_then_the_target_one_step_late(examples: list[EncodedExample]) -> None:
    batch = collate(examples, pad_id=PAD, start_id=START)
    assert batch.decoder_input_BT.shape == batch.target_BT.shape
    for i, example in enumerate(examples):
        seen = batch.decoder_input_BT[i, : len(example.target)].tolist()
        assert seen == [START, *example.target[:-1].tolist()], "the decoder would see what it must predict"
        assert (batch.decoder_input_BT[i, len(example.target) :] == PAD).all()


@given(examples, st.integers(12, 20), st.integers(12, 20))
def test_padding_to_a_given_length_changes_no_count(
    examples: list[EncodedExample], source_length: int, target_length: int
) -> None:
    short = collate(examples, pad_id=PAD, start_id=START)
    padded = collate(examples, pad_id=PAD, start_id=START, source_length=source_length, target_length=target_length)
    assert padded.source_BS.shape == (len(examples), source_length)
    assert padded.target_BT.shape == padded.decoder_input_BT.shape == (len(examples), target_length)
    assert padded.num_positions == len(examples) * (source_length + target_length)
    assert padded.num_target_tokens == short.num_target_tokens == sum(len(e.target) for e in examples)
    assert (
        padded.num_real_tokens
        == short.num_real_tokens
        == int((short.source_BS != PAD).sum()) + int((short.target_BT != PAD).sum())
    )


def test_ids_are_64_bit_and_moving_a_batch_keeps_everything() -> None:
    example = EncodedExample("a", np.array([5, 3], np.int32), np.array([7, 8, 3], np.int32))
    batch = collate([example], pad_id=PAD, start_id=START)
    moved = batch.to(torch.device("cpu"))
    assert moved.ids == batch.ids
    for name, tensor in vars(batch).items():
        if isinstance(tensor, torch.Tensor):
            assert tensor.dtype == torch.int64
            assert torch.equal(getattr(moved, name), tensor)


@given(examples, st.integers(1, 7))
def test_pieces_hold_the_examples_in_order_and_are_as_equal_as_they_can_be(
    examples: list[EncodedExample], pieces: int
) -> None:
    batch = collate(examples, pad_id=PAD, start_id=START)
    split = batch.split(pieces)
    assert 1 <= len(split) <= pieces
    assert max(len(piece.ids) for piece in split) == -(-len(examples) // pieces)
    assert tuple(id for piece in split for id in piece.ids) == batch.ids
    for name in ("source_BS", "source_lengths_B", "decoder_input_BT", "target_BT", "target_lengths_B"):
        assert torch.equal(torch.cat([getattr(piece, name) for piece in split]), getattr(batch, name))
