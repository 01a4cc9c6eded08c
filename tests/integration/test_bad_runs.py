"""A folder that is no run, or another's, costs one line that names it and the way out, status 2, and no file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from summarizer.checkpoint import RunLock

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.integration.conftest import Command, TrainedRun


def test_a_run_dir_that_is_a_file_is_refused_and_kept(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    cache = f"data.cache_dir={smoke.cache}"
    outcome = command("train", "experiment=smoke", cache, f"run_dir={file}")
    outcome.assert_refused(f"run_dir ({file})", "choose another")
    outcome = command("train", "experiment=smoke", cache, f"run_dir={file / 'run'}")
    outcome.assert_refused(str(file / "run"), "choose a folder")
    assert file.read_text() == "mine"


def test_a_run_dir_of_other_settings_is_refused_with_the_difference(command: Command, smoke: TrainedRun) -> None:
    before = (smoke.folder / "config.yaml").read_bytes()
    outcome = command("train", *smoke.arguments, "model.width=64")
    outcome.assert_refused(f"run_dir ({smoke.folder})", "model.width was 32 and is 64", "choose another run_dir")
    assert (smoke.folder / "config.yaml").read_bytes() == before


def test_a_run_that_another_process_writes_is_refused(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    """A lock counts for one opening of the file, so that even this process stands for another one."""
    run_dir = tmp_path / "run"
    cache = f"data.cache_dir={smoke.cache}"
    with RunLock(run_dir):
        outcome = command("train", "experiment=smoke", cache, f"run_dir={run_dir}")
    outcome.assert_refused(f"run_dir ({run_dir})", "in use by process", "choose another run_dir")
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
    outcome.assert_refused("tokenizer.vocab_size was 600 and is 300")
    (run_dir / "config.yaml").write_text((run_dir / "config.yaml").read_text().replace("600", "300"))
    outcome = command("train", "experiment=smoke", *folders, "tokenizer.vocab_size=300")
    outcome.assert_refused(f"run_dir ({run_dir})", "another tokenizer", "choose another run_dir")
    assert (run_dir / "tokenizer.model").read_bytes() == before


READERS = [("evaluate", []), ("generate", ["text=Some words."])]


@pytest.mark.parametrize(("script", "arguments"), READERS)
def test_a_run_that_is_none_is_refused(script: str, arguments: list[str], command: Command, tmp_path: Path) -> None:
    command(script, *arguments).assert_refused("run is missing", "add run=")
    outcome = command(script, *arguments, f"run={tmp_path / 'none'}")
    outcome.assert_refused(f"run ({tmp_path / 'none'})", "give the run_dir")
    outcome = command(script, *arguments, f"run={tmp_path}")
    outcome.assert_refused(f"run ({tmp_path})", "config.yaml", "give the run_dir")


@pytest.mark.parametrize(("script", "arguments"), READERS)
def test_a_checkpoint_that_is_not_there_is_refused(
    script: str, arguments: list[str], command: Command, smoke: TrainedRun
) -> None:
    run = f"run={smoke.folder}"
    command(script, run, "checkpoint=7", *arguments).assert_refused("checkpoint (7)", "saved steps: 5, 10")
    command(script, run, "checkpoint=newest", *arguments).assert_refused("checkpoint (newest)", "best, last")


def test_damaged_checkpoints_are_refused(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(smoke.folder, run_dir)
    for weights in run_dir.glob("checkpoints/*/model.safetensors"):
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    command("generate", f"run={run_dir}", "text=Some words.").assert_refused(str(run_dir), "none can be used")


def test_a_checkpoint_of_another_model_is_refused(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(smoke.folder, run_dir)
    config = run_dir / "config.yaml"
    config.write_text(config.read_text().replace("width: 32", "width: 48"))
    outcome = command("generate", f"run={run_dir}", "text=Some words.")
    outcome.assert_refused(str(run_dir), "another run", "32", "48")
    arguments = [argument for argument in smoke.arguments if not argument.startswith("run_dir")]
    outcome = command("train", *arguments, f"run_dir={run_dir}", "model.width=48")
    outcome.assert_refused(str(run_dir), "another run", "32", "48")
