"""Weights and files from a stranger that lie about what they are, or are too large for it: refused unread."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from stranger import (
    FIXTURE,
    Poison,
    checkpoint_in,
    forge,
    refusal,
)

pytestmark = pytest.mark.slow  # many cases, each of which reads a config


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A sound run, to be poisoned."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "run"))


def header(tensors: dict[str, Any], data: bytes = b"", *, claimed: int | None = None) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text) if claimed is None else claimed) + text + data


def tensor(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


LIES = {
    "header longer than the file": header({}, claimed=10**12),
    "header of 2**64 bytes": header({}, claimed=2**64 - 1),
    "no header": b"\x01",
    "offsets beyond the end": header({"w": tensor([2], 0, 8)}, b"1234"),
    "offsets before the start": header({"w": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, b"1234"),
    "offsets the wrong way round": header({"w": tensor([1], 4, 0)}, b"1234"),
    "overlap": header({"v": tensor([1], 0, 4), "w": tensor([1], 2, 6)}, b"123456"),
    "hole": header({"w": tensor([1], 4, 8)}, b"12345678"),
    "shape larger than the data": header({"w": tensor([10**12], 0, 4)}, b"1234"),
    "shape beyond 64 bits": header({"w": tensor([2**40, 2**40], 0, 4)}, b"1234"),
    "shape that wraps around to the size": header({"w": tensor([2**63, 2, 1], 0, 0)}),
    "unknown type": header({"w": tensor([1], 0, 4, "PICKLE")}, b"1234"),
    "data nobody owns": header({}, b"1234"),
    "nested without end": struct.pack("<Q", 100_000) + b'{"a":' * 20_000,
    "nothing": header({}),
    "huge and empty": header({"source_embedding.weight": tensor([2**62, 0], 0, 0)}),
    "no numbers": header({"source_embedding.weight": tensor([290, 8], 0, 290 * 8, "BOOL")}, bytes(290 * 8)),
}


@pytest.mark.parametrize("case", LIES)
def test_weights_that_lie_about_themselves_are_refused(
    case: str, run_dir: Path, outside: Path, little_memory: None, caplog: pytest.LogCaptureFixture
) -> None:
    forge(run_dir, "model.safetensors", LIES[case])
    message = refusal(run_dir, outside)
    assert f"{checkpoint_in(run_dir)}" in message + caplog.text


def name_a_million_files(run_dir: Path) -> None:
    files = ", ".join(f'"file-{number}": {{}}' for number in range(10**6))
    (checkpoint_in(run_dir) / "manifest.json").write_text(f'{{"files": {{{files}}}}}')


HUGE: dict[str, tuple[str, Poison]] = {
    "manifest of a million files": ("manifest.json", name_a_million_files),
    "manifest of nothing but brackets": (
        "manifest.json",
        lambda run_dir: (checkpoint_in(run_dir) / "manifest.json").write_text("[" * 10**6),
    ),
    "manifest with an endless number": (
        "manifest.json",
        lambda run_dir: (checkpoint_in(run_dir) / "manifest.json").write_text(f'{{"step": {"9" * 10**6}}}'),
    ),
    "trainer state of some megabytes": (
        "trainer.json",
        lambda run_dir: forge(run_dir, "trainer.json", b" " * 3 * 10**6),
    ),
    "deep trainer state": ("trainer.json", lambda run_dir: forge(run_dir, "trainer.json", b'{"a":' * 10**5)),
    "config of megabytes": ("config.yaml", lambda run_dir: (run_dir / "config.yaml").write_bytes(b"a: 1\n" * 10**6)),
    "config of a terabyte": ("config.yaml", lambda run_dir: os.truncate(run_dir / "config.yaml", 10**12)),
    "tokenizer of a terabyte": ("tokenizer.model", lambda run_dir: os.truncate(run_dir / "tokenizer.model", 10**12)),
    "weights of a terabyte": (
        "model.safetensors",
        lambda run_dir: os.truncate(checkpoint_in(run_dir) / "model.safetensors", 10**12),
    ),
}


@pytest.mark.parametrize("case", HUGE)
def test_a_file_too_large_for_what_it_is_is_refused_unread(
    case: str, run_dir: Path, outside: Path, little_memory: None, caplog: pytest.LogCaptureFixture
) -> None:
    name, poison = HUGE[case]
    poison(run_dir)
    message = refusal(run_dir, outside)
    assert name in message + caplog.text
