"""The settings of a training reach the parts that act on them, and those that contradict one another are refused."""

from __future__ import annotations

import pytest
import torch

from summarizer.commands import train as command
from summarizer.config import HARMLESS, TrainConfig, flat_settings
from summarizer.data.config import DataConfig
from summarizer.errors import UserError
from summarizer.model.config import PointerConfig, TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.parallel import ALONE
from summarizer.runtime import Precision, Runtime
from summarizer.training.trainer import TrainingConfig


def config(training: TrainingConfig, *, has_pointer: bool = True) -> TrainConfig:
    sizes = {"width": 4, "num_heads": 1, "encoder_layers": 1, "decoder_layers": 1}
    model = TransformerConfig(**sizes, pointer=PointerConfig(enabled=has_pointer))
    return TrainConfig(model=model, data=DataConfig(path="anywhere"), training=training)


def test_coverage_enters_the_loss_from_its_first_update_on() -> None:
    settings = config(TrainingConfig(coverage_weight=0.7, coverage_start=3))
    settings.validate()
    updater = command._updater(
        settings, Transformer(settings.model, 7), Runtime(torch.device("cpu"), Precision.fp32), ALONE
    )
    assert [updater.coverage_weight(step) for step in (1, 2, 3, 4, 1000)] == [0, 0, 0.7, 0.7, 0.7]


def test_coverage_of_a_model_that_copies_nothing_is_refused_with_the_way_out() -> None:
    with pytest.raises(UserError) as refusal:
        config(TrainingConfig(coverage_weight=0.7), has_pointer=False).validate()
    assert str(refusal.value) == (
        "training.coverage_weight (0.7) is about what a pointer copies, and the model has none: "
        "set model.pointer.enabled=true, or leave it at 0"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coverage_weight": -0.1}, "training.coverage_weight (-0.1) must be 0 or more, and finite"),
        ({"coverage_weight": float("nan")}, "training.coverage_weight (nan) must be 0 or more, and finite"),
        ({"coverage_weight": float("inf")}, "training.coverage_weight (inf) must be 0 or more, and finite"),
        ({"coverage_start": -1}, "training.coverage_start (-1) must be at least 0"),
    ],
    ids=str,
)
def test_coverage_out_of_range_is_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(UserError) as refusal:
        config(TrainingConfig(**changes)).validate()  # type: ignore[arg-type]
    assert str(refusal.value) == message


def test_a_pointer_switched_on_or_off_makes_another_run() -> None:
    """Its settings are among those that a run folder is compared by."""
    with_pointer, without = (flat_settings(config(TrainingConfig(), has_pointer=has)) for has in (True, False))
    changed = [key for key in with_pointer if with_pointer[key] != without[key]]
    assert changed == ["model.pointer.enabled"]
    assert not changed[0].startswith(HARMLESS)
