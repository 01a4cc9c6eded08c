"""Two machines that are this one: each has a torchrun of its own, and they meet over loopback."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from harness import SAMPLE
from launcher import children_of, wait_for_step
from team import free_port

from summarizer.checkpoint import Checkpoint, load_latest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
LAST_STEP = 30
SETTINGS = shlex.split(f"""
experiment=none data=local data.limit.train=200 data.limit.validation=8 data.limit.test=2 data.max_source_tokens=48
data.max_target_tokens=32 data.batching.max_tokens=400 tokenizer.vocab_size=350 model=tiny model.width=16
model.num_heads=2 model.encoder_layers=1 model.decoder_layers=1 model.feed_forward_dim=16 model.dropout=0.0 runtime=cpu
runtime.precision=fp32 runtime.num_threads=1 optimizer.eps=1e-3 training.max_steps={LAST_STEP} training.accumulate=10
training.log_every=1 training.validate_every=20 training.save_every=10 validation.rouge_examples=2 decoding.max_tokens=4
data.path={SAMPLE}
""")

# Starts the command on each machine, hands a signal on, and waits for all.
SRUN = """#!/bin/bash
trap 'kill -TERM "${machines[@]}" 2>/dev/null' TERM
for _ in 1 2; do "$@" & machines+=($!); done
status=0
for machine in "${machines[@]}"; do
    while kill -0 "$machine" 2>/dev/null; do wait "$machine" || status=$?; done
done
exit "$status"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo 127.0.0.1; else echo "$@" > "$REQUEUED"; fi
"""


class Cluster:
    """Two machines, and what their scheduler is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requeued = folder / "requeued"
        self.run_dir = folder / "run"
        for name, content in (("srun", SRUN), ("scontrol", SCONTROL)):
            (folder / name).write_text(content)
            (folder / name).chmod(0o755)

    def submit(self, job: int, *, max_restarts: int = 1) -> subprocess.Popen[str]:
        variables = {
            "SLURM_JOB_ID": str(job),
            "SLURM_JOB_NODELIST": "both",
            "SLURM_JOB_NUM_NODES": "2",
            "PYTHON": sys.executable,
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "REQUEUED": str(self.requeued),
            "MAX_RESTARTS": str(max_restarts),
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        command = ["bash", "scripts/train.slurm", *SETTINGS, f"run_dir={self.run_dir}"]
        return subprocess.Popen(
            [*command, f"data.cache_dir={self.folder / 'cache'}"],
            cwd=REPOSITORY,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def checkpoint(self) -> Checkpoint:
        found = load_latest(self.run_dir)
        assert found is not None
        return found


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_a_job_whose_time_is_up_is_queued_again_and_goes_on_to_what_one_process_gives(
    cluster: Cluster, tmp_path: Path
) -> None:
    with cluster.submit(job=os.getpid()) as first:
        wait_for_step(cluster.run_dir, 3)
        first.send_signal(signal.SIGTERM)
        output, _ = first.communicate()
    assert first.returncode != 0
    assert cluster.requeued.read_text().split() == ["requeue", str(os.getpid())], output
    assert "2 processes" in output
    assert 3 <= cluster.checkpoint().step < LAST_STEP, output
    cluster.requeued.unlink()
    with cluster.submit(job=os.getpid() + 1) as second:
        output, _ = second.communicate()
    assert second.returncode == 0, output
    assert not cluster.requeued.exists()
    assert_what_one_process_gives(cluster.checkpoint(), tmp_path)


def assert_what_one_process_gives(found: Checkpoint, folder: Path) -> None:
    alone = [f"run_dir={folder / 'alone'}", f"data.cache_dir={folder / 'cache'}"]
    subprocess.run([sys.executable, "scripts/train.py", *SETTINGS, *alone], cwd=REPOSITORY, check=True)
    expected = load_latest(folder / "alone")
    assert expected is not None
    assert found.step == expected.step
    for name, weight in expected.model.items():
        torch.testing.assert_close(found.model[name], weight, rtol=1e-4, atol=1e-5)


def test_a_job_that_fails_is_not_queued_again(cluster: Cluster) -> None:
    cluster.run_dir.mkdir()
    (cluster.run_dir / "config.yaml").write_text("not: a config")
    with cluster.submit(job=os.getpid(), max_restarts=0) as process:
        output, _ = process.communicate()
    assert process.returncode != 0
    assert output.count("cannot be read as the config of a run") == 1, "more than one of them told it"
    assert not cluster.requeued.exists()


# torchrun by hand


def test_a_process_that_dies_is_started_again_on_all_machines_and_a_machine_that_dies_is_done_without(
    tmp_path: Path,
) -> None:
    run_dir, port = tmp_path / "run", free_port()
    meeting = "last_call_timeout=5,keep_alive_interval=1,keep_alive_max_attempt=4,is_host="
    torchrun = [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes=1:2", "--nproc-per-node=1", "--max-restarts=3"),
        *("--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=run"),
    ]
    training = [
        *("scripts/train.py", *SETTINGS, f"run_dir={run_dir}", f"data.cache_dir={tmp_path / 'cache'}"),
        "training.save_every=2",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    outputs = [tmp_path / name for name in ("first.txt", "second.txt")]
    machines = []
    # They meet at the first one, which stays: the address is that of both, so each would take itself for it.
    for output, is_host in zip(outputs, (True, False), strict=True):
        with output.open("w") as file:
            command = [*torchrun, f"--rdzv-conf={meeting}{is_host}", *training]
            machines.append(
                subprocess.Popen(
                    command, cwd=REPOSITORY, env=environment, stdout=file, stderr=file, start_new_session=True
                )
            )
    try:
        wait_for_step(run_dir, 4)
        os.kill(children_of(machines[1].pid)[-1], signal.SIGKILL)
        wait_for_step(run_dir, 10)
        for process in (machines[1].pid, *children_of(machines[1].pid)):
            os.kill(process, signal.SIGKILL)
        assert machines[0].wait(timeout=120) == 0, outputs[0].read_text()
    finally:
        for machine in machines:
            with suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGKILL)
            machine.wait()
    starts = [line for line in "".join(map(Path.read_text, outputs)).splitlines() if line.startswith("device ")]
    assert ["2 processes" in line for line in starts] == [True, True, False], outputs[0].read_text()
    found = load_latest(run_dir)
    assert found is not None
    assert_what_one_process_gives(found, tmp_path)
