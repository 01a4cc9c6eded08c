"""What running a command gives, and how to run one in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines that tell the user what is wrong."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


Command = Callable[..., Outcome]


@dataclass(frozen=True)
class TrainedRun:
    """A finished run, and how it was made."""

    folder: Path
    cache: Path
    arguments: list[str]
    outcome: Outcome


def run_in_subprocess(script: str, *arguments: str, cwd: Path = REPOSITORY, stdin: bytes = b"") -> Outcome:
    """``python scripts/<script>.py arguments``, for real."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / f"{script}.py"), *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        timeout=300,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())
