"""A plan follows its settings: more devices, more batches, other precision, and what would not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from summarizer.data.sampler import BatchingConfig
from summarizer.errors import UserError
from summarizer.model.flops import Amounts, update_flops
from summarizer.model.transformer import Transformer
from summarizer.planning import alternatives
from summarizer.planning.alternatives import effects
from summarizer.planning.lengths import DataSizeConfig, Lengths
from summarizer.planning.memory import BatchShape, Sizes
from summarizer.planning.plan import Training, link_between, make_plan, require_fit
from summarizer.planning.report import plain, tables
from summarizer.runtime import Precision, Strategy

Maker = Callable[..., Training]


def test_operations_are_those_of_the_examples_of_an_update(make_training: Maker) -> None:
    training = make_training()
    plan = make_plan(training)
    of_one = update_flops(training.model, 50, Amounts.of(torch.tensor([24]), torch.tensor([8])))
    assert plan.examples_per_update == 1000 / 21, "48 of 24 + 8 tokens fit into 1,536"
    assert plan.flops == pytest.approx(of_one * plan.examples_per_update, rel=1e-6)
    assert plan.tokens_per_update == pytest.approx(plan.examples_per_update * 32)
    assert plan.parameters == Transformer(training.model, 50).num_parameters
    assert plan.epochs == pytest.approx(100 / 21)
    assert plan.mfu == pytest.approx(plan.flops / 1e12 / plan.time.total)


def test_padding_is_what_the_grid_adds(make_training: Maker) -> None:
    size = DataSizeConfig(examples=96, source_tokens=21, target_tokens=5)
    plan = make_plan(make_training(lengths=Lengths.given(size, max_source=32, max_target=16)))
    assert plan.padding == pytest.approx(1 - 26 / 32)
    assert plan.tokens_per_update == pytest.approx(26 * 48)


def test_an_update_of_two_batches_is_twice_as_much_and_brings_twice_as_far(make_training: Maker) -> None:
    one, two = (make_plan(make_training(accumulate=accumulate)) for accumulate in (1, 2))
    for part in ("flops", "examples_per_update", "tokens_per_update", "epochs"):
        assert getattr(two, part) == pytest.approx(2 * getattr(one, part), rel=1e-6), part
    assert two.time.products == pytest.approx(2 * one.time.products)
    assert two.time.memory == pytest.approx(2 * one.time.memory)
    assert two.time.optimizer == one.time.optimizer
    assert two.hours == pytest.approx(100 * two.time.total / 3600)
    assert two.tokens_per_second == pytest.approx(two.tokens_per_update / two.time.total)
    assert two.mfu == pytest.approx(two.flops / 1e12 / two.time.total)


def test_recomputing_is_one_more_forward_pass(make_training: Maker) -> None:
    kept, again = (make_plan(make_training(recompute=recompute)) for recompute in (False, True))
    assert again.time.products == pytest.approx(kept.time.products * 4 / 3)
    assert again.time.memory == pytest.approx(kept.time.memory * 4 / 3)
    assert again.flops == kept.flops, "those of real tokens are the same"


def test_an_mfu_that_is_given_is_that_of_the_plan(make_training: Maker) -> None:
    plan = make_plan(make_training(mfu=0.25))
    assert plan.mfu == pytest.approx(0.25)
    assert plan.time.total == pytest.approx(plan.flops / (0.25 * 1e12))


def test_the_largest_shape_is_a_share_of_the_longest_examples(make_training: Maker) -> None:
    """At most 1,536 tokens of 32 + 16 each, on a grid of 8."""
    assert make_plan(make_training(gpus=5)).shape == BatchShape(7, 32, 16)
    few = make_training(batching=BatchingConfig(max_tokens=32 * 48, length_step=8, max_examples=6))
    assert make_plan(few).shape == BatchShape(6, 32, 16)
    one = make_training(batching=BatchingConfig(max_tokens=40, length_step=40))
    assert make_plan(one).shape == BatchShape(1, 40, 40)


def test_what_is_set_comes_first_and_every_other_way_to_use_the_memory_once(make_training: Maker) -> None:
    def ways(**changes: Any) -> list[str]:
        return [variant.settings for variant in make_plan(make_training(**changes)).variants]

    assert ways(recompute=True) == ["ddp, recomputing", "ddp"], "one device spreads nothing"
    found = ways(gpus=2, strategy=Strategy.fsdp)
    assert found[0] == "fsdp"
    assert sorted(found) == ["ddp", "ddp, recomputing", "fsdp", "fsdp, recomputing"]


def test_a_spread_model_gathers_all_weights_twice_but_what_is_around_and_sums_gradients_once(
    make_training: Maker,
) -> None:
    training = make_training(gpus=4, strategy=Strategy.fsdp)
    sizes = Sizes.of(training.model, training.vocab_size)
    seconds = make_plan(training).time.communication
    assert seconds == pytest.approx(3 / 4 * 4 * (3 * sizes.total - sizes.around) / training.link)
    spread, whole = make_plan(training).time, make_plan(replace(training, strategy=Strategy.ddp)).time
    assert spread.optimizer == pytest.approx(whole.optimizer / 4)


def test_twice_as_many_devices_have_half_of_the_work_each_and_something_to_tell_each_other(
    make_training: Maker,
) -> None:
    one, two = (make_plan(make_training(gpus=gpus)) for gpus in (1, 2))
    assert two.time.products == pytest.approx(one.time.products / 2, rel=1e-3)
    assert (one.time.communication, two.flops, two.shape.examples) == (0, one.flops, one.shape.examples / 2)
    assert two.time.communication == pytest.approx(4 * one.parameters / 1e10)  # half of the gradients, twice


def test_an_update_of_several_batches_exchanges_once_and_a_spread_model_with_each(make_training: Maker) -> None:
    def exchange(strategy: Strategy, accumulate: int) -> float:
        return make_plan(make_training(gpus=4, strategy=strategy, accumulate=accumulate)).time.communication

    assert exchange(Strategy.ddp, 3) == exchange(Strategy.ddp, 1)
    assert exchange(Strategy.fsdp, 3) == pytest.approx(3 * exchange(Strategy.fsdp, 1))
    assert exchange(Strategy.ddp, 1) < exchange(Strategy.fsdp, 1) < 1.5 * exchange(Strategy.ddp, 1)


def test_a_network_is_the_slowest_stretch_of_a_ring_over_machines(make_training: Maker) -> None:
    device = make_training().device
    assert link_between(device, gpus=8, gpus_per_machine=8, network=1e9) == device.link
    assert link_between(device, gpus=9, gpus_per_machine=8, network=1e9) == 1e9
    assert link_between(device, gpus=9, gpus_per_machine=8, network=1e12) == device.link


def test_the_largest_batch_fits_and_a_larger_one_does_not(make_training: Maker) -> None:
    for strategy in Strategy:
        training = make_training(gpus=2, strategy=strategy)
        most = make_plan(training).chosen.most_max_tokens
        assert most > training.batching.max_tokens
        for tokens, fits in ((most, True), (most + 2 * 48, False)):
            batching = BatchingConfig(max_tokens=tokens, length_step=8)
            assert make_plan(replace(training, batching=batching)).chosen.fits is fits


def test_a_model_that_does_not_fit_at_all_is_refused_with_a_way_out(make_training: Maker) -> None:
    device = replace(make_training().device, memory=5e4)
    training = make_training(device=device)
    with pytest.raises(UserError, match=r"device \(card\) has 0 GiB.*not even one example.*runtime\.strategy=fsdp"):
        require_fit(make_plan(training), training)


def test_what_one_change_does_is_told_as_a_ratio_with_the_best_first(make_training: Maker) -> None:
    training = make_training(gpus=2, lengths=make_training().lengths)
    long = replace(training, lengths=replace(training.lengths, longest=(256, 16)))
    found = {effect.change: effect for effect in effects(long, make_plan(long))}
    assert [effect.gpu_time for effect in found.values()] == sorted(effect.gpu_time for effect in found.values())
    assert {"data.max_source_tokens=128", "gpus=4", "runtime.precision=bf16"} <= set(found)
    assert found["runtime.precision=bf16"].time < 1
    assert found["tokenizer.vocab_size=25"].memory < 1 < found["data.batching.max_tokens=3072"].memory
    assert found["data.max_source_tokens=128"].memory < 1
    assert found["runtime.recompute_activations=true"].memory < 1 < found["runtime.recompute_activations=true"].time
    assert found["gpus=4"].time < 1 < found["gpus=4"].gpu_time


def test_only_changes_that_somebody_could_want_are_looked_at(make_training: Maker) -> None:
    def changes(longest: int, **more: Any) -> set[str]:
        training = make_training(**more)
        training = replace(training, lengths=replace(training.lengths, longest=(longest, 16)))
        return {change for change, _ in alternatives._changes(training)}

    assert "data.max_source_tokens=64" in changes(128)
    few = changes(127, precision=Precision.bf16, recompute=True)
    assert few == {
        "tokenizer.vocab_size=25", "data.batching.max_tokens=3072", "runtime.recompute_activations=false", "gpus=2"
    }  # fmt: skip
    old = replace(make_training().device, peaks={Precision.fp32: 1e12})
    assert "runtime.precision=bf16" not in changes(32, device=old)


def test_tables_and_values_say_the_same_and_cost_only_where_there_is_a_price(make_training: Maker) -> None:
    training = make_training(gpus=2, precision=Precision.bf16)
    plan = make_plan(training)
    text, values = (make(training, plan, [], price=2.0) for make in (tables, plain))
    assert text.startswith("A plan: ")
    assert f"{plan.hours * 4:,.2f} |" in text
    assert values["cost"] == plan.hours * 2 * 2.0
    assert values["memory"][0]["bytes"]["total"] == plan.chosen.use.total
    assert sum(values["update"]["seconds_by_part"].values()) == pytest.approx(plan.time.total)
    assert "cost" not in tables(training, plan, [], price=None)
    assert plain(training, plan, [], price=None)["cost"] is None


def test_what_is_counted_assumed_known_or_measured_is_told(make_training: Maker) -> None:
    assumed = make_training()
    known = Lengths.known(np.full(20, 24, dtype=np.int32), np.full(20, 8, dtype=np.int32))
    measured = replace(assumed, lengths=known, device=replace(assumed.device, source="measured here"))
    first, second = (tables(each, make_plan(each), [], price=None).splitlines()[0] for each in (assumed, measured))
    for words in ("counted from the model", "lengths are assumed", "device is as its data sheet says"):
        assert words in first
    for words in ("lengths are those of the encoded data", "device was measured"):
        assert words in second
    assert "Time, assuming that" in tables(assumed, make_plan(assumed), [], price=None)
