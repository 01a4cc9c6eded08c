"""hydra/sweeper=search: jobs that Optuna chooses, in a study that goes on, whatever ended it."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from summarizer.commands.search import draw
from summarizer.training.step import Updater

if TYPE_CHECKING:
    from tests.integration.conftest import Command, TrainedRun

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.slow

LR = "optimizer.lr=tag(log,interval(1e-4,1e-2))"


@pytest.fixture
def search(command: Command, smoke: TrainedRun, tmp_path: Path) -> Callable[..., Any]:
    """A search of two steps a job in ``tmp_path / "search"``."""
    few = ["training.max_steps=2", "validation.rouge_examples=0", "training.validate_every=2"]
    fixed = ["experiment=smoke", f"data.cache_dir={smoke.cache}", f"run_dir={tmp_path / 'search'}", *few]
    return lambda *arguments: command("train", *fixed, "--multirun", "hydra/sweeper=search", *arguments)


def jobs_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {job["name"]: job for job in json.loads((folder / "sweep.json").read_text())["jobs"]}


def study(folder: Path) -> Any:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "search.journal"))
    return optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(backend))


def test_the_search_goes_on_where_it_stands_and_knows_what_each_job_gave(
    search: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "search"
    assert search(LR, "model.dropout=0,0.1", "hydra.sweeper.trials=2").status == 0
    first = jobs_of(folder)
    logging.getLogger("summarizer").handlers.clear()  # as in a process that begins
    outcome = search(LR, "model.dropout=0,0.1", "hydra.sweeper.trials=4")
    assert outcome.status == 0, outcome.err
    jobs = jobs_of(folder)
    assert len(first) == 2
    assert len(jobs) == 4, "each job is another"
    assert first.items() <= jobs.items()
    assert "the search goes on after 2 trials of 4" in outcome.err
    assert "finished before" not in outcome.err
    found = study(folder)
    assert found.direction.name == "MINIMIZE"
    assert sorted(trial.value for trial in found.trials) == [job["value"] for job in jobs.values()]
    again = search(LR, "model.dropout=0,0.1", "hydra.sweeper.trials=4")
    assert (again.status, again.err.count("\njob")) == (0, 0), "nothing is left to do"
    assert again.out == outcome.out


def test_an_interrupted_job_goes_on_and_a_failed_one_counts(
    search: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three heads do not divide the width of 32."""
    update, is_armed = Updater.__call__, True

    def interrupted(self: Updater, *arguments: Any, **more: Any) -> Any:
        if is_armed:
            signal.raise_signal(signal.SIGINT)
        return update(self, *arguments, **more)

    monkeypatch.setattr(Updater, "__call__", interrupted)
    arguments = [LR, "model.num_heads=2,3", "hydra.sweeper.trials=5"]
    assert search(*arguments).status == 130
    is_armed = False
    (open_job,) = [name for name, job in jobs_of(tmp_path / "search").items() if job["status"] == "unfinished"]
    outcome = search(*arguments)
    jobs = jobs_of(tmp_path / "search")
    assert outcome.status == 1
    assert outcome.err.count("continued after step 1") == 1
    assert jobs[open_job]["status"] == "finished"
    assert len(study(tmp_path / "search").trials) == 5
    failed = [name for name, job in jobs.items() if job["status"] == "failed"]
    assert failed
    assert all("model.num_heads=3" in name for name in failed)
    states = [trial.state.name for trial in study(tmp_path / "search").trials]
    assert states.count("FAIL") >= len(failed)
    assert "RUNNING" not in states


REFUSED = {
    "an unknown setting": (["model.widht=1,2"], ["model.widht", "did you mean width?"]),
    "an empty interval": (["optimizer.lr=interval(2,1)"], ["optimizer.lr=interval(2,1)", "from less to more"]),
    "an empty range": (["seed=range(3,3)"], ["seed=range(3,3)", "is empty"]),
    "a logarithm of nothing": (["model.dropout=tag(log,interval(0,0.5))"], ["must begin above 0", "logarithmic"]),
    "nothing to search": (["seed=1"], ["nothing to search", "optimizer.lr=tag(log,interval(1e-4,1e-2))"]),
    "no trials": (["seed=1,2", "hydra.sweeper.trials=0"], ["hydra.sweeper.trials (0)", "at least 1"]),
    "an unknown setting of the search": (["seed=1,2", "hydra.sweeper.trails=3"], ["trails"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_searched_is_refused_in_one_line(case: str, search: Callable[..., Any], tmp_path: Path) -> None:
    arguments, words = REFUSED[case]
    outcome = search(*arguments)
    assert (outcome.status, len(outcome.errors)) == (2, 1), outcome.err
    for word in words:
        assert word in outcome.errors[0]
    assert not (tmp_path / "search").exists()


def test_without_optuna_the_way_to_get_it_is_told(
    search: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    outcome = search(LR)
    assert (outcome.status, len(outcome.errors)) == (2, 1)
    assert 'pip install -e ".[search]"' in outcome.errors[0]
    assert not (tmp_path / "search").exists()


def test_a_search_of_other_values_or_another_objective_is_refused(search: Callable[..., Any]) -> None:
    assert search("model.dropout=0,0.1", "hydra.sweeper.trials=1").status == 0
    outcome = search("model.dropout=0,0.2", "hydra.sweeper.trials=2")
    assert (outcome.status, len(outcome.errors)) == (2, 1)
    assert "holds a search with other values of model.dropout" in outcome.errors[0]
    outcome = search("model.dropout=0,0.1", "hydra.sweeper.trials=2", "training.best_metric=accuracy")
    assert (outcome.status, len(outcome.errors)) == (2, 1)
    assert "choose another run_dir" in outcome.errors[0]


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("x=1,2,c", lambda value: value in ("1", "2", "c")),
        ("x=range(1,6,2)", lambda value: value in (1, 3, 5)),
        ("x=range(0.1,0.35,0.1)", lambda value: value in ("0.1", "0.2", "0.30000000000000004")),
        ("x=int(interval(2,4))", lambda value: value in (2, 3, 4)),
        ("x=interval(0.5,0.75)", lambda value: 0.5 <= value <= 0.75),
        ("x=tag(log,interval(1e-4,1e-2))", lambda value: 1e-4 <= value <= 1e-2),
    ],
)
def test_every_kind_of_range_gives_values_from_all_of_it(override: str, allowed: Callable[[Any], bool]) -> None:
    parsed = OverridesParser.create().parse_override(override)
    memory = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [draw(memory.ask(), parsed) for _ in range(60)]
    assert all(map(allowed, drawn))
    assert len(set(drawn)) >= 3
    if "log" in override:
        assert 15 < sum(value < 1e-3 for value in drawn) < 45, "as many below the geometric mean as above"
