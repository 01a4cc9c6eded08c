"""``hydra/sweeper=search``: a sweep whose next job is chosen by what the jobs before it gave, by Optuna.

The ranges are Hydra's own: ``choice(a,b)`` or ``a,b``, ``range(1,5)``, ``interval(0,0.3)``, ``int(interval(2,8))`` and
``tag(log,interval(1e-4,1e-2))``. The study lies in the sweep's folder, so that the same command continues it.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from summarizer.checkpoint import lock_holder
from summarizer.commands.jobs import JOB_FILE, Status, read_record
from summarizer.errors import UserError
from summarizer.runtime import configure_logging
from summarizer.training.config import BEST_IS_LOWEST

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

STUDY_FILE = "search.journal"
_FOLDER = "folder"  # of a trial's job, as the study notes it


@dataclass
class SearchConf:
    """``hydra.sweeper.*`` of the search."""

    _target_: str = "hydra_plugins.summarizer.Search"
    trials: int = 20
    """Jobs in all; the same command with more of them continues."""

    at_once: int = 1
    """Jobs that are chosen, and handed to the launcher, together."""

    seed: int = 1
    """Of the choices."""


class Search(Sweeper):
    """Asks Optuna for values, lets the launcher run the jobs, and tells Optuna their objectives.

    A failed job is told as such and counts as a trial. A job that was interrupted is met again by the same command and
    goes on; one that another process has in hand is left to it.
    """

    __module__ = "hydra_plugins.summarizer"  # the only place that Hydra takes plugins from: see register_search

    def __init__(self, *, trials: int, at_once: int, seed: int) -> None:
        for name, value in (("trials", trials), ("at_once", at_once)):
            if value < 1:
                raise UserError(f"hydra.sweeper.{name} ({value}) must be at least 1")
        self.trials = trials
        self.at_once = at_once
        self.seed = seed

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.composed = config  # by Hydra, without what is searched
        self.context = hydra_context
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Raises UserError for ranges that cannot be searched, and where Optuna is not installed."""
        overrides = OverridesParser.create(self.context.config_loader).parse_overrides(arguments)
        self.fixed = [each.input_line or "" for each in overrides if not each.is_sweep_override()]
        self.searched = [each for each in overrides if each.is_sweep_override()]
        if not self.searched:
            raise UserError(
                "there is nothing to search: give ranges, as in 'optimizer.lr=tag(log,interval(1e-4,1e-2))' or "
                "model.dropout=0,0.1"
            )
        self._require_settings()
        configure_logging()  # no job has done so yet
        self.folder = Path(self.composed.hydra.sweep.dir)
        self.study = self._open_study()
        for trials in self._batches():
            jobs = [self._overrides_of(trial.params) for trial in trials]
            for trial, done in zip(trials, self._launch(jobs, trials[0].number), strict=True):
                self._tell(trial, done)

    def _require_settings(self) -> None:
        """Let Hydra refuse, before anything is chosen, what is no setting."""
        first = [f"{each.get_key_element()}={_first_value(each)}" for each in self.searched]
        self.context.config_loader.load_sweep_config(self.composed, [*self.fixed, *first])

    def _open_study(self) -> optuna.Study:
        try:
            import optuna
            from optuna.storages.journal import JournalFileBackend
        except ImportError as error:
            raise UserError(
                'hydra/sweeper=search needs Optuna, which is not installed: pip install -e ".[search]", or leave it '
                "out and name the values to try"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(self.folder / STUDY_FILE)))
        objective = OmegaConf.select(self.composed, "training.best_metric")
        direction: Literal["minimize", "maximize"] = "minimize" if objective in BEST_IS_LOWEST else "maximize"
        study = optuna.create_study(
            study_name="search", storage=storage, direction=direction, load_if_exists=True
        )  # of another direction: Optuna keeps that of the study
        if study.direction.name.lower() != direction:
            raise UserError(
                f"{self.folder} holds a search for what {study.direction.name.lower()}s another objective than "
                f"{objective}: choose another run_dir"
            )
        if study.trials:
            logger.info("the search goes on after %d trials of %d", len(study.trials), self.trials)
        return study

    def _batches(self) -> Iterator[list[_Choice]]:
        """First the trials that were interrupted, then new ones, up to their number."""
        from optuna.trial import TrialState

        open_trials = self.study.get_trials(states=(TrialState.RUNNING,))
        for trial in open_trials:
            folder = trial.user_attrs.get(_FOLDER)
            if folder is None:  # nobody knows what it was to be
                self.study.tell(trial.number, state=TrialState.FAIL)
            elif lock_holder(self.folder / folder) is None:
                yield [_Choice(trial.number, trial.params)]
        while (left := self.trials - len(self.study.trials)) > 0:
            yield [self._ask() for _ in range(min(left, self.at_once))]

    def _ask(self) -> _Choice:
        import optuna

        trial = self.study.ask()
        # By the number of the trial: what a continued search draws is not what it drew at first.
        self.study.sampler = optuna.samplers.TPESampler(seed=self.seed + trial.number, constant_liar=self.at_once > 1)
        params = {}
        for each in self.searched:
            key = each.get_key_element()
            try:
                params[key] = draw(trial, each)
            except ValueError as error:
                self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                raise UserError(
                    f"{self.folder} holds a search with other values of {key} ({error}): choose another run_dir"
                ) from error
        trial.set_user_attr(_FOLDER, self._folder_of(params))
        return _Choice(trial.number, params)

    def _folder_of(self, params: dict[str, Any]) -> str:
        config = self.context.config_loader.load_sweep_config(self.composed, self._overrides_of(params))
        return str(config.hydra.sweep.subdir)

    def _overrides_of(self, params: dict[str, Any]) -> list[str]:
        """Fractions with six digits, which are enough to try and few enough to read in the name of a folder."""
        shown = {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in params.items()}
        return [*self.fixed, *(f"{key}={value}" for key, value in shown.items())]

    def _launch(self, jobs: Sequence[Sequence[str]], first_number: int) -> Sequence[JobReturn]:
        return self.launcher.launch(jobs, initial_job_idx=first_number)

    def _tell(self, trial: _Choice, done: JobReturn) -> None:
        from optuna.trial import TrialState

        _ = done.return_value  # raises what could not even be noted
        assert done.hydra_cfg is not None
        record = read_record(Path(done.hydra_cfg.hydra.runtime.output_dir) / JOB_FILE)
        if record is None or record.status is Status.unfinished:
            return  # in other hands, and theirs to tell
        value = None if record.result is None else record.result.value
        if record.status is Status.failed or value is None:
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        else:
            self.study.tell(trial.number, value, skip_if_finished=True)


@dataclass(frozen=True)
class _Choice:
    """A trial: its number in the study, and the value of each setting."""

    number: int
    params: dict[str, Any]


def draw(trial: optuna.Trial, override: Override) -> str | int | float:
    """A value from a range in Hydra's words. Raises ValueError where the study knows the setting with other options."""
    key, value = str(override.get_key_element()), override.value()
    if isinstance(value, IntervalSweep):
        low, high, is_log = value.start, value.end, "log" in value.tags
        assert low is not None
        assert high is not None
        if isinstance(low, int) and isinstance(high, int):
            return trial.suggest_int(key, low, high, log=is_log)
        return trial.suggest_float(key, low, high, log=is_log)
    options = list(override.sweep_string_iterator())
    if (
        isinstance(value, RangeSweep)
        and isinstance(value.start, int)
        and isinstance(value.step, int)
        and value.step > 0
    ):
        return trial.suggest_int(key, int(options[0]), int(options[-1]), step=value.step)
    return trial.suggest_categorical(key, options)


def _first_value(override: Override) -> Any:
    value = override.value()
    return value.start if isinstance(value, IntervalSweep) else next(iter(override.sweep_string_iterator()))


def register_search() -> None:
    """Let a command line name ``hydra/sweeper=search``.

    Hydra imports plugins from the package ``hydra_plugins`` alone, where those of others are installed. Ours stays in
    this file, which gets a second name.
    """
    ConfigStore.instance().store(group="hydra/sweeper", name="search", node=SearchConf, provider="summarizer")
    Plugins.instance().register(Search)
    package, _, name = Search.__module__.partition(".")
    try:
        parent = importlib.import_module(package)
    except ImportError:
        parent = sys.modules[package] = ModuleType(package)
    this = sys.modules[__name__]
    sys.modules[Search.__module__] = this
    setattr(parent, name, this)
