"""What a user can get wrong costs one line that names it and the way out, status 2, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from summarizer.checkpoint import RunLock

pytestmark = pytest.mark.slow  # each case composes a config, and there are many

if TYPE_CHECKING:
    from tests.integration.conftest import Command, Outcome, TrainedRun

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")


def assert_refused(outcome: Outcome, *words: str) -> None:
    """One line, the last one, in which all of ``words`` stand; and no summary or table before it."""
    assert outcome.status == 2, outcome
    assert len(outcome.errors) == 1, outcome.err
    assert outcome.err.splitlines()[-1] == outcome.errors[0]
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    for word in words:
        assert word in outcome.errors[0]


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
    assert_refused(command("train", "experiment=smoke", *folders, *overrides), *words)
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
            assert_refused(outcome, *words)
        else:
            assert (outcome.status, outcome.out, outcome.err) == (2, "", "")


@NO_CUDA
@pytest.mark.parametrize("override", ["runtime=gpu", "runtime.device=cuda"])
def test_a_gpu_that_is_not_there_is_refused(override: str, command: Command, tmp_path: Path) -> None:
    outcome = command("train", "experiment=smoke", f"run_dir={tmp_path / 'run'}", override)
    assert_refused(outcome, "runtime.device (cuda)", "use runtime=cpu")
    assert not (tmp_path / "run").exists()


ROW = {"id": "1", "document": "A document of some words.", "summary": "Some words."}
FILES = {
    "an empty split": (b"", ['"train"', "train.jsonl", "at least one usable row"]),
    "broken JSON": (json.dumps(ROW).encode() + b"\n{oops\n", ["train.jsonl:2", "JSON", "data.on_bad_row=skip"]),
    "an empty summary": (json.dumps({**ROW, "summary": " "}).encode(), ["train.jsonl:1", "summary is empty"]),
    "a null document": (json.dumps({**ROW, "document": None}).encode(), ["train.jsonl:1", "document is null"]),
    "a lone surrogate": (b'{"document": "\\ud800", "summary": "s"}', ["train.jsonl:1", "surrogate"]),
    "bytes that are not UTF-8": (b'{"document": "\xff", "summary": "s"}', ["train.jsonl:1", "UTF-8"]),
}


@pytest.mark.parametrize("case", FILES)
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(case: str, command: Command, tmp_path: Path) -> None:
    content, words = FILES[case]
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_bytes(content)
    (data / "validation.jsonl").write_text(json.dumps(ROW))
    outcome = command(
        "train",
        "experiment=smoke",
        "data=local",
        f"data.path={data}",
        f"data.cache_dir={tmp_path / 'cache'}",
        f"run_dir={tmp_path / 'run'}",
    )
    assert_refused(outcome, *words)
    assert not (tmp_path / "run").exists()


def test_a_run_dir_that_is_a_file_is_refused_and_kept(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    cache = f"data.cache_dir={smoke.cache}"
    outcome = command("train", "experiment=smoke", cache, f"run_dir={file}")
    assert_refused(outcome, f"run_dir ({file})", "choose another")
    outcome = command("train", "experiment=smoke", cache, f"run_dir={file / 'run'}")
    assert_refused(outcome, str(file / "run"), "choose a folder")
    assert file.read_text() == "mine"


def test_a_run_dir_of_other_settings_is_refused_with_the_difference(command: Command, smoke: TrainedRun) -> None:
    before = (smoke.folder / "config.yaml").read_bytes()
    outcome = command("train", *smoke.arguments, "model.width=64")
    assert_refused(outcome, f"run_dir ({smoke.folder})", "model.width was 32 and is 64", "choose another run_dir")
    assert (smoke.folder / "config.yaml").read_bytes() == before


def test_a_run_that_another_process_writes_is_refused(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    """A lock counts for one opening of the file, so that even this process stands for another one."""
    run_dir = tmp_path / "run"
    cache = f"data.cache_dir={smoke.cache}"
    with RunLock(run_dir):
        outcome = command("train", "experiment=smoke", cache, f"run_dir={run_dir}")
    assert_refused(outcome, f"run_dir ({run_dir})", "in use by process", "choose another run_dir")
    assert [path.name for path in run_dir.iterdir()] == [".lock"]


def test_texts_that_changed_since_are_refused_instead_of_replacing_the_tokenizer_of_a_run(
    command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    run_dir, cache = tmp_path / "run", tmp_path / "cache"
    shutil.copytree(smoke.folder, run_dir)
    data = tmp_path / "data"
    data.mkdir()
    rows = [json.dumps({"document": f"Words {n} about {n * n} things.", "summary": f"Thing {n}."}) for n in range(90)]
    for split in ("train", "validation"):
        (data / f"{split}.jsonl").write_text("\n".join(rows))
    saved = (run_dir / "config.yaml").read_text()
    (run_dir / "config.yaml").write_text(saved.replace("path: data/sample", f"path: {data}"))
    before = (run_dir / "tokenizer.model").read_bytes()
    folders = [f"run_dir={run_dir}", f"data.cache_dir={cache}", f"data.path={data}"]
    outcome = command("train", "experiment=smoke", *folders, "tokenizer.vocab_size=300")
    assert_refused(outcome, "tokenizer.vocab_size was 600 and is 300")
    (run_dir / "config.yaml").write_text((run_dir / "config.yaml").read_text().replace("600", "300"))
    outcome = command("train", "experiment=smoke", *folders, "tokenizer.vocab_size=300")
    assert_refused(outcome, f"run_dir ({run_dir})", "another tokenizer", "choose another run_dir")
    assert (run_dir / "tokenizer.model").read_bytes() == before


READERS = [("evaluate", []), ("generate", ["text=Some words."])]


@pytest.mark.parametrize(("script", "arguments"), READERS)
def test_a_run_that_is_none_is_refused(script: str, arguments: list[str], command: Command, tmp_path: Path) -> None:
    assert_refused(command(script, *arguments), "run is missing", "add run=")
    outcome = command(script, *arguments, f"run={tmp_path / 'none'}")
    assert_refused(outcome, f"run ({tmp_path / 'none'})", "give the run_dir")
    outcome = command(script, *arguments, f"run={tmp_path}")
    assert_refused(outcome, f"run ({tmp_path})", "config.yaml", "give the run_dir")


@pytest.mark.parametrize(("script", "arguments"), READERS)
def test_a_checkpoint_that_is_not_there_is_refused(
    script: str, arguments: list[str], command: Command, smoke: TrainedRun
) -> None:
    run = f"run={smoke.folder}"
    assert_refused(command(script, run, "checkpoint=7", *arguments), "checkpoint (7)", "saved steps: 5, 10")
    assert_refused(command(script, run, "checkpoint=newest", *arguments), "checkpoint (newest)", "best, last")


def test_damaged_checkpoints_are_refused(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(smoke.folder, run_dir)
    for weights in run_dir.glob("checkpoints/*/model.safetensors"):
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    assert_refused(command("generate", f"run={run_dir}", "text=Some words."), str(run_dir), "none can be used")


def test_a_checkpoint_of_another_model_is_refused(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(smoke.folder, run_dir)
    config = run_dir / "config.yaml"
    config.write_text(config.read_text().replace("width: 32", "width: 48"))
    outcome = command("generate", f"run={run_dir}", "text=Some words.")
    assert_refused(outcome, str(run_dir), "another run", "32", "48")
    arguments = [argument for argument in smoke.arguments if not argument.startswith("run_dir")]
    outcome = command("train", *arguments, f"run_dir={run_dir}", "model.width=48")
    assert_refused(outcome, str(run_dir), "another run", "32", "48")


INPUTS = {
    "an empty text": (["text="], None, ["text holds no text", "give it some"]),
    "a text of white space": (["text=  "], None, ["text holds no text"]),
    "an empty standard input": ([], None, ["standard input holds no text"]),
    "a missing file": (["input=none.txt"], None, ["input (none.txt)", "check the path"]),
    "a folder without texts": (["input=."], None, ["input (.)", "without a .txt file"]),
    "a folder with an empty text": (["input=."], b" ", ["in.txt holds no text"]),
    "a file for the summaries of a folder": (
        ["input=.", "output=in.txt"],
        b"Words.",
        ["output (in.txt)", "must be a folder, or end in .jsonl"],
    ),
    "a folder over itself": (["input=.", "output=../work"], b"Words.", ["(../work)", "would be lost"]),
    "a text over itself": (["input=in.txt", "output=./in.txt"], b"Words.", ["(./in.txt)", "would be lost"]),
    "an empty file": (["input=in.txt"], b" \n", ["in.txt holds no text"]),
    "a file that is not UTF-8": (["input=in.txt"], b"caf\xe9", ["in.txt", "UTF-8", "byte 3", "convert"]),
    "an empty list": (["input=in.jsonl"], b"\n", ["in.jsonl", "holds no text"]),
    "an empty text in a list": (
        ["input=in.jsonl"],
        b'{"id": "a", "document": "Words."}\n{"id": "b", "document": ""}',
        ["b holds no text"],
    ),
    "a broken line": (["input=in.jsonl"], b'{"document": "Words."}\n{oops', ["in.jsonl:2", "JSON"]),
    "a missing key": (["input=in.jsonl"], b'{"text": "Words."}', ["in.jsonl:1", "document", "text", "column="]),
    "a line of brackets": (["input=in.jsonl"], b"[" * 100_000, ["in.jsonl:1", "JSON"]),
    "half a character": (["input=in.jsonl"], b'{"document": "half \\ud83d"}', ["in.jsonl:1", "surrogate", "document"]),
    "half a character in a name": (
        ["input=in.jsonl"],
        b'{"id": "\\ud83d", "document": "Words."}',
        ["in.jsonl:1", "surrogate", "id"],
    ),
    "two inputs": (["text=Words.", "input=in.txt"], b"Words.", ["text", "input (in.txt)", "leave one out"]),
    "an output that is a folder": (["text=Words.", "output=."], None, ["output (.)", "must be a file"]),
    "no summary at all": (["text=Words.", "n_best=0"], None, ["n_best (0)", "at least 1"]),
    "more summaries than beams": (["text=Words.", "n_best=99"], None, ["decoding.beam_size (", "(99)", "raise it"]),
    "a prefix without end": (["text=Words.", f"prefix={'so ' * 500}"], None, ["prefix (so so", "decoding.max_tokens"]),
    "attention in another form": (["text=Words.", "attention=a.gif"], None, ["attention (a.gif)", ".html or .png"]),
    "attention without a form": (["text=Words.", "attention=.html"], None, ["attention (.html)", ".html or .png"]),
    "attention into a folder": (["text=Words.", "attention=page.html"], None, ["attention (page.html)", "a folder"]),
    "attention over the output": (["text=Words.", "output=a.html", "attention=a.html"], None, ["a.html", "rename one"]),
    "one picture of two articles": (
        ["input=in.jsonl", "attention=a.png"],
        b'{"document": "Words."}\n{"document": "More."}',
        ["attention (a.png)", "at most 1 article and", "holds 2", "make it an .html file"],
    ),
    "a page of too many articles": (
        ["input=in.jsonl", "attention=a.html"],
        b'{"document": "Words."}\n' * 11,
        ["attention (a.html)", "at most 10 articles", "holds 11", "give it fewer"],
    ),
    "a summary that may not end": (
        ["text=Words.", "decoding.min_tokens=500"],
        None,
        ["decoding.min_tokens (500)", "decoding.max_tokens (32)"],
    ),
}


@pytest.mark.parametrize("case", INPUTS)
def test_a_text_that_cannot_be_summarized_is_refused(
    case: str, command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    arguments, content, words = INPUTS[case]
    (tmp_path / "work" / "page.html").mkdir()
    for name in ("in.txt", "in.jsonl") if content is not None else ():
        (tmp_path / "work" / name).write_bytes(content or b"")
    outcome = command("generate", f"run={smoke.folder}", "output=out.txt", *arguments)
    assert_refused(outcome, *words)
    assert not (tmp_path / "work" / "out.txt").exists()
    assert not list((tmp_path / "work").glob("a.*"))


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
    assert_refused(outcome, *words)
    assert "summarizing" not in outcome.err
    assert (tmp_path / "work" / "file.txt").read_text() == "mine"


def test_a_tokenizer_needs_a_file_to_be_written_to(command: Command, tmp_path: Path) -> None:
    assert_refused(command("train_tokenizer"), "output is missing", "add output=")
    outcome = command("train_tokenizer", f"output={tmp_path}")
    assert_refused(outcome, f"output ({tmp_path})", "must be a file", f"try output={tmp_path / 'tokenizer.model'}")


@pytest.mark.parametrize(
    ("script", "arguments", "word"),
    [
        ("train", ["optimizer.learning_rate=1"], "optimizer.learning_rate"),
        ("train", ["model=huge"], "base, large, small, tiny"),
        ("evaluate", ["run=/no/such"], "/no/such"),
        ("generate", ["text=Words."], "run is missing"),
    ],
)
def test_a_shell_sees_one_line_and_status_2(
    script: str, arguments: list[str], word: str, in_subprocess: Command, tmp_path: Path
) -> None:
    outcome = in_subprocess(script, *arguments, cwd=tmp_path)
    assert_refused(outcome, word)
    assert len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
