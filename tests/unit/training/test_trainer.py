"""The loop validates, saves, stops and goes on when it should, whatever it trains."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest
from fake_run import BATCHES_PER_EPOCH, MakeRun, raise_at

from summarizer.checkpoint import Best, read_best
from summarizer.data.loader import Position
from summarizer.errors import UserError
from summarizer.training.config import TrainingConfig
from summarizer.training.interruption import Interrupted
from summarizer.training.state import TrainerState
from summarizer.training.validation import Validation, ValidationStopped


def test_it_does_every_update_once_in_order_with_the_batches_that_follow(make_run: MakeRun) -> None:
    run = make_run(max_steps=4, accumulate=2)
    state = run.fit()
    assert run.updater.seen == [
        (1, [(0, 0), (0, 1)]),
        (2, [(0, 2), (0, 3)]),
        (3, [(0, 4), (1, 0)]),
        (4, [(1, 1), (1, 2)]),
    ]
    assert run.reporter.steps == [1, 2, 3, 4]
    assert (state.step, state.position) == (4, Position(1, 3))


def test_the_batches_of_an_update_are_fetched_during_the_one_before(make_run: MakeRun) -> None:
    positions: list[tuple[int, Position, int]] = []

    def note(step: int) -> None:
        positions.append((step, run.trainer.state.position, run.loader.fetched))

    run = make_run(max_steps=3, accumulate=2, before=note)
    run.fit()
    assert positions == [(1, Position(0, 2), 2), (2, Position(0, 4), 4), (3, Position(1, 1), 6)]
    assert run.loader.fetched == 6, "nothing is fetched for an update that will not be"


def test_an_error_closes_the_stream_of_batches_and_with_it_the_workers(make_run: MakeRun) -> None:
    def fail(step: int) -> None:
        if step == 2:
            raise ValueError("something unforeseen")

    run = make_run(max_steps=3, before=fail)
    with pytest.raises(ValueError, match="unforeseen") as _held:  # its traceback holds the trainer
        run.fit()
    assert run.loader.is_closed


def test_what_was_fetched_ahead_is_fetched_again_after_a_stop(make_run: MakeRun) -> None:
    with pytest.raises(Interrupted):
        make_run(max_steps=5, before=partial(raise_at, 2, number=signal.SIGTERM)).fit()
    following = make_run(max_steps=5)
    following.fit()
    assert following.updater.seen == [(3, [(0, 2)]), (4, [(0, 3)]), (5, [(0, 4)])]


def test_validations_and_checkpoints_are_due_at_their_multiples_and_at_the_end(make_run: MakeRun) -> None:
    run = make_run(max_steps=11, validate_every=3, save_every=4, metrics={3: 0.5})
    run.fit()
    assert run.reporter.validated == [3, 6, 9, 11]
    assert run.saved == [3, 4, 8, 11], "step 3 as the best, then every fourth, then the last"


def test_a_last_step_that_is_a_multiple_is_validated_once(make_run: MakeRun) -> None:
    run = make_run(max_steps=6, validate_every=3)
    run.fit()
    assert run.reporter.validated == [3, 6]


@pytest.mark.parametrize(("best_metric", "best_step"), [("loss", 2), ("perplexity", 2), ("rougeL", 3), ("accuracy", 3)])
def test_the_best_checkpoint_is_the_lowest_or_the_highest_as_the_metric_wants(
    make_run: MakeRun, best_metric: str, best_step: int
) -> None:
    metrics = {1: 0.5, 2: 0.2, 3: 0.9, 4: 0.5}
    run = make_run(max_steps=4, validate_every=1, best_metric=best_metric, metrics=metrics)
    state = run.fit()
    assert read_best(run.run_dir) == Best(best_step, best_metric, metrics[best_step])
    assert (state.best_step, state.best_value) == (best_step, metrics[best_step])
    assert state.best_metrics == {best_metric: metrics[best_step]}


def test_an_equal_validation_does_not_replace_the_best(make_run: MakeRun) -> None:
    assert make_run(max_steps=3, validate_every=1).fit().best_step == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("best_metric", ["loss", "rouge1"])
def test_a_validation_that_is_not_finite_is_never_the_best(make_run: MakeRun, best_metric: str, bad: float) -> None:
    metrics = {1: bad, 2: 0.5, 3: bad}
    run = make_run(max_steps=3, validate_every=1, best_metric=best_metric, metrics=metrics)
    assert run.fit().best_step == 2
    assert read_best(run.run_dir) == Best(2, best_metric, 0.5)


def test_a_validation_whose_loss_is_nan_is_not_the_best_by_another_metric(make_run: MakeRun) -> None:
    """Its numbers could not even be saved: JSON has no NaN."""
    run = make_run(max_steps=2, validate_every=1, best_metric="rouge1", metrics={1: 0.9, 2: 0.1})
    validate = run.trainer.validate
    losses = iter([math.nan, 2.0])
    run.trainer.validate = lambda stop: Validation({**validate(stop).metrics, "loss": next(losses)})
    assert run.fit().best_step == 2


def test_a_run_whose_every_validation_is_nan_ends_without_a_best(make_run: MakeRun) -> None:
    run = make_run(max_steps=2, validate_every=1, metrics={1: math.nan, 2: math.nan})
    assert run.fit().best_step is None
    assert read_best(run.run_dir) is None
    assert run.saved == [2]


def test_patience_counts_validations_since_the_best_then_saves_and_stops(make_run: MakeRun) -> None:
    metrics = {1: 0.5, 2: 0.6, 3: 0.4, 4: 0.6, 5: 0.7}
    run = make_run(validate_every=1, patience=2, metrics=metrics)
    state = run.fit()
    assert (state.step, state.stopped_early, state.best_step) == (5, True, 3)
    assert run.saved == [1, 3, 5]
    again = make_run(validate_every=1, patience=2, metrics=metrics)
    assert again.fit().step == 5
    assert again.updater.seen == [], "a run that stopped early stays stopped"


def test_old_checkpoints_go_but_the_best_stays(make_run: MakeRun) -> None:
    run = make_run(save_every=1, validate_every=1, keep_last=2, metrics={2: 0.1})
    run.fit()
    assert run.saved == [2, 7, 8]


def test_a_new_best_releases_the_old_one(make_run: MakeRun) -> None:
    run = make_run(save_every=1, validate_every=1, keep_last=1, metrics={2: 0.2, 5: 0.1})
    run.fit()
    assert run.saved == [5, 8]


def test_too_many_skipped_updates_in_a_row_end_the_run_with_advice(make_run: MakeRun) -> None:
    run = make_run(max_skipped_in_a_row=3, save_every=2, skipped={1, 2, 4, 5, 6})
    with pytest.raises(UserError, match=r"3 updates in a row, up to step 6 \(loss nan\): lower optimizer\.lr"):
        run.fit()
    assert run.saved == [2, 4]


def test_skipped_updates_are_counted_across_a_resume(make_run: MakeRun) -> None:
    first = make_run(max_steps=2, skipped={1, 2}, max_skipped_in_a_row=3).fit()
    assert (first.skipped_updates, first.skipped_in_a_row) == (2, 2)
    with pytest.raises(UserError, match="up to step 3"):
        make_run(max_steps=4, skipped={3}, max_skipped_in_a_row=3).fit()


def test_a_good_update_ends_a_row_of_skipped_ones(make_run: MakeRun) -> None:
    state = make_run(max_steps=7, skipped={1, 2, 4, 5}, max_skipped_in_a_row=3).fit()
    assert (state.skipped_updates, state.skipped_in_a_row) == (4, 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_a_resumed_run_goes_on_from_there(make_run: MakeRun, number: int, code: int) -> None:
    uninterrupted = [(step, [divmod(2 * step - 2 + i, BATCHES_PER_EPOCH) for i in (0, 1)]) for step in range(1, 7)]
    first = make_run(max_steps=6, accumulate=2, before=lambda step: raise_at(3, step, number))
    with pytest.raises(Interrupted) as stopped:
        first.fit()
    assert stopped.value.code == code
    assert first.saved == [3], "the update under way is finished, then saved"
    second = make_run(max_steps=6, accumulate=2)
    assert second.updater.model.decoder_norm.bias.unique().tolist() == [3.0], "the weights of step 3"
    assert second.fit().step == 6
    assert first.updater.seen + second.updater.seen == uninterrupted


@pytest.mark.parametrize("save_every", [2, 1000])
def test_a_validation_that_a_signal_stops_is_done_once_the_run_goes_on(make_run: MakeRun, save_every: int) -> None:
    """Here the validation of step 4, which would have been the second without a better loss."""
    settings: dict[str, Any] = {"max_steps": 8, "validate_every": 2, "save_every": save_every, "patience": 3}
    settings["metrics"] = {2: 0.1, 4: 0.5, 6: 0.3, 8: 0.05}
    first = make_run(**settings)
    validate = first.trainer.validate

    def stopping_in_the_midst(stop_requested: Callable[[], bool]) -> Validation:
        if first.trainer.state.step == 4:
            assert not stop_requested()
            signal.raise_signal(signal.SIGTERM)
            assert stop_requested()
            raise ValidationStopped
        return validate(stop_requested)

    first.trainer.validate = stopping_in_the_midst
    with pytest.raises(Interrupted):
        first.fit()
    assert (first.saved[-1], first.reporter.validated) == (4, [2])
    second = make_run(**settings)
    state = second.fit()
    assert second.reporter.validated == [4, 6, 8]
    assert [step for step, _ in second.updater.seen] == [5, 6, 7, 8]
    assert (state.best_step, state.best_value) == (8, 0.05)
    assert make_run(**settings).fit() == state


def test_a_signal_in_the_last_validation_leaves_a_run_that_ends_with_it(make_run: MakeRun) -> None:
    first = make_run(max_steps=2, patience=1)

    def stopped(stop_requested: Callable[[], bool]) -> Validation:
        signal.raise_signal(signal.SIGTERM)
        raise ValidationStopped

    first.trainer.validate = stopped
    with pytest.raises(Interrupted):
        first.fit()
    second = make_run(max_steps=2, patience=1)
    assert second.fit().best_step == 2
    assert (second.updater.seen, second.reporter.validated) == ([], [2])
    assert read_best(second.run_dir) == Best(2, "loss", 1.0)


def test_a_skipped_update_names_its_examples(make_run: MakeRun, caplog: pytest.LogCaptureFixture) -> None:
    run = make_run(max_steps=2, skipped={2})
    run.fit()
    (message,) = [record.message for record in caplog.records if "skipped" in record.message]
    assert message.startswith("update 2 is skipped")
    assert message.endswith("examples: first, second")


def test_a_resumed_run_remembers_its_best_and_its_patience(make_run: MakeRun) -> None:
    metrics = {1: 0.1, 2: 0.5, 3: 0.4, 4: 0.3}
    make_run(max_steps=2, validate_every=1, patience=3, metrics=metrics).fit()
    state = make_run(max_steps=8, validate_every=1, patience=3, metrics=metrics).fit()
    assert (state.step, state.best_step, state.stopped_early) == (4, 1, True)


@pytest.mark.parametrize("earlier_reads", range(4))
def test_wherever_in_the_loop_a_signal_comes_the_run_does_not_end_unsaved(
    earlier_reads: int, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LateStop:
        """The signal comes after the loop has looked for one so many times."""

        def __init__(self, *, echo_seconds: float) -> None:
            self._reads = count(1)

        def __enter__(self) -> LateStop:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        @property
        def signal_number(self) -> int | None:
            return signal.SIGTERM if next(self._reads) > earlier_reads else None

        def requested(self) -> bool:
            return False

    monkeypatch.setattr("summarizer.training.trainer.StopRequest", LateStop)
    run = make_run(max_steps=20)
    with pytest.raises(Interrupted):
        run.fit()
    assert run.saved == [run.updater.seen[-1][0]]


def test_handlers_are_given_back_when_training_ends(make_run: MakeRun) -> None:
    before = signal.getsignal(signal.SIGTERM)
    make_run(max_steps=1).fit()
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_empty_run_folder_starts_at_the_beginning(make_run: MakeRun) -> None:
    assert make_run().trainer.state == TrainerState(data="the same")


def test_a_finished_run_started_again_does_nothing(make_run: MakeRun) -> None:
    make_run(max_steps=3).fit()
    again = make_run(max_steps=3)
    assert again.fit().step == 3
    assert again.updater.seen == []
    assert again.reporter.validated == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_steps", 0),
        ("accumulate", 0),
        ("keep_last", 0),
        ("clip_norm", 0.0),
        ("clip_norm", math.nan),
        ("label_smoothing", 1.0),
        ("patience", 0),
        ("best_metric", "bleu"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(field: str, value: Any) -> None:
    TrainingConfig().validate()
    with pytest.raises(UserError, match=rf"training\.{field} \({value}\)"):
        TrainingConfig(**{field: value}).validate()


def test_a_run_is_not_continued_on_other_examples(make_run: MakeRun) -> None:
    make_run(max_steps=2).fit()
    with pytest.raises(
        UserError, match=r"hash of training examples was the same and is others.* choose another run_dir"
    ):
        make_run(max_steps=4, data="others")
    assert make_run(max_steps=4).fit().step == 4
