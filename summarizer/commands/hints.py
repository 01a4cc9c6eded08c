"""Commands for the user to type next, as they work in the shell at hand."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def script_command(name: str, *arguments: str) -> str:
    """``python scripts/<name>.py ...``, beside the script that runs now."""
    running = Path(sys.argv[0])
    folder = running.parent if running.suffix == ".py" else Path("scripts")
    return python_command(str(folder / f"{name}.py"), *arguments)


def tensorboard_command(run_dir: Path | str) -> str:
    """Start TensorBoard on a run."""
    return python_command("-m", "tensorboard.main", "--logdir", str(run_dir))


def python_command(*arguments: str) -> str:
    """``python ...``, with the interpreter that runs now: ``.venv/bin/python``, say, if it is not on the path."""
    found = shutil.which("python")
    if found is not None and Path(found).absolute() == Path(sys.executable).absolute():
        interpreter = "python"
    else:
        interpreter = os.path.relpath(sys.executable)
        if interpreter.startswith(os.pardir):
            interpreter = sys.executable
    return shlex.join([interpreter, *arguments])
