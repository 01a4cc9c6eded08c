"""A model that is spread over processes learns what a whole one learns, whatever it is built from."""

from __future__ import annotations

import copy
import importlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_parallel import of_all
from torch import Tensor

from summarizer.checkpoint import CheckpointError, load_checkpoint
from summarizer.data.batch import Batch, collate
from summarizer.data.example import EncodedExample
from summarizer.errors import UserError
from summarizer.model.config import (
    AttentionConfig,
    AttentionSites,
    FeedForwardKind,
    NormKind,
    NormPlacement,
    PointerConfig,
    PositionKind,
    ScoreKind,
    TransformerConfig,
)
from summarizer.model.transformer import Transformer
from summarizer.parallel import ALONE, Processes
from summarizer.runtime import Precision, Runtime
from summarizer.sharding import WholeTwin, fill, gathered, is_sharded, shard, whole
from summarizer.tokenizer import END_ID, PAD_ID, START_ID
from summarizer.training import saving, step
from summarizer.training.cross_entropy import LossSums
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.saving import Saver
from summarizer.training.state import TrainerState, model_weights, optimizer_tensors, restore_optimizer
from summarizer.training.step import Updater

CPU = torch.device("cpu")
VOCAB_SIZE = 23
LENGTHS = [(9, 8), (6, 7), (3, 1), (2, 2), (5, 4)]
# No size is a multiple of two times two: some process has a smaller part of every weight, or none of it.
SIZES: dict[str, Any] = {
    "width": 10, "num_heads": 2, "key_dim": 6, "value_dim": 5, "feed_forward_dim": 7, "max_positions": 9,
    "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0,
}  # fmt: skip
# AdamW makes a whole step of the rounding of a gradient that should be 0, unless eps is larger.
OPTIMIZER = OptimizerConfig(lr=1e-2, eps=1e-3)


@pytest.fixture(scope="module", autouse=True)
def imported_once() -> None:
    """By the process that is forked, what optimizers and FSDP would import in each of the others: two seconds."""
    importlib.import_module("torch._dynamo")


def variants() -> Iterator[tuple[str, TransformerConfig]]:
    """Every kind of positions with every score that has weights, and one of the two that have none; of the rest, every
    two neighbours differ.
    """
    plain = itertools.cycle([ScoreKind.scaled_dot, ScoreKind.dot])
    pairs = [(positions, score) for positions in PositionKind
             for score in (next(plain), ScoreKind.general, ScoreKind.additive)]  # fmt: skip
    for number, (positions, score) in enumerate(pairs):
        site = AttentionConfig(score=score, kv_heads=1 + number % 2)
        yield (
            f"{positions.name} {score.name}",
            TransformerConfig(
                **SIZES,
                positions=positions,
                attention=AttentionSites(encoder_self=site, decoder_self=site, cross=replace(site)),
                pointer=PointerConfig(enabled=number % 2 == 0, score=score),
                tie_embeddings=number % 3 > 0,
                norm=list(NormKind)[number % 2],
                norm_placement=list(NormPlacement)[number // 2 % 2],
                feed_forward=list(FeedForwardKind)[number % 3],
            ),
        )


def batch_of(rows: slice, *, seed: int) -> Batch:
    """Some rows of a batch, padded as all of it."""
    random = np.random.default_rng(seed)

    def tokens(count: int) -> np.ndarray[Any, np.dtype[np.int32]]:
        return np.append(random.integers(END_ID + 1, VOCAB_SIZE, count - 1), END_ID).astype(np.int32)

    examples = [EncodedExample(str(i), tokens(s), tokens(t)) for i, (s, t) in enumerate(LENGTHS)]
    return collate(examples[rows], pad_id=PAD_ID, start_id=START_ID, source_length=9, target_length=8)


def updater_of(
    model: Transformer, processes: Processes = ALONE, precision: Precision = Precision.fp32, **changes: Any
) -> Updater:
    settings: dict[str, Any] = {"label_smoothing": 0.1, "clip_norm": 0.5, "seed": 5} | changes
    return Updater(
        model,
        build_optimizer(model, OPTIMIZER),
        runtime=Runtime(CPU, precision),
        learning_rate=lambda step: 1e-2,
        coverage_weight=lambda step: 0.5,
        processes=processes,
        **settings,
    )


def spread(model: Transformer) -> Transformer:
    shard(model, [*model.encoder_layers, *model.decoder_layers], CPU)
    return model


def weights_of(model: Transformer) -> dict[str, Tensor]:
    return {name: whole(weight).clone() for name, weight in model_weights(model).items()}


def furthest(mine: dict[str, Tensor], its: dict[str, Tensor]) -> float:
    assert mine.keys() == its.keys()
    return max(float((mine[name] - tensor).abs().max()) for name, tensor in its.items())


def learn_both_ways(processes: Processes) -> dict[str, tuple[list[float], float]]:
    """How far losses and gradient norms, and weights, are apart after updates of one batch and of two.

    In fp32, from what one process learns from all rows; in bf16, where rounding depends on which rows are together,
    from what the same processes learn when each has the whole model.
    """
    found = {}
    mine, everything = slice(processes.rank, None, processes.size), slice(None)
    for number, (name, config) in enumerate(variants()):
        precision = [Precision.fp32, Precision.bf16][number // 2 % 2]
        peers, rows = (ALONE, everything) if precision is Precision.fp32 else (processes, mine)
        torch.manual_seed(1)
        reference = Transformer(config, VOCAB_SIZE)
        sharded = spread(copy.deepcopy(reference))
        sharded.recompute = number % 3 == 0
        assert is_sharded(sharded)
        assert not is_sharded(reference)
        learn, learn_together = updater_of(reference, peers, precision), updater_of(sharded, processes, precision)
        apart: list[float] = []
        for number_of_update, seeds in ((1, [1]), (2, [2, 3])):
            expected = learn(number_of_update, [batch_of(rows, seed=seed) for seed in seeds])
            report = learn_together(number_of_update, [batch_of(mine, seed=seed) for seed in seeds])
            apart += [abs(report.loss - expected.loss), abs(report.gradient_norm - expected.gradient_norm)]
            assert report.target_tokens == expected.target_tokens
        found[f"{name} {precision.name}"] = (apart, furthest(weights_of(sharded), weights_of(reference)))
    return found


@pytest.mark.slow
def test_every_kind_of_model_learns_the_same() -> None:
    found = of_all(2, learn_both_ways)
    assert found[0] == found[1]
    for name, (reports, weights) in found[0].items():
        assert max(reports) < 1e-5, name
        assert weights < 1e-5, name


def a_model(**changes: Any) -> Transformer:
    torch.manual_seed(1)
    config = TransformerConfig(**{**SIZES, "pointer": PointerConfig(enabled=True), **changes})
    return Transformer(config, VOCAB_SIZE)


def share_and_bring_together(processes: Processes) -> Any:
    """What is whole and what is a part, at the beginning, during a validation, and in what is saved and loaded."""
    reference = a_model()
    model = copy.deepcopy(reference)
    twin = WholeTwin(model, CPU)
    updater = updater_of(spread(model), processes)
    parts = sum(weight.to_local().numel() for weight in model.parameters())  # type: ignore[attr-defined]
    assert sum(processes.exchange(parts)) == reference.num_parameters == model.num_parameters
    assert furthest(weights_of(model), model_weights(reference)) == 0
    updater(1, [batch_of(slice(processes.rank, None, processes.size), seed=1)])
    weights = weights_of(model)

    batch = batch_of(slice(None), seed=2)
    assert twin.model.num_parameters == 0
    with twin.with_weights_of(model), torch.inference_mode():
        assert furthest(model_weights(twin.model), weights) == 0
        assert twin.model.vocabulary.weight is twin.model.source_embedding.weight
        for _ in range(1 + processes.rank):  # they need not do the same
            twin.model.eval()(batch.source_BS, None, batch.decoder_input_BT)
    assert twin.model.num_parameters == 0

    moments = optimizer_tensors(model, updater.optimizer)
    saved = [gathered(each, {}, keep=True) for each in (model_weights(model), moments)]
    assert gathered(moments, {}, keep=False) == {}
    again, unspread = updater_of(spread(a_model())), updater_of(a_model())
    for other in (again, unspread):
        other.model.load_weights(saved[0], copy=fill)
        restore_optimizer(other.model, other.optimizer, saved[1])
        assert furthest(weights_of(other.model), weights) == 0
        restored = gathered(optimizer_tensors(other.model, other.optimizer), saved[1], keep=True)
        assert all(restored[name] is saved[1][name] for name in restored), "it is copied into the memory there is"
        assert furthest(restored, gathered(moments, {}, keep=True)) == 0
    return "done"


@pytest.mark.slow
def test_what_is_spread_comes_together_again() -> None:
    assert of_all(2, share_and_bring_together) == ["done"] * 2


def lose_a_loss(processes: Processes) -> Any:
    """The loss of one process is infinite."""
    model = spread(a_model())
    updater = updater_of(model, processes)
    before = weights_of(model)
    rows = slice(processes.rank, None, processes.size)
    loss = step.batch_loss
    if processes.rank == 1:
        step.batch_loss = lambda *arguments, **named: _infinite(loss(*arguments, **named))
    skipped = updater(1, [batch_of(rows, seed=1)])
    step.batch_loss = loss
    assert furthest(weights_of(model), before) == 0
    return skipped.skipped, sorted(skipped.skipped_ids), updater(2, [batch_of(rows, seed=1)]).skipped


def save_at_the_second_try(run_dir: Path, processes: Processes) -> Any:
    """The disk refuses the first checkpoint of a step; then there is no next time."""
    updater = updater_of(spread(a_model()), processes)
    updater(1, [batch_of(slice(processes.rank, None, processes.size), seed=1)])
    saver = Saver(run_dir, updater, best_metric="loss", keep_last=1, max_failures=9, processes=processes)
    write = saving.write_checkpoint

    def refuse(*_: Any) -> None:
        saving.write_checkpoint = write
        raise CheckpointError("no")

    saving.write_checkpoint = refuse  # type: ignore[assignment]
    with saver:
        saver.save(TrainerState(data="", step=1))
        saver.save(TrainerState(data="", step=1), must=True)
        saver.save(TrainerState(data="", step=1), must=True)  # done
    weights = weights_of(updater.model)
    saved = load_checkpoint(run_dir / "checkpoints" / "step-0000001")
    return furthest(saved.model, weights), len(saved.trainer_tensors) == 3 * len(weights)


@pytest.mark.slow
def test_all_give_their_parts_whenever_the_main_process_saves(tmp_path: Path) -> None:
    assert of_all(2, partial(save_at_the_second_try, tmp_path)) == [(0.0, True)] * 2


def _infinite(sums: LossSums) -> LossSums:
    return replace(sums, loss=sums.loss * torch.inf)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_in_one_is_skipped_by_all() -> None:
    assert of_all(2, lose_a_loss) == [(True, list("01234"), False)] * 2


def run_out_of_memory(processes: Processes) -> Any:
    """In the midst of the forward pass of one process."""
    updater = updater_of(spread(a_model()), processes)

    def refuse(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    if processes.rank == 1:
        updater.model.decoder_norm.forward = refuse  # type: ignore[method-assign,assignment]
    try:
        return updater(1, [batch_of(slice(None), seed=1)])
    except UserError as error:
        return str(error)


@pytest.mark.slow
def test_memory_that_does_not_suffice_for_one_ends_all_and_is_told_by_it() -> None:
    assert of_all(2, run_out_of_memory) == [
        "PeerLostError",
        "5 examples of 9 + 8 positions do not fit the memory of cpu (CUDA out of memory): divide "
        "data.batching.max_tokens by 2, and multiply training.accumulate by it; or set "
        "runtime.recompute_activations=true",
    ]
