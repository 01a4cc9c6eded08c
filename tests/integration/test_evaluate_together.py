"""Several processes that evaluate a run share its documents, and tell and write once what one process does."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from summarizer.commands.evaluate import evaluate
from summarizer.config import EvaluateConfig
from summarizer.errors import UserError
from summarizer.inference import Summarizer
from summarizer.runtime import DeviceKind, Precision, RuntimeConfig

if TYPE_CHECKING:
    from tests.integration.conftest import TrainedRun

pytestmark = pytest.mark.slow

RUNTIME = RuntimeConfig(device=DeviceKind.cpu, precision=Precision.fp32, num_threads=1)


def attempt(
    rank: int, size: int, port: int, output: Path, config: EvaluateConfig, before: Callable[[int], Any]
) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    before(rank)
    try:
        evaluate(config)
    except UserError as error:
        print(f"error: {error}", flush=True)
        sys.exit(2)


def by_several(
    size: int, config: EvaluateConfig, folder: Path, before: Callable[[int], Any] = lambda rank: None
) -> list[tuple[int, str]]:
    """Exit status and all output of each."""
    context = multiprocessing.get_context("fork")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    outputs = [folder / f"output-{rank}.txt" for rank in range(size)]
    members = [
        context.Process(target=attempt, args=(rank, size, port, outputs[rank], config, before)) for rank in range(size)
    ]
    for member in members:
        member.start()
    for member in members:
        member.join(timeout=120)
    return [(member.exitcode or 0, output.read_text()) for member, output in zip(members, outputs, strict=True)]


def make(run: Path, output: Path, **changes: Any) -> EvaluateConfig:
    settings: dict[str, Any] = {"processes": 1, "resamples": 50, "tensorboard": False, "runtime": RUNTIME}
    return EvaluateConfig(run=str(run), output=str(output), **{**settings, **changes})


def files(folder: Path) -> dict[str, Any]:
    """What was written, without the time it took."""
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["seconds"]
    names = ("predictions.jsonl", "report.html")
    return {"metrics": metrics, **{name: (folder / name).read_text() for name in names}}


@pytest.mark.parametrize(("size", "limit"), [(2, None), (3, 2)], ids=["two", "more than there are documents"])
def test_tables_and_files_are_those_of_one_process_to_the_last_digit(
    size: int, limit: int | None, smoke: TrainedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(make(smoke.folder, tmp_path / "alone", limit=limit))
    _, _, table = capsys.readouterr().out.partition("\n")  # the first line has the time it took
    found = by_several(size, make(smoke.folder, tmp_path / "several", limit=limit), tmp_path)
    assert [status for status, _ in found] == [0] * size, found
    assert files(tmp_path / "several") == files(tmp_path / "alone")
    assert table in found[0][1]
    assert f"on CPU (1 thread), fp32, {size} processes" in found[0][1]
    assert [output for _, output in found[1:]] == [""] * (size - 1), "one of them talks"


def fail_in_the_last(rank: int) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise UserError("the fault of this process")

    if rank == 1:
        Summarizer.generate = fail  # type: ignore[method-assign]


def test_errors_are_told_once_and_end_all(smoke: TrainedRun, tmp_path: Path) -> None:
    output = tmp_path / "evaluation"
    (_, main), (status, told) = by_several(2, make(smoke.folder, output), tmp_path, fail_in_the_last)
    assert (status, told) == (2, "error: the fault of this process\n")
    assert "another process of this evaluation is gone" in main
    assert "Traceback" not in main
    assert not output.exists()
    (first, main), second = by_several(2, make(tmp_path / "nothing", output), tmp_path)
    assert first == 2
    assert main.startswith("error: ")
    assert main.count("\n") == 1
    assert second == (2, "")
