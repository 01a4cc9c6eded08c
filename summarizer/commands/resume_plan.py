"""A report of a run folder in, what its training command would do now out: the checks of `train`, without training."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from summarizer.commands.run_report import RunReport
from summarizer.config import TrainConfig
from summarizer.inference import CONFIG_FILE, TOKENIZER_FILE
from summarizer.training.state import TrainerState


class Action(Enum):
    """What the command that began the run would do if it were repeated."""

    resume = "resume"
    start = "start"  # from step 0
    nothing = "nothing"  # for all is done
    refuse = "refuse"


@dataclass(frozen=True)
class ResumePlan:
    """``step`` is the last finished update that the run would continue from; None if refused."""

    action: Action
    reason: str  # a sentence for people, without its full stop
    step: int | None = None
    checkpoint: str | None = None  # relative to the run folder


def plan_resume(report: RunReport) -> ResumePlan:
    """In the order in which training looks. Same settings and texts are taken for granted: they are not here."""
    plan = _plan_when_free(report)
    if report.lock_holder is None or report.config_fault is not None:  # training reads the config first
        return plan
    reason = f"refused: the folder is in use by {report.lock_holder}; if that ended now: {plan.reason}"
    return ResumePlan(Action.refuse, reason)


def _plan_when_free(report: RunReport) -> ResumePlan:
    newest, state = report.newest_valid, report.state
    if (refusal := _refusal(report)) is not None:
        return ResumePlan(Action.refuse, refusal)
    if newest is None or state is None:
        return ResumePlan(Action.start, "start from step 0: nothing has been saved yet", step=0)
    name = f"checkpoints/{newest.path.name}"
    max_steps = report.config.training.max_steps if report.config is not None else None
    if not state.stopped_early and (max_steps is None or state.step < max_steps):
        lost = report.history.last_step - state.step
        again = f", {lost:,} logged updates done again" if lost > 0 else ""
        unless = "" if max_steps is not None else ", unless that was the last"
        reason = f"resume after step {state.step:,} from {name}{unless}{again}"
        return ResumePlan(Action.resume, reason, state.step, name)
    if _validation_is_due(report.config, state):
        reason = (
            f"all updates are done, and the validation of step {state.step:,}, which was cut short, is not: do that"
        )
        return ResumePlan(Action.resume, reason, state.step, name)
    if state.stopped_early:
        reason = f"nothing is left to do: stopped early at step {state.step:,}, as training.patience asks"
    else:
        reason = f"nothing is left to do: step {state.step:,} of {max_steps:,} is done"
    return ResumePlan(Action.nothing, reason, state.step, name)


def _validation_is_due(config: TrainConfig | None, state: TrainerState) -> bool:
    """As the trainer asks when it starts after the last update."""
    if config is None or state.validated_step >= state.step:
        return False
    is_last = state.step == config.training.max_steps or state.stopped_early
    return is_last or state.step % config.training.validate_every == 0


def _refusal(report: RunReport) -> str | None:
    """Why training would not start, in the order of ``train``, ``load_latest`` and ``resume``."""
    if report.config_fault is not None:
        return f"refused: {CONFIG_FILE} is {report.config_fault}; {_way_out(CONFIG_FILE)}"
    if report.tokenizer_fault is not None:
        return f"refused: {TOKENIZER_FILE} is damaged; {_way_out(TOKENIZER_FILE)}"
    for each in reversed(report.checkpoints):
        if each.is_valid:
            break
        if each.too_new:
            return f"refused: a later release wrote checkpoints/{each.path.name}; update summarizer"
    else:
        count = len(report.checkpoints)
        return f"refused: none of its {count} checkpoints is whole; restore one, or start elsewhere" if count else None
    if report.state_fault is not None:
        return f"refused: {report.state_fault}"
    return None if report.misfit is None else f"refused: the newest checkpoint is of another model ({report.misfit})"


def _way_out(name: str) -> str:
    return f"restore it or, if settings and texts are the same as then, remove it: training writes {name} anew"
