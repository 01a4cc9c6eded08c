"""A run folder from a stranger: how to make one, and what is looked at while somebody loads it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from summarizer import Summarizer
from summarizer.checkpoint import format
from summarizer.errors import UserError
from summarizer.runtime import DeviceKind, RuntimeConfig

FIXTURE = sorted((Path(__file__).parents[1] / "fixtures" / "runs").iterdir())[-1]
CPU = RuntimeConfig(device=DeviceKind.cpu, num_threads=1)
MEMBERS = ["model.safetensors", "trainer.safetensors", "trainer.json"]
Poison = Callable[[Path], object]


class Watch:
    """What this process does while it is told to look: the paths it opens, the commands it starts."""

    def __init__(self) -> None:
        self.is_on = False
        self.opened: list[str] = []
        self.started: list[str] = []
        sys.addaudithook(self._note)  # which nothing can take away again

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event in ("open", "os.listdir", "os.scandir"):
            self.opened.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes)) else "")
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect"):
            self.started.append(f"{event} {arguments}")


WATCH = Watch()


def refusal(run_dir: Path, outside: Path) -> str:
    """The line that loading ``run_dir`` ends with; fails if anything outside was touched on the way."""
    WATCH.opened, WATCH.started, WATCH.is_on = [], [], True
    try:
        with pytest.raises(UserError) as refused:
            Summarizer.from_run(run_dir, checkpoint="last", runtime=CPU)
    finally:
        WATCH.is_on = False
    assert any(str(run_dir) in path for path in WATCH.opened), "the watch sees nothing"
    touched = [path for path in WATCH.opened if Path(os.path.realpath(path)).is_relative_to(outside)]
    assert touched == []
    assert WATCH.started == []
    assert not (outside / "executed").exists()
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


def checkpoint_in(run_dir: Path) -> Path:
    (folder,) = (run_dir / "checkpoints").iterdir()
    return folder


def rewrite_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """As one would who knows how its checksum is made."""
    content = json.loads((folder / "manifest.json").read_text())
    del content["checksum"]
    change(content)
    (folder / "manifest.json").write_text(json.dumps({**content, "checksum": format.checksum(content)}))


def forge(run_dir: Path, name: str, content: bytes) -> None:
    """Put ``content`` in place of a file of the checkpoint, with a manifest that vouches for it."""
    folder = checkpoint_in(run_dir)
    (folder / name).write_bytes(content)
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    rewrite_manifest(folder, lambda manifest: manifest["files"].update({name: entry}))


def set_in_config(run_dir: Path, key: str, value: object) -> None:
    path = run_dir / "config.yaml"
    config = yaml.safe_load(path.read_text())
    *parents, last = key.split(".")
    part = config
    for name in parents:
        part = part[name]
    part[last] = value
    path.write_text(yaml.safe_dump(config))
