"""A run whose settings or files changed is not continued: each difference is named. What is harmless may change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from summarizer.checkpoint import load_latest
from summarizer.commands import train as train_command
from summarizer.commands.train import train
from summarizer.config import HARMLESS, TrainConfig, flat_settings, from_yaml, to_yaml
from summarizer.errors import UserError
from summarizer.training.state import TrainerState

pytestmark = pytest.mark.slow  # each case reads or writes a config, some train

FIXTURE = sorted((Path(__file__).parents[1] / "fixtures" / "runs").iterdir())[-1]
NAMES = ["Dale", "Bree", "Erebor", "Lake-town"]  # what the fixture was trained on


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """The settings of a run that has its last step behind it, with its folder and its texts."""
    shutil.copytree(FIXTURE, tmp_path / "run")
    (tmp_path / "texts").mkdir()
    rows = [
        {"document": f"The town of {name} opened a park.\nIt rained.", "summary": f"{name}: park."} for name in NAMES
    ]
    for split in ("train", "validation"):
        write(tmp_path / "texts" / f"{split}.jsonl", rows)
    saved = from_yaml(FIXTURE / "config.yaml")
    data = replace(saved.data, path=str(tmp_path / "texts"), cache_dir=str(tmp_path / "cache"))
    return replace(saved, run_dir=str(tmp_path / "run"), data=data)


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def changed(config: Any, key: str, value: Any) -> Any:
    """A copy of ``config`` in which ``key``, dotted, has another value."""
    name, _, rest = key.partition(".")
    return replace(config, **{name: changed(getattr(config, name), rest, value) if rest else value})


def refusal(config: TrainConfig) -> str:
    """The line that ``train`` ends with; fails if it changed anything in the run folder."""
    run_dir = Path(config.run_dir or "")
    before = contents(run_dir)
    with pytest.raises(UserError) as refused:
        train(config)
    assert {name: content for name, content in contents(run_dir).items() if name in before} == before
    message = str(refused.value)
    assert "\n" not in message
    assert "choose another run_dir" in message
    return message


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


CHANGES: dict[str, tuple[Any, str]] = {
    "seed": (2, "seed was 1 and is 2"),
    "model.width": (16, "model.width was 8 and is 16"),
    "model.pointer.enabled": (False, "model.pointer.enabled was True and is False"),
    "model.attention.cross.num_heads": (1, "model.attention.cross.num_heads was null and is 1"),
    "model.dropout": (0.5, "model.dropout was 0.0 and is 0.5"),
    "tokenizer.vocab_size": (280, "tokenizer.vocab_size was 290 and is 280"),
    "tokenizer.path": ("other.model", "tokenizer.path was null and is other.model"),
    "data.max_source_tokens": (20, "data.max_source_tokens was 40 and is 20"),
    "data.summary_column": ("title", "data.summary_column was summary and is title"),
    "data.limit.train": (3, "data.limit.train was null and is 3"),
    "data.batching.max_tokens": (500, "data.batching.max_tokens was 1000 and is 500"),
    "data.batching.max_examples": (2, "data.batching.max_examples was null and is 2"),
    "data.batching.length_step": (4, "data.batching.length_step was 8 and is 4"),
    "data.batching.pool_batches": (1, "data.batching.pool_batches was 256 and is 1"),
    "training.accumulate": (2, "training.accumulate was 1 and is 2"),
    "training.label_smoothing": (0.3, "training.label_smoothing was 0.1 and is 0.3"),
    "training.best_metric": ("accuracy", "training.best_metric was loss and is accuracy"),
    "optimizer.lr": (0.1, "optimizer.lr was 0.02 and is 0.1"),
    "schedule.warmup_steps": (7, "schedule.warmup_steps was 20 and is 7"),
}


def test_all_that_would_make_another_run_is_listed_with_both_values(config: TrainConfig) -> None:
    for key, (value, _) in CHANGES.items():
        config = changed(config, key, value)
    message = refusal(config)
    assert [words for _, words in CHANGES.values() if words not in message] == []


HARMLESS_CHANGES: dict[str, Any] = {
    "training.log_every": 1,
    "training.save_every": 7,
    "training.save_in_background": False,
    "training.keep_last": 5,
    "training.max_steps": 301,
    "training.max_failed_saves": 9,
    "validation.samples": 0,
    "decoding.max_batch_tokens": 999,
    "runtime.num_threads": None,
    "runtime.deterministic": True,
    "runtime.flash_attention": False,
    "runtime.cuda_graphs": False,
    "data.name": "another name",
    "data.licence": "MIT",
}


def test_every_whole_number_is_in_one_of_the_two_classes(config: TrainConfig) -> None:
    """Whoever adds a setting and does not say that it is harmless gets a run that does not go on with another."""
    other, numbers = config, {}
    for key, value in flat_settings(config).items():
        if isinstance(value, int) and not isinstance(value, bool):
            other, numbers[key] = changed(other, key, value + 2), value
    message = refusal(other)
    named = {key for key, value in numbers.items() if f"{key} was {value} and is {value + 2}" in message}
    harmless = {key for key in numbers if key.startswith(HARMLESS)}
    assert named | harmless == numbers.keys()
    assert named & harmless == set()


def test_it_goes_on_with_harmless_changes_from_another_place(config: TrainConfig, tmp_path: Path) -> None:
    """The texts moved, the run moved, it shall be longer and say more."""
    (tmp_path / "texts").rename(tmp_path / "texts moved")
    (tmp_path / "run").rename(tmp_path / "run moved")
    for key, value in {**HARMLESS_CHANGES, "data.path": str(tmp_path / "texts moved")}.items():
        config = changed(config, key, value)
    train(replace(config, run_dir=str(tmp_path / "run moved")))
    latest = load_latest(tmp_path / "run moved")
    assert latest is not None
    assert latest.step == 301


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "training text": (lambda texts: write(texts / "train.jsonl", rows_with("It poured.")), "tokenizer"),
    "order of the training texts": (
        lambda texts: write(texts / "train.jsonl", rows_with("It rained.")[::-1]),
        "the hash of training examples was",
    ),
    "validation text": (
        lambda texts: write(texts / "validation.jsonl", rows_with("It poured.")),
        "the hash of validation examples was",
    ),
}


def rows_with(end: str) -> list[dict[str, str]]:
    return [{"document": f"The town of {name} opened a park.\n{end}", "summary": f"{name}: park."} for name in NAMES]


@pytest.mark.parametrize("case", FILES)
def test_texts_that_changed_under_the_same_path_are_refused(case: str, config: TrainConfig) -> None:
    change, words = FILES[case]
    change(Path(config.data.path or ""))
    message = refusal(config)
    assert words in message
    assert "was" in message
    assert "bring them back" in message


def test_a_checkpoint_from_before_these_hashes_were_noted_goes_on(config: TrainConfig) -> None:
    """The training examples were noted from the first day; what is not known cannot have changed."""
    path = Path(config.run_dir or "") / "checkpoints" / "step-0000300"
    plain = json.loads((path / "trainer.json").read_text())["state"]
    del plain["validation_data"], plain["tokenizer"]
    state = TrainerState.from_plain(plain)
    assert (state.step, state.validation_data, state.tokenizer) == (300, "", "")


def leaves(schema: Any, prefix: str = "") -> list[str]:
    names: list[str] = []
    for each in fields(schema):
        value = getattr(schema, each.name)
        names += leaves(value, f"{prefix}{each.name}.") if is_dataclass(value) else [f"{prefix}{each.name}"]
    return names


def test_a_config_of_an_older_release_that_lacks_settings_is_the_same_run(config: TrainConfig) -> None:
    """Settings come in with a default that is what was done before: all that have theirs may be missing."""
    path = Path(config.run_dir or "") / "config.yaml"
    saved, missing = yaml.safe_load(path.read_text()), 0
    defaults = yaml.safe_load(to_yaml(TrainConfig()))
    for key in leaves(config):
        *parents, last = key.split(".")
        part, default = saved, defaults
        for name in parents:
            part, default = part[name], default[name]
        if part.get(last, default[last]) == default[last]:  # the saved run is itself of an older release
            part.pop(last, None)
            missing += 1
    assert missing > 50
    path.write_text(yaml.safe_dump(saved))
    train_command._require_same_run(path.parent, config)


def test_whole_parts_may_be_missing_from_an_older_config(config: TrainConfig) -> None:
    path = Path(config.run_dir or "") / "config.yaml"
    saved = yaml.safe_load(path.read_text())
    del saved["runtime"], saved["data"]["limit"], saved["model"]["attention"]["encoder_self"]
    path.write_text(yaml.safe_dump(saved))
    train_command._require_same_run(path.parent, config)
