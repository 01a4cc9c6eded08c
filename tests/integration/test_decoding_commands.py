"""What scripts/generate.py can be told about decoding, as a user does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from summarizer import Summarizer
from summarizer.config import DecodingOverrides

pytestmark = pytest.mark.slow  # a model is trained, and commands are run

if TYPE_CHECKING:
    from tests.integration.conftest import Command, TrainedRun

TEXT = "The harbour of Seleby reported heavy fog on Monday. Officials warned fishermen to stay ashore."


def test_several_summaries_of_a_text_come_with_their_scores(
    command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    few = ["n_best=2", "decoding.beam_size=3", "decoding.max_tokens=6"]
    outcome = command("generate", f"run={smoke.folder}", f"text={TEXT}", *few)
    assert outcome.status == 0, outcome.err
    summarizer = Summarizer.from_run(smoke.folder).with_decoding(DecodingOverrides(beam_size=3, max_tokens=6))
    (found,) = summarizer.n_best([TEXT], 2)
    assert outcome.out == "\n".join(
        f"[score {one.score:.3f}, log-probability {one.log_probability:.2f}]\n{one.text}\n" for one in found
    )
    output = tmp_path / "summaries.jsonl"
    assert command("generate", f"run={smoke.folder}", f"text={TEXT}", f"output={output}", *few).status == 0
    row = json.loads(output.read_text())
    assert (row["summary"], row["score"]) == (found[0].text, found[0].score)
    assert [one["summary"] for one in row["n_best"]] == [one.text for one in found]
    assert [one["log_probability"] for one in row["n_best"]] == [one.log_probability for one in found]


def test_a_summary_begins_as_it_is_told(command: Command, smoke: TrainedRun) -> None:
    outcome = command("generate", f"run={smoke.folder}", f"text={TEXT}", "prefix=The harbour", "decoding.max_tokens=16")
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("The harbour")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_cpu_summarizes_in_every_precision(precision: str, command: Command, smoke: TrainedRun) -> None:
    arguments = [f"run={smoke.folder}", f"text={TEXT}", "runtime.device=cpu", f"runtime.precision={precision}"]
    outcome = command("generate", *arguments)
    assert outcome.status == 0, outcome.err
    assert outcome.out.strip()


def test_int8_is_refused_where_it_cannot_be(command: Command, tmp_path: Path, smoke: TrainedRun) -> None:
    outcome = command("train", "experiment=smoke", f"run_dir={tmp_path / 'run'}", "runtime.precision=int8")
    assert (outcome.status, "runtime.precision (int8) is for evaluate.py" in outcome.err) == (2, True)
    outcome = command("generate", f"run={smoke.folder}", "text=Words.", "runtime=gpu", "runtime.precision=int8")
    assert (outcome.status, "runtime.precision (int8) must run on a CPU" in outcome.err) == (2, True)
