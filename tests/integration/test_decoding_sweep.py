"""--multirun of evaluate.py: one model loaded once, each setting's files in a folder of its own, one honest table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from summarizer import Summarizer
from summarizer.data import sources
from summarizer.evaluation import evaluator
from summarizer.model.transformer import Transformer

if TYPE_CHECKING:
    from tests.integration.conftest import Command, Outcome, TrainedRun

pytestmark = pytest.mark.slow

SWEPT = ["decoding.beam_size=1,3", "decoding.length_penalty=0,2"]
FEW = ["limit=6", "resamples=40", "decoding.max_tokens=4"]


@pytest.fixture
def run(smoke: TrainedRun, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(smoke.folder, folder)
    return folder


def jobs_of(sweep: Path) -> dict[str, dict[str, Any]]:
    return {job["name"]: job for job in json.loads((sweep / "sweep.json").read_text())["jobs"]}


def cells(outcome: Outcome) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in outcome.out.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


def test_each_setting_is_scored_as_it_would_be_alone_and_compared_with_the_best(
    command: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = run / "evaluation" / "sweep-test"
    loaded: list[Path] = []
    read: list[str] = []
    extracted: list[int] = []
    load, open_split, extracts = Summarizer.from_run.__func__, sources.open_split, evaluator._extracts

    def counted(cls: type[Summarizer], path: Path, **settings: Any) -> Summarizer:
        loaded.append(path)
        summarizer: Summarizer = load(cls, path, **settings)
        return summarizer

    monkeypatch.setattr(Summarizer, "from_run", classmethod(counted))
    monkeypatch.setattr(
        "summarizer.commands.evaluation_bench.open_split",
        lambda data, name: (read.append(name), open_split(data, name))[1],
    )
    monkeypatch.setattr(
        evaluator, "_extracts", lambda cases, *rest, **more: (extracted.append(1), extracts(cases, *rest, **more))[1]
    )
    encoded: list[int] = []
    encode = Transformer.encode
    monkeypatch.setattr(Transformer, "encode", lambda self, *rest: (encoded.append(1), encode(self, *rest))[1])
    outcome = command("evaluate", f"run={run}", "--multirun", *SWEPT, *FEW)
    assert outcome.status == 0, outcome.err
    assert (len(loaded), len(read), len(extracted)) == (1, 1, 1)
    assert len(encoded) == 2, "once for each beam, whose batch is the same with each penalty"

    jobs = jobs_of(sweep)
    assert len(jobs) == 4
    values = [job["value"] for job in jobs.values()]
    assert values == sorted(values, reverse=True)
    best, worst = next(iter(jobs)), list(jobs)[-1]
    alone = tmp_path / "alone"
    settings = worst.split("+")
    assert command("evaluate", f"run={run}", *settings, *FEW, f"output={alone}").status == 0
    assert (sweep / worst / "predictions.jsonl").read_bytes() == (alone / "predictions.jsonl").read_bytes()
    metrics = json.loads((alone / "metrics.json").read_text())
    for name in ("rouge1", "rougeLsum", "lead3"):
        assert jobs[worst]["metrics"][name] == metrics[name]

    compared = command("evaluate", f"compare=[{sweep / worst},{sweep / best}]", "resamples=40", f"output={tmp_path}")
    assert compared.status == 0, compared.err
    expected = json.loads((tmp_path / "comparison.json").read_text())["rougeLsum"]
    assert jobs[worst]["difference"]["mean"] == pytest.approx(expected["difference"], abs=1e-12)
    assert jobs[worst]["difference"]["p"] == pytest.approx(expected["p"])

    rows = cells(outcome)
    assert list(rows)[2:] == [*jobs, "lead-3"]
    assert rows[best][-2:] == ["best", "-"]
    assert rows[worst][3].startswith(f"{100 * jobs[worst]['value']:.2f} ± ")
    tokens = jobs[worst]["metrics"]["tokens_per_second"] * jobs[worst]["metrics"]["seconds"]
    assert tokens == pytest.approx(round(tokens))
    assert 0 < round(tokens) <= 6 * 4


def test_what_is_there_and_unchanged_is_not_scored_again(command: Command, run: Path, tmp_path: Path) -> None:
    sweep = run / "evaluation" / "sweep-test"
    few = ["limit=2", "resamples=9", "decoding.max_tokens=4", "report=false"]
    arguments = [f"run={run}", "-m", "decoding.beam_size=1,2", *few]
    first = command("evaluate", *arguments)
    assert first.status == 0, first.err
    before = {path: path.read_bytes() for path in sweep.rglob("metrics.json")}
    again = command("evaluate", *arguments, "processes=1")
    assert again.err.count("finished before") == 2
    assert again.out == first.out
    assert {path: path.read_bytes() for path in sweep.rglob("metrics.json")} == before
    (sweep / "decoding.beam_size=2" / "predictions.jsonl").unlink()
    assert command("evaluate", *arguments).err.count("finished before") == 1
    assert command("evaluate", *arguments, "resamples=10").err.count("finished before") == 0
    best = json.loads((run / "best.json").read_text())
    other = next(int(path.name[5:]) for path in (run / "checkpoints").iterdir() if int(path.name[5:]) != best["step"])
    (run / "best.json").write_text(json.dumps({**best, "step": other}))
    assert command("evaluate", *arguments, "resamples=10").err.count("finished before") == 0, "another checkpoint"


def test_a_setting_that_cannot_be_loses_no_other(command: Command, run: Path) -> None:
    outcome = command("evaluate", f"run={run}", "-m", "decoding.beam_size=0,2", *FEW)
    assert outcome.status == 1
    jobs = jobs_of(run / "evaluation" / "sweep-test")
    assert {name: job["status"] for name, job in jobs.items()} == {
        "decoding.beam_size=2": "finished",
        "decoding.beam_size=0": "failed",
    }
    assert "failed: decoding.beam_size=0: decoding.beam_size (0) must be at least 1" in outcome.out


def test_runs_and_splits_may_be_swept_too(command: Command, run: Path, smoke: TrainedRun, tmp_path: Path) -> None:
    outcome = command(
        "evaluate",
        f"run={run},{smoke.folder}",
        "split=test,validation",
        "-m",
        *FEW,
        "decoding.max_tokens=4",
        "report=false",
    )
    assert outcome.status == 0, outcome.err
    (sweep,) = (tmp_path / "work" / "outputs").iterdir()
    jobs = list(jobs_of(sweep).values())
    assert len(jobs) == 4
    assert len({job["value"] for job in jobs}) == 2, "the runs are equal"
    assert sum(job["difference"] is None for job in jobs) == 3, "other examples are not compared"
    assert not (smoke.folder / "evaluation").exists()
    assert sum(name.startswith("lead-3 of") for name in cells(outcome)) == 2


def test_files_of_predictions_may_be_swept(command: Command, tmp_path: Path) -> None:
    row = {"id": "1", "document": "A storm hit. A fire too.", "reference": "A storm."}
    for name, text in (("a", "A storm."), ("b", "Nothing.")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({**row, "prediction": text}) + "\n")
    files = ",".join(str(tmp_path / f"{name}.jsonl") for name in "ab")
    arguments = [f"predictions={files}", f"output={tmp_path / 'sweep'}", "-m", "resamples=9"]
    outcome = command("evaluate", *arguments)
    assert outcome.status == 0, outcome.err
    assert [round(job["value"], 6) for job in jobs_of(tmp_path / "sweep").values()] == [1.0, 0.0]
    again = command("evaluate", *arguments, "objective=rouge1")
    assert again.err.count("finished before: rouge1") == 2
    assert "best first by ROUGE-1;" in again.out


def test_what_is_no_run_is_refused_once_and_nothing_is_made_there(command: Command, tmp_path: Path) -> None:
    outcome = command("evaluate", f"run={tmp_path / 'elsewhere'}", "--multirun", "decoding.beam_size=1,2")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.count("elsewhere) is no folder") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.name == "elsewhere"] == []


def test_a_comparison_or_an_unknown_objective_is_no_sweep(command: Command, run: Path) -> None:
    outcome = command("evaluate", f"compare=[{run},{run}]", "-m", "seed=1,2", f"output={run / 'sweep'}")
    assert outcome.status == 1
    assert "no --multirun can make more of it" in outcome.errors[0]
    outcome = command("evaluate", f"run={run}", "objective=rouge9")
    assert (outcome.status, "objective (rouge9) must be one of rouge1" in outcome.err) == (2, True)
