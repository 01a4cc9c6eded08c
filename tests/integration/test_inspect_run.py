"""Each kind of damage is named, what is foretold of a resume is what training does, and looking changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import torch

from summarizer.checkpoint import RunLock, load_checkpoint, save_checkpoint
from summarizer.checkpoint.format import checksum, to_json
from summarizer.commands.resume_plan import Action, plan_resume
from summarizer.commands.run_report import report_on

pytestmark = pytest.mark.slow  # a model is trained, and commands are run

if TYPE_CHECKING:
    from tests.integration.conftest import Command, TrainedRun

NEWEST = Path("checkpoints/step-0000010")


@dataclass(frozen=True)
class Case:
    """What is done to a run of 10 steps with checkpoints at 5 and 10, and what should be said of it."""

    damage: Callable[[Path], object]
    faults: list[str]
    """Of each, in order: how it begins."""

    action: Action
    step: int | None = None
    """The last update that is kept."""


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def rewrite_manifest(run_dir: Path, **changes: Any) -> None:
    path = run_dir / NEWEST / "manifest.json"
    content = json.loads(path.read_text()) | changes
    del content["checksum"]
    path.write_text(to_json(content | {"checksum": checksum(content)}))


def save_changed(
    run_dir: Path,
    *,
    leave_out: str = "",
    changes: dict[str, Any] | None = None,
    model: dict[str, torch.Tensor] | None = None,
) -> None:
    """The newest checkpoint once more, whole, with other content."""
    saved = load_checkpoint(run_dir / NEWEST)
    state = {name: value for name, value in saved.trainer_state["state"].items() if name != leave_out}
    state |= changes or {}
    save_checkpoint(
        run_dir,
        saved.step,
        model=saved.model if model is None else model,
        trainer_tensors=saved.trainer_tensors,
        trainer_state=saved.trainer_state | {"state": state},
    )


def damage_both(run_dir: Path) -> None:
    for path in (run_dir / "checkpoints").glob("*/manifest.json"):
        path.unlink()


def add_lines(path: Path, *lines: str) -> None:
    path.write_text("".join([*lines, path.read_text()]))


CASES = {
    "nothing": Case(lambda run: None, [], Action.nothing, 10),
    "truncated weights": Case(
        lambda run: truncate(run / NEWEST / "model.safetensors"),
        [f"{NEWEST}/model.safetensors: it has"],
        Action.resume,
        5,
    ),
    "flipped bit in the optimizer": Case(
        lambda run: flip(run / NEWEST / "trainer.safetensors"),
        [f"{NEWEST}/trainer.safetensors: its SHA-256"],
        Action.resume,
        5,
    ),
    "missing trainer state": Case(
        lambda run: (run / NEWEST / "trainer.json").unlink(), [f"{NEWEST}/trainer.json: it cannot"], Action.resume, 5
    ),
    "older checkpoint damaged": Case(
        lambda run: flip(run / "checkpoints/step-0000005/manifest.json"),
        ["checkpoints/step-0000005/manifest.json"],
        Action.nothing,
        10,
    ),
    "all checkpoints damaged": Case(
        damage_both,
        ["checkpoints/step-0000005/manifest.json", f"{NEWEST}/manifest.json"],
        Action.refuse,
    ),
    "best and newest checkpoint deleted": Case(
        lambda run: shutil.rmtree(run / NEWEST),
        ["best.json: names step 10, whose checkpoint is missing"],
        Action.resume,
        5,
    ),
    "no checkpoints": Case(
        lambda run: shutil.rmtree(run / "checkpoints"), ["best.json: names step 10"], Action.start, 0
    ),
    "checkpoint of a later release": Case(
        lambda run: rewrite_manifest(run, format_version=99), [f"{NEWEST}/manifest.json has format"], Action.refuse
    ),
    "trainer state of another release": Case(
        lambda run: save_changed(run, leave_out="data"), [f"{NEWEST}/trainer.json: the checkpoint's"], Action.refuse
    ),
    "checkpoint of another model": Case(
        lambda run: save_changed(run, model={"x": torch.zeros(3)}), [f"{NEWEST}: of another model"], Action.refuse
    ),
    "checkpoint of another run": Case(
        lambda run: save_changed(run, changes={"settings": {"seed": 99}}),
        [f"{NEWEST}/trainer.json: of another run (seed was 99"],
        Action.resume,
        5,
    ),
    "checkpoint set aside by a kill while it was replaced": Case(
        lambda run: (run / NEWEST).rename(run / "checkpoints" / f".replaced-{NEWEST.name}"), [], Action.nothing, 10
    ),
    "half-written files": Case(
        lambda run: [(run / "checkpoints/.tmp-step-0000012").mkdir(), (run / ".tmp-best.json-7").touch()],
        [],
        Action.nothing,
        10,
    ),
    "stopped in the last validation": Case(
        lambda run: save_changed(run, changes={"validated_step": 5}), [], Action.resume, 10
    ),
    "config torn": Case(lambda run: truncate(run / "config.yaml"), ["config.yaml: not the config"], Action.refuse),
    "config missing": Case(
        lambda run: [(run / "config.yaml").unlink(), shutil.rmtree(run / NEWEST)],
        ["config.yaml: missing", "best.json: names step 10"],
        Action.resume,
        5,
    ),
    "tokenizer torn": Case(
        lambda run: (run / "tokenizer.model").write_bytes(b"\0" * 99), ["tokenizer.model: not a"], Action.refuse
    ),
    "tokenizer missing": Case(
        lambda run: (run / "tokenizer.model").unlink(), ["tokenizer.model: missing"], Action.nothing, 10
    ),
    "best torn": Case(lambda run: truncate(run / "best.json"), ["best.json: not what"], Action.nothing, 10),
    "best missing": Case(
        lambda run: (run / "best.json").unlink(),
        ["best.json: missing, while the best so far is step 10"],
        Action.nothing,
        10,
    ),
    "best left behind": Case(
        lambda run: (run / "best.json").write_text('{"step": 5, "metric": "loss", "value": 9}'),
        ["best.json: names step 5, while the best is step 10"],
        Action.nothing,
        10,
    ),
    "curves torn in the middle": Case(
        lambda run: add_lines(run / "metrics.jsonl", "\0\0\n"), ["metrics.jsonl: line 1 cannot"], Action.nothing, 10
    ),
    "curves missing": Case(
        lambda run: (run / "metrics.jsonl").unlink(), ["metrics.jsonl: missing"], Action.nothing, 10
    ),
    "evaluation empty": Case(
        lambda run: (run / "evaluation/test").mkdir(parents=True),
        ["evaluation/test/metrics.json: missing"],
        Action.nothing,
        10,
    ),
}


@pytest.fixture
def run_dir(smoke: TrainedRun, tmp_path: Path) -> Path:
    """A copy to damage. Its best checkpoint is its last, as ten steps of smoke make it."""
    copy = tmp_path / "run"
    shutil.copytree(smoke.folder, copy)
    assert json.loads((copy / "best.json").read_text())["step"] == 10
    return copy


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Names, times and content of all that is in a folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [folder, *folder.rglob("*")]
    }


@pytest.mark.parametrize("name", CASES)
def test_damage_is_named_and_its_consequence_foretold(name: str, run_dir: Path) -> None:
    case = CASES[name]
    case.damage(run_dir)
    before = everything(run_dir)
    report = report_on(run_dir)
    plan = plan_resume(report)
    assert [fault for fault in report.faults if not fault.startswith(tuple(case.faults))] == []
    assert len(report.faults) == len(case.faults)
    assert (plan.action, plan.step) == (case.action, case.step)
    assert everything(run_dir) == before


@pytest.mark.parametrize("name", CASES)
def test_what_is_foretold_is_what_training_does(name: str, run_dir: Path, command: Command, smoke: TrainedRun) -> None:
    CASES[name].damage(run_dir)
    plan = plan_resume(report_on(run_dir))
    arguments = [argument for argument in smoke.arguments if not argument.startswith("run_dir=")]
    outcome = command("train", *arguments, "validation.rouge_examples=4", f"run_dir={run_dir}")
    if plan.action is Action.refuse:
        assert outcome.status == 2, outcome.err
        assert len(outcome.errors) == 1
        return
    assert outcome.status == 0, outcome.err
    assert ("continued after step" in outcome.err) == (plan.action is not Action.start)
    assert (f"continued after step {plan.step}\n" in outcome.err) == (plan.action is not Action.start)
    assert ("step 10  validation" in outcome.err) == (plan.action is not Action.nothing), "what was to do was done"
    assert report_on(run_dir).leftovers == []
    assert not any(fault.startswith("best.json") for fault in report_on(run_dir).faults)


def test_a_run_that_is_training_is_in_use_and_what_a_kill_would_cost_is_told(run_dir: Path, command: Command) -> None:
    shutil.rmtree(run_dir / NEWEST)
    with RunLock(run_dir):
        outcome = command("inspect_run", f"run={run_dir}")
    assert outcome.status == 0, "files that are about to change together are no damage"
    assert "in use       by process" in outcome.out
    assert "refused: the folder is in use" in outcome.out
    assert "if that ended now: resume after step 5 from checkpoints/step-0000005, 5 logged updates" in outcome.out
    assert "step 10 of 10 (100%), saved up to step 5" in outcome.out


def test_the_time_left_counts_updates_and_validations_to_come(run_dir: Path) -> None:
    shutil.rmtree(run_dir / NEWEST)
    lines = [{"step": step, "time": 2.0 * step, "train": {"tokens_per_second": 9}} for step in (1, 2, 3, 4, 5)]
    lines.append({"step": 5, "time": 110.0, "validation": {"loss": 1.0}})
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert report_on(run_dir).seconds_left == 5 * 2 + 1 * 100, "five updates, and the validation at the end"


def test_the_report_of_a_sound_run_holds_what_people_ask(run_dir: Path, command: Command) -> None:
    before = everything(run_dir)
    outcome = command("inspect_run", f"run={run_dir}")
    assert (outcome.status, outcome.err) == (0, "")
    for words in (
        "parameters: width 32, 2 heads, 1 + 1 layers",
        "600 pieces",
        "valid, newest, best",
        "step 10 of 10 (100%)",
        "step 10, the best: loss",
        "(lead-3 ",
        "tokens/s",
        "nothing is left to do: step 10 of 10 is done",
        "verdict      sound",
        f"evaluate.py run={run_dir}",
        f"--logdir {run_dir}",
    ):
        assert words in outcome.out
    assert everything(run_dir) == before


def test_a_damaged_run_gives_status_one_and_programs_get_the_same(run_dir: Path, command: Command) -> None:
    flip(run_dir / NEWEST / "model.safetensors")
    text = command("inspect_run", f"run={run_dir}")
    assert text.status == 1
    assert "DAMAGED (model.safetensors), best" in text.out
    assert "so evaluate.py and generate.py take step 5" in text.out
    data = command("inspect_run", f"run={run_dir}", "json=true")
    assert (data.status, data.err) == (1, "")
    content = json.loads(data.out)
    assert content["sound"] is False
    assert [each["valid"] for each in content["checkpoints"]] == [True, False]
    assert content["resume"] == {
        "action": "resume",
        "reason": content["resume"]["reason"],
        "step": 5,
        "from": "checkpoints/step-0000005",
    }
    assert all(fault in text.out for fault in content["faults"])


def test_what_is_no_run_folder_is_a_wrong_argument(tmp_path: Path, command: Command) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").touch()
    for path in (tmp_path / "missing", tmp_path / "file", tmp_path / "notes"):
        outcome = command("inspect_run", f"run={path}")
        assert (outcome.status, outcome.out, len(outcome.errors)) == (2, "", 1)
        assert f"({path})" in outcome.err
    assert command("inspect_run").status == 2


def test_names_and_tensors_from_a_stranger_do_not_stop_the_report(run_dir: Path, command: Command) -> None:
    (run_dir / "evaluation" / "\x1b[2Jgone").mkdir(parents=True)
    path = run_dir / NEWEST / "model.safetensors"
    path.write_bytes(safetensors.torch.save({"x": torch.zeros(2)}))
    outcome = command("inspect_run", f"run={run_dir}")
    assert outcome.status == 1
    assert "\x1b" not in outcome.out
    assert "?[2Jgone" in outcome.out
