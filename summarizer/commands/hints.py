"""Commands for the user to type next, as they work in the shell at hand."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def python_command(*arguments: str) -> str:
    """``python scripts/...``, with the interpreter that runs now: ``.venv/bin/python`` if it is not on the path."""
    found = shutil.which("python")
    on_path = found is not None and Path(found).absolute() == Path(sys.executable).absolute()
    interpreter = "python" if on_path else os.path.relpath(sys.executable)
    return shlex.join([interpreter, *arguments])


def tensorboard_command(run_dir: Path | str) -> str:
    """Start TensorBoard on a run."""
    return python_command("-m", "tensorboard.main", "--logdir", str(run_dir))
