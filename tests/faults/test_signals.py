"""SIGTERM and SIGINT: finish the update, save, exit 143 or 130; the same command continues. A second one is final."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from child import wait_for
from harness import SAMPLE, MakeRun, Run

from summarizer.checkpoint import Checkpoint, load_latest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"
# Updates of about a second and validations of several, so that a signal finds them.
SETTINGS = shlex.split("""
experiment=none data=local data.limit.train=200 data.limit.validation=100 data.limit.test=2 data.max_source_tokens=48
data.max_target_tokens=32 data.batching.max_tokens=400 tokenizer.vocab_size=350 model=tiny model.width=16
model.num_heads=2 model.encoder_layers=1 model.decoder_layers=1 model.feed_forward_dim=16 runtime=cpu
runtime.precision=fp32 runtime.num_threads=1 runtime.num_workers=2 training.max_steps=3 training.accumulate=100
training.log_every=1 training.validate_every=2 training.save_every=3 validation.rouge_examples=100 decoding.beam_size=4
decoding.max_tokens=32 decoding.max_batch_tokens=500
""")

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.mark.parametrize("place", ["updating", "validating", "saving", "elsewhere"])
def test_a_signal_anywhere_in_training_saves_and_the_run_goes_on(
    place: str, points: list[tuple[str, str]], make_run: MakeRun, whole: Run
) -> None:
    updates = [index for index, point in enumerate(points) if point == ("updating", "before __call__")]
    # Not the last ones: what is written beside the training may come a little later than it did when counted.
    before, within = (sum(where == place for where, _ in part) for part in (
        points[: updates[0]], points[updates[0] : updates[-3]]
    ))  # fmt: skip
    kill_at = (place, before + random.Random(place).randrange(within) + 1)
    run = make_run(fresh=True)
    assert run.attempt(kill_at=kill_at, signal_number=signal.SIGTERM) == 143, run.output
    assert run.points()[0][0] == place
    assert "the same command continues" in run.output
    assert run.checkpoint().step == max(run.examples()), "no finished update is lost"
    assert run.unfinished() == []
    assert run.attempt() == 0, run.output
    assert run.differences(whole) == []


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(cache: Path, tmp_path: Path) -> Start:
    """Starts the command line in a process group of its own, as a terminal and a scheduler do."""

    def run(run_dir: Path, *settings: str) -> subprocess.Popen[bytes]:
        arguments = [*SETTINGS, f"data.path={SAMPLE}", f"data.cache_dir={cache}", f"run_dir={run_dir}", *settings]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        with (tmp_path / f"{run_dir.name}.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, str(SCRIPT), *arguments],
                cwd=tmp_path,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    return run


@pytest.fixture(scope="module")
def expected(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Of a run that no signal met."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    arguments = [*SETTINGS, f"data.path={SAMPLE}", f"data.cache_dir={cache}", f"run_dir={run_dir}"]
    subprocess.run([sys.executable, str(SCRIPT), *arguments], check=True, capture_output=True, cwd=run_dir.parent)
    return newest(run_dir)


@pytest.mark.parametrize(
    ("number", "status", "after_update", "saved", "validated"),
    [(signal.SIGTERM, 143, 0, 1, 0), (signal.SIGINT, 130, 2, 2, 0)],
    ids=["training", "validation"],
)
def test_the_command_ends_saved_and_the_same_command_continues(
    number: int, status: int, after_update: int, saved: int, validated: int,
    start: Start, tmp_path: Path, expected: Checkpoint,
) -> None:  # fmt: skip
    """The signal goes to the whole process group, data loader workers among them, as Ctrl-C and schedulers send it."""
    run_dir = tmp_path / "run"
    process = start(run_dir)
    wait_until_training(run_dir, after_update)
    os.killpg(process.pid, number)
    assert process.wait(timeout=120) == status, output(run_dir)
    assert "Traceback" not in output(run_dir)
    state = newest(run_dir).trainer_state["state"]
    assert (state["step"], state["validated_step"]) == (saved, validated)
    assert start(run_dir).wait() == 0, output(run_dir)
    assert_same(newest(run_dir), expected)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_second_signal_does_not_wait_for_the_update(number: int, status: int, start: Start, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    process = start(run_dir, "training.accumulate=100000")
    wait_until_training(run_dir, 0)
    os.killpg(process.pid, number)
    time.sleep(1)
    assert process.poll() is None, "the first one waits"
    os.killpg(process.pid, number)
    assert process.wait(timeout=60) == status, output(run_dir)


def wait_until_training(run_dir: Path, after_update: int) -> None:
    """Until so many updates are logged; and the next thing, which takes a second or more, has begun."""
    wait_for(run_dir / "tensorboard")
    deadline = time.monotonic() + 300
    while (run_dir / "metrics.jsonl").read_text(encoding="utf-8").count('"train"') < after_update:
        assert time.monotonic() < deadline, output(run_dir)
        time.sleep(0.02)
    time.sleep(0.3)


def output(run_dir: Path) -> str:
    return (run_dir.parent / f"{run_dir.name}.txt").read_text(encoding="utf-8")


def newest(run_dir: Path) -> Checkpoint:
    checkpoint = load_latest(run_dir)
    assert checkpoint is not None
    return checkpoint


def assert_same(got: Checkpoint, wanted: Checkpoint) -> None:
    def plain(checkpoint: Checkpoint) -> dict[str, Any]:
        return {name: tensor.tolist() for name, tensor in {**checkpoint.model, **checkpoint.trainer_tensors}.items()}

    assert plain(got) == plain(wanted)
    assert got.trainer_state == wanted.trainer_state
