"""What a checkpoint holds of a run is enough to go on as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from summarizer.data.batch import Batch
from summarizer.data.loader import Position
from summarizer.errors import UserError
from summarizer.model.transformer import Transformer
from summarizer.training.state import TrainerState, model_weights, optimizer_tensors, restore_optimizer
from summarizer.training.step import Updater

LENGTHS = [(9, 8), (6, 7), (3, 1)]


@pytest.mark.parametrize("tied", [True, False])
def test_the_next_update_after_a_restore_is_the_same_bit_for_bit(
    tied: bool,
    make_model: Callable[..., Transformer],
    make_batch: Callable[..., Batch],
    make_updater: Callable[..., Updater],
) -> None:
    update = make_updater(make_model(tie_embeddings=tied))
    for step in (1, 2, 3):
        update(step, [make_batch(LENGTHS, seed=step)])
    saved_weights, saved_tensors = copies(model_weights(update.model)), copies(tensors_of(update))
    fresh = make_updater(make_model(tie_embeddings=tied))
    fresh.model.load_weights(saved_weights)
    restore_optimizer(fresh.model, fresh.optimizer, saved_tensors)
    for step in (4, 5):
        expected = update(step, [make_batch(LENGTHS, seed=step)])
        assert fresh(step, [make_batch(LENGTHS, seed=step)]) == expected
    assert_same_bits(model_weights(fresh.model), model_weights(update.model))
    assert_same_bits(tensors_of(fresh), tensors_of(update))


def test_weights_alone_would_not_be_enough(
    make_model: Callable[..., Transformer],
    make_batch: Callable[..., Batch],
    make_updater: Callable[..., Updater],
) -> None:
    update = make_updater(make_model())
    update(1, [make_batch(LENGTHS)])
    forgetful = make_updater(make_model())
    forgetful.model.load_weights(model_weights(update.model))
    for each in (update, forgetful):
        each(2, [make_batch(LENGTHS, seed=1)])
    name = "decoder_norm.weight"
    assert not torch.equal(model_weights(update.model)[name], model_weights(forgetful.model)[name])


def test_restored_tensors_are_copies_beside_their_parameters(
    make_model: Callable[..., Transformer],
    make_batch: Callable[..., Batch],
    make_updater: Callable[..., Updater],
) -> None:
    update = make_updater(make_model())
    update(1, [make_batch(LENGTHS)])
    saved = copies(tensors_of(update))
    kept = copies(saved)
    fresh = make_updater(make_model())
    restore_optimizer(fresh.model, fresh.optimizer, saved)
    fresh(2, [make_batch(LENGTHS)])
    assert_same_bits(saved, kept)
    assert {tensor.dtype for tensor in tensors_of(fresh).values()} == {torch.float32}


def test_every_parameter_has_its_own_tensors_and_tied_ones_have_them_once(
    make_model: Callable[..., Transformer],
    make_batch: Callable[..., Batch],
    make_updater: Callable[..., Updater],
) -> None:
    update = make_updater(make_model(tie_embeddings=True))
    assert tensors_of(update) == {}
    update(1, [make_batch(LENGTHS)])
    names = model_weights(update.model).keys()
    assert "source_embedding.weight" in names
    assert not {"target_embedding.weight", "vocabulary.weight"} & names
    assert tensors_of(update).keys() == {f"{name}/{key}" for name in names for key in ("step", "exp_avg", "exp_avg_sq")}


def test_the_trainer_state_survives_json() -> None:
    state = TrainerState(
        data="a",
        step=7,
        position=Position(2, 5),
        best_value=1.25,
        best_step=6,
        best_metrics={"loss": 1.25, "rouge1": 0.1},
        stale_validations=1,
        skipped_updates=3,
        skipped_in_a_row=2,
        stopped_early=True,
    )
    assert TrainerState.from_plain(json.loads(json.dumps(state.to_plain()))) == state
    assert TrainerState.from_plain(json.loads(json.dumps(TrainerState(data="a").to_plain()))) == TrainerState(data="a")


@pytest.mark.parametrize(
    "plain", [{}, {"position": {}}, {"data": "a", "position": {"page": 1}}, {"data": "a", "position": {}, "x": 1}]
)
def test_the_trainer_state_of_another_release_is_refused_in_one_line(plain: dict[str, object]) -> None:
    with pytest.raises(UserError, match="another release") as refusal:
        TrainerState.from_plain(plain)
    assert "\n" not in str(refusal.value)


def tensors_of(update: Updater) -> dict[str, Tensor]:
    return optimizer_tensors(update.model, update.optimizer)


def copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def assert_same_bits(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    assert [name for name in actual if not torch.equal(actual[name], expected[name])] == []


FOREIGN: dict[str, dict[str, Any]] = {
    "another entry": {"hooks": ["os.system"]},
    "no data": {"data": None},
    "a step of text": {"step": "1"},
    "a step that is a truth": {"step": True},
    "a negative step": {"step": -1},
    "no position": {"position": None},
    "a negative position": {"position": {"epoch": -1, "batch": 0}},
    "a position of its own": {"position": {"epoch": 0, "batch": 0, "then": 1}},
    "a fraction for a step": {"best_step": 1.5},
    "text for a value": {"best_value": "1"},
    "metrics of text": {"best_metrics": {"loss": "x"}},
    "a list of metrics": {"best_metrics": []},
    "a number for a truth": {"stopped_early": 1},
    "a list for a tokenizer": {"tokenizer": ["a"]},
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_state_that_nobody_saved_is_refused(case: str) -> None:
    with pytest.raises(UserError, match="trainer state is of another release"):
        TrainerState.from_plain({**TrainerState(data="a").to_plain(), **FOREIGN[case]})


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"source_embedding.weight/exp_avg": None}, "source_embedding.weight/exp_avg"),
        ({"source_embedding.weight/exp_avg": torch.zeros(3)}, "source_embedding.weight/exp_avg"),
        ({"source_embedding.weight/step": torch.zeros(3)}, "source_embedding.weight/step"),
        ({"source_embedding.weight/hook": torch.zeros(())}, "source_embedding.weight/hook"),
        ({"no.such.weight/step": torch.zeros(())}, "no.such.weight/step"),
        ({"step": torch.zeros(())}, "step"),
    ],
)
def test_optimizer_tensors_of_another_model_are_refused(
    change: dict[str, Tensor | None],
    path: str,
    make_model: Callable[..., Transformer],
    make_batch: Callable[..., Batch],
    make_updater: Callable[..., Updater],
) -> None:
    update = make_updater(make_model())
    update(1, [make_batch(LENGTHS)])
    tensors = {name: value for name, value in {**tensors_of(update), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=f"not this model's, such as {path}$"):
        restore_optimizer(update.model, update.optimizer, tensors)
