"""A setting that cannot work costs one line that names it and the way out, status 2, and nothing half-written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

pytestmark = pytest.mark.slow  # each case composes a config, and there are many

if TYPE_CHECKING:
    from tests.integration.conftest import Command, TrainedRun

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")

SETTINGS = {
    "an unknown key": (["model.widht=3"], ["model.widht", "did you mean width?"]),
    "an unknown part": (["nonsense=1"], ["nonsense", "run_dir, seed, model"]),
    "an added key": (["+extra=1"], ["extra", "run_dir, seed, model"]),
    "an added key in a part": (["+model.extra=1"], ["model.extra", "num_heads"]),
    "a deleted key": (["~model.width"], ["model.width"]),
    "an unknown option of a group": (["model=huge"], ["model", "huge", "base, large, small, tiny"]),
    "a number for an option": (["model=5"], ["Got int", "--help"]),
    "two options of a group": (["model=small,tiny"], ["model=small,tiny"]),
    "no value": (["model.width"], ["model.width", "key=value"]),
    "a word for a number": (["training.max_steps=abc"], ["training.max_steps", "abc", "Integer"]),
    "a fraction for a whole number": (["model.width=1.5"], ["model.width", "1.5", "Integer"]),
    "a mapping for a number": (["model.width={a:1}"], ["model.width", "Integer"]),
    "null where a number must be": (["seed=null"], ["seed"]),
    "an unknown choice": (["runtime.device=tpu"], ["runtime.device", "tpu", "auto, cpu, cuda"]),
    "a reference to nothing": (["seed=${nope}"], ["seed", "nope"]),
    "no steps": (["training.max_steps=0"], ["training.max_steps (0)", "at least 1"]),
    "no number": (["optimizer.lr=nan"], ["optimizer.lr (nan)", "try optimizer.lr="]),
    "a probability above one": (["model.dropout=2"], ["model.dropout (2.0)", "below 1"]),
    "a negative limit": (["data.limit.train=-1"], ["data.limit.train (-1)", "null"]),
    "an empty run_dir": (["run_dir="], ["run_dir", "try run_dir="]),
    "heads that do not divide": (["model.width=30", "model.num_heads=4"], ["(30)", "(4)", "try model.width="]),
    "a pointer without keys": (
        ["model.pointer.enabled=true", "model.pointer.key_dim=0"],
        ["model.pointer.key_dim (0)", "at least 1"],
    ),
    "an unknown score of the pointer": (["model.pointer.score=cosine"], ["model.pointer.score", "cosine", "additive"]),
    "coverage of nothing": (
        ["training.coverage_weight=1"],
        ["training.coverage_weight (1.0)", "set model.pointer.enabled=true"],
    ),
    "batches smaller than an example": (["data.batching.max_tokens=100"], ["data.batching.max_tokens (100)", "352"]),
    "a metric that is not measured": (
        ["training.best_metric=rouge1", "validation.rouge_examples=0"],
        ["training.best_metric (rouge1)", "validation.rouge_examples"],
    ),
    "fp16 without a GPU": (
        ["runtime.device=cpu", "runtime.precision=fp16"],
        ["runtime.precision (fp16)", "runtime.precision=bf16"],
    ),
    "local data without a path": (["data=local"], ["data.path", "set data.hub_id="]),
    "a missing data folder": (["data.path=/no/such"], ["data.path (/no/such)", "does not exist"]),
    "a missing split": (["data.train_split=practice"], ['"practice"', "train.jsonl.gz", "name it practice.jsonl"]),
    "a missing column": (
        ["data.summary_column=abstract"],
        ["train.jsonl.gz:1", '"abstract"', "id, document, summary", "data.summary_column"],
    ),
    "a missing tokenizer": (["tokenizer.path=/no/such"], ["/no/such", "check the path"]),
    "more pieces than the texts have": (
        ["data.limit.train=2", "tokenizer.vocab_size=50000"],
        ["tokenizer.vocab_size (50000)", "set tokenizer.vocab_size="],
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_that_cannot_work_is_refused_before_a_run_folder_exists(
    case: str, command: Command, tmp_path: Path
) -> None:
    overrides, words = SETTINGS[case]
    folders = [f"run_dir={tmp_path / 'run'}", f"data.cache_dir={tmp_path / 'cache'}"]
    command("train", "experiment=smoke", *folders, *overrides).assert_refused(*words)
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize(
    "case", ["an unknown key", "an unknown option of a group", "a number for an option", "no steps"]
)
def test_of_processes_with_the_same_settings_the_first_alone_refuses_them(
    case: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides, words = SETTINGS[case]
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        outcome = command("train", "experiment=smoke", *overrides)
        if rank == 0:
            outcome.assert_refused(*words)
        else:
            assert (outcome.status, outcome.out, outcome.err) == (2, "", "")


@NO_CUDA
@pytest.mark.parametrize("override", ["runtime=gpu", "runtime.device=cuda"])
def test_a_gpu_that_is_not_there_is_refused(override: str, command: Command, tmp_path: Path) -> None:
    outcome = command("train", "experiment=smoke", f"run_dir={tmp_path / 'run'}", override)
    outcome.assert_refused("runtime.device (cuda)", "use runtime=cpu")
    assert not (tmp_path / "run").exists()


EVALUATIONS = {
    "an unknown split": (["split=dev"], ["split (dev)", "train, validation or test"]),
    "no example": (["limit=0"], ["limit (0)", "at least 1"]),
    "a missing file": (["data_path=/no/such"], ["/no/such", "does not exist"]),
    "an output that is a file": (["output=file.txt"], ["output (file.txt)", "must be a folder"]),
    "an unknown decoding": (["decoding=fast"], ["decoding", "fast", "beam, diverse, greedy, mbr, sample"]),
}


@pytest.mark.parametrize("case", EVALUATIONS)
def test_an_evaluation_that_cannot_work_is_refused_before_it_starts(
    case: str, command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    arguments, words = EVALUATIONS[case]
    (tmp_path / "work" / "file.txt").write_text("mine")
    outcome = command("evaluate", f"run={smoke.folder}", *arguments)
    outcome.assert_refused(*words)
    assert "summarizing" not in outcome.err
    assert (tmp_path / "work" / "file.txt").read_text() == "mine"


def test_a_tokenizer_needs_a_file_to_be_written_to(command: Command, tmp_path: Path) -> None:
    command("train_tokenizer").assert_refused("output is missing", "add output=")
    outcome = command("train_tokenizer", f"output={tmp_path}")
    outcome.assert_refused(f"output ({tmp_path})", "must be a file", f"try output={tmp_path / 'tokenizer.model'}")


@pytest.mark.parametrize(
    ("script", "arguments", "word"),
    [
        ("train", ["optimizer.learning_rate=1"], "optimizer.learning_rate"),  # refused by Hydra
        ("evaluate", ["run=/no/such"], "/no/such"),  # by the command
    ],
)
def test_a_shell_sees_one_line_and_status_2(
    script: str, arguments: list[str], word: str, in_subprocess: Command, tmp_path: Path
) -> None:
    outcome = in_subprocess(script, *arguments, cwd=tmp_path)
    outcome.assert_refused(word)
    assert len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
