"""Train a model, or continue where its run folder stands."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path

from summarizer.checkpoint import (
    RunLock,
    clean_temporary,
    new_run_folder,
    refuse_ways_out,
    write_bytes_atomically,
    write_text_atomically,
)
from summarizer.commands.jobs import Result
from summarizer.commands.preparation import PreparedData, prepare
from summarizer.commands.train_sweep import training_result
from summarizer.commands.train_tables import end_table, hyperparameters, start_table
from summarizer.config import TrainConfig, decisive_settings, from_yaml, to_yaml
from summarizer.data.loader import BatchLoader
from summarizer.decoding.generator import Generator
from summarizer.errors import UserError
from summarizer.evaluation.utility import rouge_utility
from summarizer.evaluation.validation import Validator
from summarizer.inference import CONFIG_FILE, TOKENIZER_FILE
from summarizer.model.transformer import Transformer
from summarizer.parallel import PeerLostError, Processes, joined
from summarizer.runtime import Runtime, Strategy, configure_logging, seed_step, set_up
from summarizer.sharding import WholeTwin, shard
from summarizer.tokenizer import Tokenizer
from summarizer.training.config import TrainingConfig
from summarizer.training.gauge import Gauge
from summarizer.training.interruption import Interrupted
from summarizer.training.optimizer import build_optimizer
from summarizer.training.reporting import Reporter
from summarizer.training.schedule import learning_rate_factor
from summarizer.training.state import TrainerState
from summarizer.training.step import Updater
from summarizer.training.trainer import Trainer, resume

logger = logging.getLogger(__name__)


def train(config: TrainConfig) -> Result:
    """Everything from data to the last checkpoint; the run folder appears once the data has proved sound.

    The result is the best validation. Where torchrun started several processes, each of them calls this.
    """
    try:
        with joined() as processes:
            return training_result(config, _train_together(config, processes))
    except PeerLostError as error:
        logger.warning("another process of this run is gone (%s); the same command continues", error)
        raise SystemExit(1) from error


def _train_together(config: TrainConfig, processes: Processes) -> TrainerState:
    configure_logging(is_quiet=not processes.is_main)
    run_dir = Path(config.run_dir) if config.run_dir is not None else None
    processes.agreed(partial(_require_usable_folder, run_dir, config, processes))
    runtime = processes.agreed(partial(set_up, config.runtime, processes.local_rank))
    with processes.one_by_machine_first():
        data = prepare(config.data, config.tokenizer)
    run_dir = run_dir if run_dir is not None else new_run_folder(Path("outputs"))
    with RunLock(run_dir) if processes.is_main else nullcontext():
        if processes.is_main:
            _require_same_tokenizer(run_dir, data.tokenizer)
            clean_temporary(run_dir)
            configure_logging(run_dir / "train.log")
        processes.exchange(None)  # before this, nobody reads what is cleaned
        return _train(config, run_dir, runtime, data, processes)


def _train(
    config: TrainConfig, run_dir: Path, runtime: Runtime, data: PreparedData, processes: Processes
) -> TrainerState:
    seed_step(config.seed, 0)
    model = Transformer(
        config.model, data.tokenizer.vocab_size, recompute=config.runtime.recompute_activations
    )  # on the CPU: all of it may not fit a GPU
    validated, with_weights = _placed(model, config.runtime.strategy, runtime, processes)
    updater = _updater(config, model, runtime, processes)
    state = processes.agreed(
        partial(
            resume,
            run_dir,
            updater,
            data=data.train.fingerprint,
            validation_data=data.validation.fingerprint,
            tokenizer=data.tokenizer.fingerprint,
            settings=decisive_settings(config),
        )
    )
    processes.agreed(partial(_require_same_start, run_dir, state, processes))
    # Only now: what is refused above must not become what the run folder says of itself.
    if processes.is_main:
        write_text_atomically(run_dir / CONFIG_FILE, to_yaml(config))
        write_bytes_atomically(run_dir / TOKENIZER_FILE, data.tokenizer.to_bytes())
    if config.runtime.compile:
        model.compile()
    loader = _loader(config, data, runtime, processes)
    validator = _validator(config, validated, with_weights, data, runtime, processes)
    logger.info("%s", start_table(config, run_dir, runtime, data, model, loader, state, processes))
    gauge = Gauge.measured(runtime, processes)
    updater.rehearse(loader.largest_batch())
    reporter = Reporter(
        run_dir,
        max_steps=config.training.max_steps,
        start_step=state.step,
        validated_step=state.validated_step,
        log_every=config.training.log_every,
        gauge=gauge,
        is_silent=not processes.is_main,
    )
    with reporter:
        trainer = Trainer(
            config.training,
            updater=updater,
            loader=loader,
            validate=validator,
            reporter=reporter,
            run_dir=run_dir,
            state=state,
            processes=processes,
        )
        try:
            trainer.fit()
        except Interrupted:
            logger.info("stopped and saved after step %d; the same command continues", state.step)
            raise
        best = {f"best_{name}": value for name, value in state.best_metrics.items() if "/" not in name}
        reporter.finish(hyperparameters(config), best)
    logger.info("%s", end_table(run_dir, state, reporter.speed()))
    return state


def _placed(
    model: Transformer, strategy: Strategy, runtime: Runtime, processes: Processes
) -> tuple[Transformer, Callable[[], AbstractContextManager[None]]]:
    """Put ``model`` where it is trained. Returns what a validation looks at, and where it has its weights."""
    if strategy is Strategy.ddp or processes.size == 1:  # one process has nobody to share with
        return model.to(runtime.device), nullcontext
    twin = WholeTwin(model, runtime.device)
    shard(model, [*model.encoder_layers, *model.decoder_layers], runtime.device)
    return twin.model, partial(twin.with_weights_of, model)


def _updater(config: TrainConfig, model: Transformer, runtime: Runtime, processes: Processes) -> Updater:
    return Updater(
        model,
        build_optimizer(model, config.optimizer),
        runtime=runtime,
        learning_rate=partial(_learning_rate, config),
        label_smoothing=config.training.label_smoothing,
        coverage_weight=partial(_coverage_weight, config.training),
        clip_norm=config.training.clip_norm,
        seed=config.seed,
        processes=processes,
    )


def _learning_rate(config: TrainConfig, step: int) -> float:
    return config.optimizer.lr * learning_rate_factor(step, config.schedule, max_steps=config.training.max_steps)


def _coverage_weight(training: TrainingConfig, step: int) -> float:
    return training.coverage_weight if step >= training.coverage_start else 0.0


def _loader(config: TrainConfig, data: PreparedData, runtime: Runtime, processes: Processes) -> BatchLoader:
    return BatchLoader(
        data.train,
        config.data.batching,
        seed=config.seed,
        num_workers=config.runtime.num_workers,
        pin_memory=runtime.device.type == "cuda",
        processes=processes,
    )


def _validator(
    config: TrainConfig,
    model: Transformer,
    with_weights: Callable[[], AbstractContextManager[None]],
    data: PreparedData,
    runtime: Runtime,
    processes: Processes,
) -> Validator:
    return Validator(
        model,
        loader=BatchLoader(
            data.validation,
            config.data.batching,
            seed=config.seed,
            pin_memory=runtime.device.type == "cuda",
            processes=processes,
        ),
        examples=list(islice(data.validation_split, config.validation.rouge_examples)),
        generator=Generator(
            model,
            data.tokenizer,
            config.decoding,
            max_source_tokens=config.data.max_source_tokens,
            device=runtime.device,
            autocast=runtime.autocast,
            utility=rouge_utility(config.validation.language),
            static=runtime.cuda_graphs,
        ),
        tokenizer=data.tokenizer,
        runtime=runtime,
        samples=config.validation.samples,
        language=config.validation.language,
        processes=processes,
        with_weights=with_weights,
    )


def _require_same_start(run_dir: Path, state: TrainerState, processes: Processes) -> None:
    steps = processes.exchange(state.step)
    if len(set(steps)) > 1:
        raise UserError(
            f"run_dir ({run_dir}) must be one folder for all processes, and they find steps {steps} there: put it on a "
            "file system that all machines share"
        )


def _require_usable_folder(run_dir: Path | None, config: TrainConfig, processes: Processes) -> None:
    if run_dir is not None:
        _require_same_run(run_dir, config)
    elif processes.size > 1:
        raise UserError("run_dir must be given where several processes train together: try run_dir=outputs/mine")


def _require_same_run(run_dir: Path, config: TrainConfig) -> None:
    """Refuse to continue a run with settings that would make it another one."""
    if run_dir.exists() and not run_dir.is_dir():
        raise UserError(f"run_dir ({run_dir}) is a file and must be a folder: choose another run_dir")
    refuse_ways_out(run_dir)
    if not (run_dir / CONFIG_FILE).exists():
        return
    before, now = decisive_settings(from_yaml(run_dir / CONFIG_FILE)), decisive_settings(config)
    changed = [
        f"{key} was {before.get(key)} and is {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise UserError(
            f"run_dir ({run_dir}) holds a run with other settings ({'; '.join(changed)}): "
            "repeat its settings to continue it, or choose another run_dir"
        )


def _require_same_tokenizer(run_dir: Path, tokenizer: Tokenizer) -> None:
    """The weights of a run belong to its tokenizer, which other texts under the same settings would replace."""
    path = run_dir / TOKENIZER_FILE
    if not path.exists():
        return
    before = Tokenizer.load(path).fingerprint
    if before != tokenizer.fingerprint:
        raise UserError(
            f"run_dir ({run_dir}) holds a run with another tokenizer (its hash was {before[:8]} and is "
            f"{tokenizer.fingerprint[:8]}), for the training texts or tokenizer.path have changed since: "
            "bring them back to continue it, or choose another run_dir"
        )
