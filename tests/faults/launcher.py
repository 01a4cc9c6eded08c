"""Training runs under torchrun itself, and what happens to its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from child import wait_for
from harness import Run

from summarizer.config import to_yaml

# A run whose updates take long enough to be met by what shall happen to them.
SLOW = {"accumulate": 20, "max_steps": 30, "validate_every": 10, "save_every": 5}


def torchrun(run: Run, *options: str) -> subprocess.Popen[str]:
    """Two processes, which train as ``run`` would."""
    program = (
        "import sys\n"
        "from summarizer.commands.entry import execute\n"
        "from summarizer.commands.train import train\n"
        "from summarizer.config import TrainConfig, from_yaml\n"
        "from pathlib import Path\n"
        "execute(train, __import__('omegaconf').OmegaConf.structured(from_yaml(Path(sys.argv[1]))), TrainConfig)\n"
    )
    (run.notes / "program.py").write_text(program)
    (run.notes / "config.yaml").write_text(to_yaml(run.config))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *options]
    return subprocess.Popen(
        [*command, str(run.notes / "program.py"), str(run.notes / "config.yaml")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
    )  # fmt: skip


def wait_for_step(run_dir: Path, step: int) -> None:
    """Return when the run has noted that update."""
    log = run_dir / "metrics.jsonl"
    wait_for(log)
    deadline = time.monotonic() + 120
    while f'"step": {step}, "train"' not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children_of(parent: int) -> list[int]:
    path = Path(f"/proc/{parent}/task/{parent}/children")
    if not path.exists():
        pytest.skip("needs /proc")
    return [int(child) for child in path.read_text().split()]
