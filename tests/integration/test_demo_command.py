"""scripts/demo.py with a real run: it serves, says where, ends as signals ask, and refuses in one line."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from summarizer import Summarizer
from summarizer.config import DecodingOverrides

if TYPE_CHECKING:
    from tests.integration.conftest import Command, TrainedRun

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts" / "demo.py"
TEXT = "The bridge is shut, said Ann. Ferries run instead."

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts the command; its address is the first line it writes."""
    folder, processes = tmp_path_factory.mktemp("demo"), []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "port=0", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n", process.stdout.readline())
    assert found
    return int(found[1])


def ask(port: int, **content: Any) -> list[dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body = json.dumps({"text": TEXT, **content})
    connection.request("POST", "/api/summaries", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    lines = [json.loads(line) for line in answer.read().splitlines()]
    connection.close()
    return lines


@pytest.fixture(scope="module")
def port(start: Start, smoke: TrainedRun) -> int:
    """Of a page with one run beside itself."""
    run = [f"run={smoke.folder}", f"compare={smoke.folder}"]
    return port_of(start(*run, "decoding.beam_size=3", "runtime.num_threads=1"))


def test_the_page_gives_what_the_model_gives(port: int, smoke: TrainedRun) -> None:
    summarizer = Summarizer.from_run(smoke.folder, decoding=DecodingOverrides(beam_size=3))
    (expected,) = summarizer.n_best([TEXT], 2)
    events = ask(port, summaries=2)
    done = events[-1]
    assert done["event"] == "done", events
    assert [each["text"] for each in done["summaries"]] == [each.text for each in expected]
    assert [each["score"] for each in done["summaries"]] == pytest.approx([each.score for each in expected])
    assert any(each["event"] == "partial" and each["text"] for each in events)
    assert "".join(done["document"]).strip() == TEXT
    assert (done["read"], done["total"]) == (expected[0].tokens_read, expected[0].tokens_total)
    short = ask(port, decoding={"max_tokens": 3})[-1]["summaries"][0]
    assert short["tokens"] <= 3
    sampled = ask(port, summaries=3, decoding={"method": "sample", "max_tokens": 5})[-1]
    assert len(sampled["summaries"]) == 3


def test_a_text_longer_than_the_model_takes_is_told_apart(port: int, smoke: TrainedRun) -> None:
    text = " ".join(f"word{n}" for n in range(400))
    done = ask(port, text=text, decoding={"max_tokens": 4})[-1]
    assert done["read"] < done["total"]
    assert "".join(done["document"]).strip() + done["unread"] == text
    assert done["parts"] == 1
    events = ask(port, text=text, decoding={"max_tokens": 4}, long_document="split", prefix="It")
    done = events[-1]
    (expected,) = (
        Summarizer.from_run(smoke.folder)
        .with_decoding(DecodingOverrides(max_tokens=4, beam_size=3))
        .n_best([text], 1, long_document="split", prefix="It")
    )
    assert (done["read"], done["parts"]) == (done["total"], expected[0].parts)
    assert done["parts"] > 1
    assert done["summaries"][0]["text"] == expected[0].text
    assert {each["parts"] for each in events if "parts" in each and each["event"] == "partial"} >= {done["parts"]}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_order(number: int, status: int, start: Start, smoke: TrainedRun) -> None:
    process = start(f"run={smoke.folder}")
    port = port_of(process)
    idle = socket.create_connection(("127.0.0.1", port), timeout=60)
    process.send_signal(number)
    assert process.wait(timeout=60) == status
    _, errors = process.communicate()
    assert "Traceback" not in errors
    assert "error" not in errors
    idle.close()


def test_runs_of_one_name_are_told_apart(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/api/about")
    about = json.loads(connection.getresponse().read())
    connection.close()
    assert [run["name"] for run in about["runs"]] == ["run (1)", "run (2)"]
    assert about["runs"][0]["decoding"]["beam_size"] == 3


def test_a_mistake_costs_one_line(command: Command, smoke: TrainedRun, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = [
            ([], ["run is missing"]),
            (["run=/no/such"], ["/no/such"]),
            ([f"run={smoke.folder}", "compare=/no/such"], ["/no/such"]),
            ([f"run={smoke.folder}", f"port={port}"], [f"port ({port}) is in use", "port=0"]),
            ([f"run={smoke.folder}", "port=99999"], ["port (99999)", "65535"]),
            ([f"run={smoke.folder}", "time_limit=nan"], ["time_limit (nan)"]),
            ([f"run={smoke.folder}", "queue_size=0"], ["queue_size (0)"]),
            ([f"run={smoke.folder}", f"input={tmp_path / 'no.txt'}"], ["no.txt", "check the path"]),
            ([f"run={smoke.folder}", "decoding.beam_size=0"], ["decoding.beam_size (0)"]),
        ]
        for arguments, reasons in cases:
            outcome = command("demo", *arguments)
            outcome.assert_refused(*reasons)
