"""A search asks, launches and tells: so many jobs at once, each with its outcome, and what was interrupted first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from summarizer.checkpoint import RunLock
from summarizer.commands.jobs import Record, Result, Status, write_record
from summarizer.commands.search import Search
from summarizer.errors import UserError

optuna = pytest.importorskip("optuna")

RANGES = ["model=tiny", "lr=tag(log,interval(1e-4,1e-2))", "heads=2,4"]
Outcome = Callable[[Sequence[str]], Record | None]  # of a job, by its overrides


def finished(value: float | None) -> Record:
    return Record([], Status.finished, result=Result("loss", value, True))


class Loader:
    """The part of Hydra that names a job's folder after its overrides."""

    def load_sweep_config(self, config: Any, overrides: list[str]) -> Any:
        return OmegaConf.create({"hydra": {"sweep": {"subdir": "+".join(overrides)}}})


class Launcher:
    """Notes what it is to run, and lets each job end as it should."""

    def __init__(self, folder: Path, outcome: Outcome) -> None:
        self.folder, self.outcome = folder, outcome
        self.launched: list[tuple[int, list[list[str]]]] = []

    @property
    def jobs(self) -> list[list[str]]:
        return [job for _, jobs in self.launched for job in jobs]

    def launch(self, jobs: list[list[str]], initial_job_idx: int) -> list[JobReturn]:
        self.launched.append((initial_job_idx, jobs))
        return [self._run(self.folder / "+".join(job), job) for job in jobs]

    def _run(self, folder: Path, job: list[str]) -> JobReturn:
        record = self.outcome(job)
        if record is not None:
            write_record(folder, record)
        hydra = OmegaConf.create({"hydra": {"runtime": {"output_dir": str(folder)}}})
        return JobReturn(hydra_cfg=hydra, _return_value=0.0, status=JobStatus.COMPLETED)


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., tuple[Launcher, Any]]:
    """Runs a search of ``tmp_path``; what it launched, and its study."""

    def run(
        *ranges: str, outcome: Outcome = lambda job: finished(1.0), metric: str = "loss", **settings: int
    ) -> tuple[Launcher, Any]:
        made = Search(**{"trials": 3, "at_once": 1, "seed": 1, **settings})
        made.composed = OmegaConf.create(
            {"hydra": {"sweep": {"dir": str(tmp_path)}}, "training": {"best_metric": metric}}
        )
        made.context = SimpleNamespace(config_loader=Loader())  # type: ignore[assignment]
        made.launcher = launcher = Launcher(tmp_path, outcome)  # type: ignore[assignment]
        made.sweep(list(ranges or RANGES))
        return launcher, made.study

    return run


def test_so_many_jobs_are_chosen_at_once_and_the_last_time_what_is_left(search: Callable[..., Any]) -> None:
    launcher, study = search(trials=7, at_once=3)
    assert [(first, len(jobs)) for first, jobs in launcher.launched] == [(0, 3), (3, 3), (6, 1)]
    assert len(study.trials) == 7
    for job, trial in zip(launcher.jobs, study.trials, strict=True):
        assert job == ["model=tiny", f"lr={trial.params['lr']:.6g}", f"heads={trial.params['heads']}"]
    assert len({tuple(job) for job in launcher.jobs}) == 7


def test_a_seed_gives_the_choices_another_one_others_and_a_continued_search_new_ones(
    search: Callable[..., Any], tmp_path: Path
) -> None:
    def begun_anew(seed: int) -> list[list[str]]:
        (tmp_path / "search.journal").unlink(missing_ok=True)
        jobs: list[list[str]] = search(seed=seed)[0].jobs
        return jobs

    first = begun_anew(1)
    assert first == begun_anew(1)
    assert not {job[1] for job in first} & {job[1] for job in begun_anew(100)}
    begun_anew(1)
    continued = search(seed=1, trials=5)[0].jobs
    assert len(continued) == 2
    assert not {job[1] for job in continued} & {job[1] for job in first}


@pytest.mark.parametrize(
    ("metric", "direction"), [("loss", "MINIMIZE"), ("perplexity", "MINIMIZE"), ("rouge1", "MAXIMIZE")]
)
def test_what_is_better_depends_on_the_objective(metric: str, direction: str, search: Callable[..., Any]) -> None:
    assert search(metric=metric, trials=1)[1].direction.name == direction


def test_the_study_hears_what_became_of_each_job(search: Callable[..., Any]) -> None:
    outcomes = [finished(0.25), Record([], Status.failed), finished(None), Record([], Status.unfinished), None]
    given = iter(outcomes)
    _, study = search(trials=5, outcome=lambda job: next(given))
    states = [(trial.state.name, trial.value) for trial in study.trials]
    assert states == [("COMPLETE", 0.25), ("FAIL", None), ("FAIL", None), ("RUNNING", None), ("RUNNING", None)]


def test_what_was_interrupted_is_launched_again_before_anything_is_chosen(search: Callable[..., Any]) -> None:
    launched: list[Sequence[str]] = []

    def stop(job: Sequence[str]) -> Record:
        launched.append(job)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(trials=2, outcome=stop)
    launcher, study = search(trials=2)
    assert launcher.jobs[0] == launched[0]
    assert [first for first, _ in launcher.launched] == [0, 1]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2


def test_a_job_in_other_hands_is_left_to_them_and_counts(search: Callable[..., Any], tmp_path: Path) -> None:
    launcher, _ = search(trials=1, outcome=lambda job: None)
    with RunLock(tmp_path / "+".join(launcher.jobs[0])):
        later, study = search(trials=2)
    assert len(later.jobs) == 1
    assert later.jobs != launcher.jobs
    assert [trial.state.name for trial in study.trials] == ["RUNNING", "COMPLETE"]


def test_a_trial_that_ended_before_its_values_were_noted_has_failed(search: Callable[..., Any]) -> None:
    _, study = search(trials=1)
    study.ask()
    launcher, study = search(trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert len(launcher.jobs) == 1


def test_other_values_of_a_setting_leave_no_open_trial(search: Callable[..., Any]) -> None:
    _, study = search("heads=2,4", trials=1)
    with pytest.raises(UserError, match=r"other values of heads .*choose another run_dir"):
        search("heads=2,8", trials=2)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL"]


@pytest.mark.parametrize("name", ["trials", "at_once"])
def test_less_than_one_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"hydra\.sweeper\.{name} \(0\) must be at least 1"):
        Search(**{"trials": 1, "at_once": 1, "seed": 1, name: 0})
