"""--multirun of training: a folder for each job, one table, nothing lost to a failure, nothing done twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from summarizer.checkpoint import RunLock
from summarizer.training.step import Updater

if TYPE_CHECKING:
    from tests.integration.conftest import Command, Outcome, TrainedRun

pytestmark = pytest.mark.slow

LR = "optimizer.lr=1e-3,3e-4"
NAMES = ["optimizer.lr=0.001", "optimizer.lr=0.0003"]  # of the jobs, the better one first
SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"
WITHOUT_ROUGE = "validation.rouge_examples=0"  # which takes as long as the updates, and changes no weight
FEW = ["training.max_steps=2", WITHOUT_ROUGE]  # where it does not matter what is learned


@pytest.fixture
def arguments(smoke: TrainedRun, tmp_path: Path) -> list[str]:
    """Of a sweep in ``tmp_path / "sweep"``, but for what is swept."""
    return ["experiment=smoke", f"data.cache_dir={smoke.cache}", f"run_dir={tmp_path / 'sweep'}", "--multirun"]


@pytest.fixture
def sabotage(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Updater, int], None]], None]:
    """Lets a function be called before each update."""

    def install(before: Callable[[Updater, int], None]) -> None:
        update = Updater.__call__

        def sabotaged(self: Updater, step: int, batches: Any, **options: Any) -> Any:
            before(self, step)
            return update(self, step, batches, **options)

        monkeypatch.setattr(Updater, "__call__", sabotaged)

    return install


def jobs_of(folder: Path) -> dict[str, dict[str, Any]]:
    """By name, in the order of the table."""
    return {job["name"]: job for job in json.loads((folder / "sweep.json").read_text())["jobs"]}


def weights(run: Path, *, step: int = 10) -> bytes:
    return (run / "checkpoints" / f"step-{step:07}" / "model.safetensors").read_bytes()


def table_rows(outcome: Outcome) -> list[str]:
    """The first column of the printed table, without its head."""
    return [line.split("|")[1].strip() for line in outcome.out.splitlines() if line.startswith("|")][2:]


def test_each_job_is_a_run_of_its_own_and_one_that_fails_loses_no_other(
    command: Command, arguments: list[str], tmp_path: Path, smoke: TrainedRun
) -> None:
    sweep = tmp_path / "sweep"
    outcome = command("train", *arguments, LR, "model.dropout=0.1,2")
    assert outcome.status == 1
    good = [f"model.dropout=0.1+{name}" for name in NAMES]
    bad = [f"model.dropout=2+{name}" for name in NAMES]
    jobs = jobs_of(sweep)
    assert list(jobs)[:2] == good
    assert sorted(list(jobs)[2:]) == sorted(bad)
    assert table_rows(outcome) == [*jobs, "lead-3"]
    values = [jobs[name]["value"] for name in good]
    assert values == sorted(values)
    assert [jobs[name]["metrics"]["loss"] for name in good] == values
    for name in bad:
        assert jobs[name]["status"] == "failed"
        assert "model.dropout (2.0) must be" in jobs[name]["reason"]
        assert f"failed: {name}: model.dropout (2.0)" in outcome.out
        assert [path.name for path in (sweep / name).iterdir()] == ["job.json"]
    assert len(outcome.errors) == len(bad)
    assert "Traceback" not in outcome.err
    assert (sweep / "sweep.md").read_text() in outcome.out
    assert {path.name for path in sweep.iterdir()} == {*jobs, "multirun.yaml", "sweep.json", "sweep.md"}
    assert list((tmp_path / "work").iterdir()) == [], "nothing is written beside the sweep"
    # The learning rate of the smoke recipe is the first of the two: in a sweep it trains what it trains alone.
    rate = next(line for line in (smoke.folder / "config.yaml").read_text().splitlines() if line.startswith("  lr:"))
    assert rate == "  lr: 0.001"
    assert weights(sweep / good[0]) == weights(smoke.folder)
    for script, more in (("evaluate", ["limit=2", "resamples=9"]), ("generate", ["text=Some words."])):
        assert command(script, f"run={sweep / good[0]}", *more).status == 0
    assert command("inspect_run", f"run={sweep / good[0]}").status == 0


def test_an_interrupted_sweep_keeps_what_is_done_and_goes_on_exactly(
    command: Command,
    arguments: list[str],
    tmp_path: Path,
    smoke: TrainedRun,
    sabotage: Callable[[Callable[[Updater, int], None]], None],
) -> None:
    """Interrupted in the second job, which alone would give the weights of the smoke run."""
    sweep, swept = tmp_path / "sweep", "optimizer.lr=3e-4,1e-3"
    is_armed = True

    def interrupt(updater: Updater, step: int) -> None:
        if is_armed and step == 7 and (sweep / NAMES[0]).exists():
            signal.raise_signal(signal.SIGINT)

    sabotage(interrupt)
    arguments = [*arguments, WITHOUT_ROUGE]
    outcome = command("train", *arguments, swept)
    assert outcome.status == 130
    jobs = jobs_of(sweep)
    assert {name: job["status"] for name, job in jobs.items()} == {NAMES[1]: "finished", NAMES[0]: "unfinished"}
    assert f"unfinished: {NAMES[0]}: stopped on the way" in outcome.out
    is_armed = False
    before = (sweep / NAMES[1] / "train.log").read_bytes()
    outcome = command("train", *arguments, swept)
    assert outcome.status == 0, outcome.err
    assert "continued after step 7" in outcome.err
    assert outcome.err.count("finished before: loss") == 1
    assert (sweep / NAMES[1] / "train.log").read_bytes() == before
    assert list(jobs_of(sweep)) == NAMES
    assert weights(sweep / NAMES[0]) == weights(smoke.folder)


def test_memory_that_is_too_small_and_a_bug_of_ours_end_one_job_each(
    command: Command,
    arguments: list[str],
    tmp_path: Path,
    sabotage: Callable[[Callable[[Updater, int], None]], None],
) -> None:
    def fail(updater: Updater, step: int) -> None:
        if (tmp_path / "sweep" / "seed=3").exists():
            return
        if (tmp_path / "sweep" / "seed=2").exists():
            raise ZeroDivisionError("of ours")
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore")

    sabotage(fail)
    outcome = command("train", *arguments, *FEW, "seed=1,2,3")
    assert outcome.status == 1
    jobs = jobs_of(tmp_path / "sweep")
    assert list(jobs) == ["seed=3", "seed=1", "seed=2"]
    assert jobs["seed=1"]["reason"].startswith("out of memory (CUDA out of memory. Tried to allocate 20.00 GiB.):")
    assert jobs["seed=2"]["reason"] == "ZeroDivisionError: of ours"
    assert "Traceback" not in outcome.err
    (told,) = [line for line in outcome.errors if "seed=2" in line]
    file = tmp_path / "sweep" / "seed=2" / "job.json"
    assert told.endswith(f"its traceback is in {file}")
    assert "in fail\n" in json.loads(file.read_text())["traceback"]


def test_other_settings_in_a_finished_job_s_folder_fail_that_job(
    command: Command, arguments: list[str], tmp_path: Path
) -> None:
    arguments = [*arguments, *FEW]
    assert command("train", *arguments, "seed=1,2").status == 0
    before = weights(tmp_path / "sweep" / "seed=1", step=2)
    outcome = command("train", *arguments, "seed=1,2", "model.width=64")
    assert outcome.status == 1
    assert "holds a run with other settings (model.width was 32 and is 64)" in outcome.out
    assert weights(tmp_path / "sweep" / "seed=1", step=2) == before
    outcome = command("train", *arguments, "seed=1,2")
    assert outcome.status == 0, "the same as at first finds its results again"
    assert [job["status"] for job in jobs_of(tmp_path / "sweep").values()] == ["finished", "finished"]


def sweep_alone(folder: Path, output: Path, arguments: list[str]) -> None:
    """What the script does, in the process that was forked for it."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.chdir(folder)
    sys.argv = [str(SCRIPT), *arguments]
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_two_sweeps_that_start_together_share_jobs_and_caches(tmp_path: Path, smoke: TrainedRun) -> None:
    """Each makes or waits for tokenizer and cache, trains what the other does not, and none hurts the other."""
    arguments = ["experiment=smoke", "data.cache_dir=cache", "run_dir=sweep", WITHOUT_ROUGE]
    arguments += ["-m", "optimizer.lr=1e-3,3e-4,1e-4"]
    context = multiprocessing.get_context("fork")
    outputs = [tmp_path / name for name in ("first.txt", "second.txt")]
    processes = [context.Process(target=sweep_alone, args=(tmp_path, output, arguments)) for output in outputs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=300)
    messages = "\n".join(map(Path.read_text, outputs))
    assert {process.exitcode for process in processes} <= {0, 1}, messages  # 1: the other is still at its last job
    assert messages.count("training a tokenizer") == 1
    assert "error" not in messages
    assert {job["status"] for job in jobs_of(tmp_path / "sweep").values()} <= {"finished", "unfinished"}
    for name in [*NAMES, "optimizer.lr=0.0001"]:
        assert json.loads((tmp_path / "sweep" / name / "job.json").read_text())["status"] == "finished"
    assert weights(tmp_path / "sweep" / NAMES[0]) == weights(smoke.folder)
    assert list((tmp_path / "cache").rglob(".*")) == [], "no lock is left"


def test_a_job_in_the_hands_of_another_process_is_left_to_it(
    command: Command, arguments: list[str], tmp_path: Path
) -> None:
    with RunLock(tmp_path / "sweep" / "seed=1"):
        outcome = command("train", *arguments, *FEW, "seed=1,2")
    assert outcome.status == 1
    assert "warning: job seed=1 is left to another process" in outcome.err
    assert {name: job["status"] for name, job in jobs_of(tmp_path / "sweep").items()} == {
        "seed=2": "finished",
        "seed=1": "unfinished",
    }
    assert f"unfinished: seed=1: in work by process {os.getpid()}" in outcome.out


def test_a_sweep_without_run_dir_gets_a_folder_of_its_own(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    few = [*FEW, f"data.cache_dir={smoke.cache}"]
    for _ in range(2):
        outcome = command("train", "experiment=smoke", "-m", "model.dropout=0.1,2", *few)
        assert outcome.status == 1, "there is no dropout of 2"
        assert "1 of 2 jobs" in outcome.out
    sweeps = list((tmp_path / "work" / "outputs").iterdir())
    assert len(sweeps) == 2
    for sweep in sweeps:
        assert {path.name for path in sweep.iterdir() if path.is_dir()} == {"model.dropout=0.1", "model.dropout=2"}
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["outputs"]


REFUSED = {
    "an unknown key": (["model.widht=1,2"], ["model.widht", "did you mean width?"]),
    "a word for a number": (["seed=1,many"], ["seed", "many"]),
    "an option that is not there": (["model=tiny,huge"], ["model has no option huge"]),
    "what the sweeper does not know": (["optimizer.lr=interval(1e-4,1e-3)"], ["BasicSweeper", "INTERVAL"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_sweep_that_cannot_begin_is_refused_whole_and_leaves_nothing(
    case: str, command: Command, arguments: list[str], tmp_path: Path
) -> None:
    swept, words = REFUSED[case]
    outcome = command("train", *arguments, *swept)
    assert outcome.status == 2
    assert len(outcome.errors) == 1
    for word in words:
        assert word in outcome.errors[0]
    assert not (tmp_path / "sweep").exists()
    assert list((tmp_path / "work").iterdir()) == []


def test_a_file_for_the_sweep_is_refused_and_kept(command: Command, arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "sweep").write_text("mine")
    outcome = command("train", *arguments, "seed=1,2")
    assert (outcome.status, len(outcome.errors)) == (2, 1)
    assert f"{tmp_path / 'sweep'} is a file" in outcome.errors[0]
    assert (tmp_path / "sweep").read_text() == "mine"


def test_several_processes_of_one_run_do_not_sweep(
    command: Command, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    outcome = command("train", *arguments, "seed=1,2")
    assert (outcome.status, len(outcome.errors)) == (2, 1)
    assert "torchrun started 2" in outcome.errors[0]


@pytest.mark.parametrize(
    "script", ["generate", "demo", "inspect_run", "train_tokenizer", "benchmark", "compare_attention"]
)
def test_commands_whose_results_do_not_compare_refuse_to_sweep(script: str, command: Command, tmp_path: Path) -> None:
    outcome = command(script, "--multirun", "run=a,b")
    assert (outcome.status, len(outcome.errors)) == (2, 1)
    assert f"start {script}.py once for each setting" in outcome.errors[0]
    assert list((tmp_path / "work").iterdir()) == []
