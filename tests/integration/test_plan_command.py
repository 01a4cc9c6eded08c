"""scripts/plan.py in small: tables, a file, lengths of encoded data, a measurement beside, or one line that refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from summarizer.tokenizer import Tokenizer, TokenizerConfig

if TYPE_CHECKING:
    from tests.integration.conftest import Command, TrainedRun

QUICK = ["model=tiny", "model.width=32", "model.encoder_layers=1", "model.decoder_layers=1", "tokenizer.vocab_size=500",
         "data_size.examples=300"]  # fmt: skip


def test_a_training_is_foretold_printed_and_written(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "plans" / "plan.json"
    outcome = command("plan", *QUICK, "gpus=8", "price_per_gpu_hour=2.5", f"output={file}")
    assert outcome.status == 0, outcome.err
    for words in ("A plan:", "8 x h100", "ddp, recomputing", "largest max_tokens", "cost at 2.5 an hour"):
        assert words in outcome.out
    content = json.loads(file.read_text())
    assert content["is_a_plan"]
    assert len(content["memory"]) == 4
    assert content["cost"] == pytest.approx(content["gpu_hours"] * 2.5)
    assert str(file) in outcome.err


def test_a_trained_tokenizer_has_the_vocabulary_that_it_has(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.model"
    texts = [f"words {n} of {n * n} texts" for n in range(99)]
    file.write_bytes(Tokenizer.train(texts, TokenizerConfig(vocab_size=290)).to_bytes())
    outcome = command("plan", *QUICK, f"tokenizer.path={file}")
    assert "layers, vocabulary 290" in outcome.out


@pytest.mark.slow
def test_encoded_data_has_its_own_lengths_and_a_few_updates_are_really_done(
    command: Command, smoke: TrainedRun, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    settings = [argument for argument in smoke.arguments if not argument.startswith("run_dir=")]
    outcome = command("plan", *settings, "device=this", "measure=2", f"output={file}")
    assert outcome.status == 0, outcome.err
    assert "64 examples, with the lengths they were encoded to here" in outcome.out
    assert "| ms of an update" in outcome.out
    measured = json.loads(file.read_text())["measured"]
    assert measured["seconds"] > 0
    assert measured["foretold_bytes"] == pytest.approx(measured["peak_bytes"], rel=0.25)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["device=h900"], ["device (h900)", "h100"]),
        (["gpus=0"], ["gpus (0)", "at least 1"]),
        (["gpus_per_machine=0"], ["gpus_per_machine (0)"]),
        (["network_gb_per_s=0"], ["network_gb_per_s (0"]),
        (["price_per_gpu_hour=-1"], ["price_per_gpu_hour (-1.0)", "0 or more"]),
        (["mfu=1.5"], ["mfu (1.5)", "at most 1"]),
        (["mfu=nan"], ["mfu (nan)"]),
        (["measure=2"], ["measure (2)", "device=this"]),
        (["data_size.examples=0"], ["data_size.examples (0)"]),
        (["device=v100", "runtime.precision=bf16"], ["bf16", "v100", "fp16, fp32"]),
        (["device=t4", "model=large", "model.width=16384"], ["device (t4)", "not even one example", "fsdp"]),
        (["output=."], ["output (.)", "folder"]),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_line(command: Command, overrides: list[str], words: list[str]) -> None:
    outcome = command("plan", *QUICK, *overrides)
    assert outcome.status == 2
    assert len(outcome.err.strip().splitlines()) == 1
    for word in words:
        assert word in outcome.err
