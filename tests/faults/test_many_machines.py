"""The Slurm script, on two machines that are this one: each has a torchrun of its own, and they meet over loopback."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from child import wait_for
from harness import SAMPLE

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

    def submit(self, job: int) -> subprocess.Popen[str]:
        variables = {
            "SLURM_JOB_ID": str(job),
            "SLURM_JOB_NODELIST": "both",
            "SLURM_JOB_NUM_NODES": "2",
            "PYTHON": sys.executable,
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "REQUEUED": str(self.requeued),
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
        wait_for(cluster.run_dir / "metrics.jsonl")
        deadline = time.monotonic() + 120
        while '"step": 3, "train"' not in (cluster.run_dir / "metrics.jsonl").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
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
    alone = [f"run_dir={tmp_path / 'alone'}", f"data.cache_dir={tmp_path / 'cache'}"]
    subprocess.run([sys.executable, "scripts/train.py", *SETTINGS, *alone], cwd=REPOSITORY, check=True)
    expected = load_latest(tmp_path / "alone")
    assert expected is not None
    for name, weight in expected.model.items():
        torch.testing.assert_close(cluster.checkpoint().model[name], weight, rtol=1e-4, atol=1e-5)


def test_a_job_that_fails_is_not_queued_again(cluster: Cluster) -> None:
    cluster.run_dir.mkdir()
    (cluster.run_dir / "config.yaml").write_text("not: a config")
    with cluster.submit(job=os.getpid()) as process:
        output, _ = process.communicate()
    assert process.returncode != 0
    assert "cannot be read as the config of a run" in output
    assert not cluster.requeued.exists()
