"""Time one kind of work, ours beside that of other libraries, and say how close to the machine it comes."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from summarizer.benchmark.contest import Contest, hold, num_runs
from summarizer.benchmark.decoding import decoding_contest
from summarizer.benchmark.reading import encoding_contest
from summarizer.benchmark.report import tables, write
from summarizer.benchmark.scaling import Task, measure_scaling, scaling_table
from summarizer.benchmark.scoring import scoring_contest
from summarizer.benchmark.training import training_contest
from summarizer.checkpoint import write_text_atomically
from summarizer.commands.preparation import obtain_tokenizer
from summarizer.config import BenchmarkConfig, Work
from summarizer.data.sources import open_split
from summarizer.errors import UserError
from summarizer.machine import matmul_peak, processor_name
from summarizer.runtime import configure_logging, set_up

logger = logging.getLogger(__name__)


def benchmark(config: BenchmarkConfig) -> None:
    """Hold the contest, print its table, write all timings."""
    configure_logging()
    runtime = set_up(config.runtime)
    output = Path(config.output or f"outputs/benchmark/{config.what.value}-{runtime.precision.value}.json")
    if output.is_dir():
        raise UserError(f"output ({output}) is a folder and must be a file: try output={output}/benchmark.json")
    setup = f"{processor_name()}; {runtime.describe()}; PyTorch {torch.__version__}; {config.repeats} rounds, in turn"
    logger.info("%s", setup)
    if config.what is Work.scaling:
        _scale(config, setup, output)
        return
    with_matrices = config.what is Work.train
    peaks = {"before": matmul_peak(runtime.device, runtime.matmul_type)} if with_matrices else {}
    contest = _contest(config)
    if config.peers and len(contest.contenders) == 1:
        logger.info('no peer is installed, so none is timed: pip install -e ".[peers]"')
    with tqdm(total=num_runs(contest, config.repeats), desc=config.what.value, unit="run", disable=None) as bar:
        outcome = hold(contest, repeats=config.repeats, device=runtime.device, on_run=bar.update)
    if with_matrices:
        peaks["after"] = matmul_peak(runtime.device, runtime.matmul_type)
        setup += f"; largest matrix products at {max(peaks.values()) / 1e9:,.0f} GFLOP/s"
    print(tables([outcome], setup, peaks))
    write(output, [outcome], setup, peaks)
    logger.info("\nall timings are in %s", output)


def _scale(config: BenchmarkConfig, setup: str, output: Path) -> None:
    task = Task(config.model, config.vocab_size, config.train, config.seed, config.runtime)
    scaling = measure_scaling(task, most_processes=config.processes, repeats=config.repeats)
    print(f"{setup}\n\n{scaling_table(scaling)}")
    write_text_atomically(output, json.dumps({"setup": setup, **asdict(scaling)}, indent=1) + "\n")
    logger.info("\nall timings are in %s", output)


def _contest(config: BenchmarkConfig) -> Contest:
    match config.what:
        case Work.train:
            return training_contest(
                config.model,
                config.vocab_size,
                config.train,
                seed=config.seed,
                runtime=config.runtime,
                peers=config.peers,
            )
        case Work.decode:
            return decoding_contest(
                config.model,
                config.vocab_size,
                config.decode,
                seed=config.seed,
                runtime=config.runtime,
                peers=config.peers,
            )
        case Work.scaling:
            raise AssertionError("what=scaling is no contest with others")
        case Work.rouge:
            examples = list(open_split(config.data, "test"))
            return scoring_contest(examples, processes=config.processes, peers=config.peers)
        case Work.data:
            split = open_split(config.data, "train")
            tokenizer = obtain_tokenizer(config.tokenizer, split, Path(config.data.cache_dir))
            reopened = partial(open_split, config.data, "train")
            return encoding_contest(reopened, config.data, tokenizer, peers=config.peers)
