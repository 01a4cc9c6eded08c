"""A run folder from a stranger: what is wrong with it takes one line, runs nothing and reads nothing outside it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stranger import (
    CPU,
    FIXTURE,
    MEMBERS,
    WATCH,
    checkpoint_in,
    forge,
    refusal,
    rewrite_manifest,
    set_in_config,
)

from summarizer import Summarizer
from summarizer.commands.run_report import report_on
from summarizer.commands.train import train
from summarizer.config import from_yaml
from summarizer.errors import UserError
from summarizer.tokenizer import Tokenizer, TokenizerConfig

pytestmark = pytest.mark.slow  # many cases, each of which reads a config


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A sound run, to be poisoned."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "run"))


def test_the_sound_run_loads(run_dir: Path, little_memory: None) -> None:
    """What makes the other tests here worth something."""
    assert Summarizer.from_run(run_dir, runtime=CPU).summarize(["A park in Dale."])


class Payload:
    """What pickle would run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.marker,)


def test_the_watch_would_see_a_payload_at_work(outside: Path) -> None:
    WATCH.opened, WATCH.is_on = [], True
    pickle.loads(pickle.dumps(Payload(outside / "executed")))
    WATCH.is_on = False
    assert str(outside / "executed") in WATCH.opened


@pytest.mark.parametrize("name", [*MEMBERS, "manifest.json", "../../tokenizer.model", "../../config.yaml"])
def test_a_pickle_is_never_run_whatever_file_it_takes_the_place_of(
    name: str,
    run_dir: Path,
    outside: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    payload = pickle.dumps(Payload(outside / "executed"), protocol=0)
    if name in MEMBERS:
        forge(run_dir, name, payload)
    else:
        (checkpoint_in(run_dir) / name).write_bytes(payload)
    # Inference does not read the trainer's tensors.
    message = (resume_refusal if name == "trainer.safetensors" else refusal)(run_dir, outside)
    assert Path(name).name in message + caplog.text + capsys.readouterr().err


CODE_IN_YAML = {
    "target": "model:\n  _target_: pathlib.Path.touch\n  path: {marker}\n",
    "target of a part": "tokenizer: {{_target_: os.system, command: touch {marker}}}\n",
    "call": "seed: !!python/object/apply:os.system ['touch {marker}']\n",
    "new object": "seed: !!python/object/new:pathlib.Path ['{marker}']\n",
    "name": "seed: !!python/name:os.system\n",
    "resolver": "run_dir: ${{oc.env:SECRET}}\n",
    "resolver in a key": "'${{oc.env:SECRET}}': 1\n",
    "resolver written as escapes": 'run_dir: "\\x24\\x7boc.env:SECRET\\x7d"\n',
    "bomb": "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b, *b]\n",
}


@pytest.mark.parametrize("case", CODE_IN_YAML)
def test_nothing_in_a_config_is_run_or_resolved(
    case: str, run_dir: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "swordfish")
    (run_dir / "config.yaml").write_text(CODE_IN_YAML[case].format(marker=outside / "executed"))
    message = refusal(run_dir, outside)
    assert "config.yaml" in message
    assert "swordfish" not in message


ABSURD = {
    "model.width": 10**9,
    "model.num_heads": 10**9,
    "model.encoder_layers": 10**6,
    "model.decoder_layers": 10**12,
    "model.feed_forward_dim": 10**15,
    "model.key_dim": 10**9,
    "model.value_dim": 10**9,
    "model.max_positions": 10**12,
    "model.pointer.key_dim": 10**9,
    "model.attention.cross.kv_heads": 10**9,
    "decoding.beam_size": 10**9,
    "decoding.max_tokens": 10**12,
    "runtime.num_workers": 10**6,
    "runtime.num_threads": 10**9,
}


@pytest.mark.parametrize("key", ABSURD)
def test_an_absurd_size_is_refused_by_name_before_any_memory_is_taken(
    key: str, run_dir: Path, outside: Path, little_memory: None
) -> None:
    set_in_config(run_dir, key, ABSURD[key])
    message = refusal(run_dir, outside)
    assert f"{key} ({ABSURD[key]}) must" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.width", 1 << 16),
        ("model.feed_forward_dim", 1 << 20),
        ("model.encoder_layers", 1000),
        ("model.key_dim", 1 << 20),
        ("model.max_positions", 1 << 20),
        ("model.pointer.key_dim", 1 << 20),
    ],
)
def test_a_size_that_some_model_may_have_is_refused_by_what_the_weights_are(
    key: str, value: int, run_dir: Path, outside: Path, little_memory: None
) -> None:
    set_in_config(run_dir, key, value)
    assert "does not fit the model of" in refusal(run_dir, outside)


@pytest.mark.parametrize(
    "value", ["0x" + "f" * 9000, "9" * 9000, "1" + ":59" * 3000, "1e999999", ".inf"], ids=lambda value: value[:9]
)
def test_a_number_too_long_to_print_is_refused(value: str, run_dir: Path, outside: Path) -> None:
    path = run_dir / "config.yaml"
    path.write_text(path.read_text().replace("width: 8", f"width: {value}"))
    assert "config.yaml" in refusal(run_dir, outside)


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "tokenizer.model", "best.json", "checkpoints", "checkpoints/step-0000300"]
    + [f"checkpoints/step-0000300/{member}" for member in [*MEMBERS, "manifest.json"]],
)
def test_a_link_that_leads_out_is_refused_though_what_it_points_to_is_fine(
    name: str, run_dir: Path, outside: Path
) -> None:
    (run_dir / name).rename(outside / "target")
    (run_dir / name).symlink_to(outside / "target")
    message = refusal_before_reading(run_dir, outside)
    assert f"{run_dir / name} is a link that leads out" in message


@pytest.mark.parametrize("target", ["/etc/passwd", "/dev/zero", "../outside/missing", "/proc/self/environ"])
def test_a_link_to_a_secret_or_to_nothing_is_refused(target: str, run_dir: Path, outside: Path) -> None:
    (run_dir / "config.yaml").unlink()
    (run_dir / "config.yaml").symlink_to(target)
    message = refusal_before_reading(run_dir, outside)
    assert "root:" not in message
    assert str(run_dir) in message


def refusal_before_reading(run_dir: Path, outside: Path) -> str:
    WATCH.opened, WATCH.is_on = [], True
    try:
        with pytest.raises(UserError) as refused:
            Summarizer.from_run(run_dir, runtime=CPU)
    finally:
        WATCH.is_on = False
    assert [path for path in WATCH.opened if not Path(path).is_dir()] == []
    assert not any(Path(os.path.realpath(path)).is_relative_to(outside) for path in WATCH.opened)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_link_within_the_run_is_no_harm(run_dir: Path) -> None:
    (run_dir / "tokenizer.model").rename(run_dir / "tokenizer-1.model")
    (run_dir / "tokenizer.model").symlink_to("tokenizer-1.model")
    Summarizer.from_run(run_dir, runtime=CPU)
    run_dir.with_name("latest").symlink_to(run_dir)
    Summarizer.from_run(run_dir.with_name("latest"), runtime=CPU)


@pytest.mark.parametrize("name", ["best.json", "checkpoints/step-0000300/manifest.json", "tokenizer.model", "notes"])
def test_a_pipe_is_refused_instead_of_waited_for(name: str, run_dir: Path, outside: Path) -> None:
    (run_dir / name).unlink(missing_ok=True)
    os.mkfifo(run_dir / name)
    assert f"{run_dir / name} is neither file nor folder" in refusal_before_reading(run_dir, outside)


@pytest.mark.parametrize("name", ["../../../outside/secret", "/etc/passwd", "..", "model.safetensors/../../x", "\x00"])
def test_a_manifest_opens_nothing_but_its_own_files(name: str, run_dir: Path, outside: Path) -> None:
    (outside / "secret").write_bytes((checkpoint_in(run_dir) / MEMBERS[0]).read_bytes())
    rewrite_manifest(
        checkpoint_in(run_dir), lambda manifest: manifest["files"].update({name: manifest["files"].pop(MEMBERS[0])})
    )
    assert "manifest.json" in refusal(run_dir, outside)


@pytest.mark.parametrize(
    "step",
    ['"../../../outside"', '"/etc"', "-1", "1" + "0" * 300, "9" * 4300, "9" * 5000, "Infinity", "NaN", "null", "[1]"],
    ids=lambda step: step[:20],
)
def test_a_best_json_leads_nowhere_else(step: str, run_dir: Path, outside: Path) -> None:
    (run_dir / "best.json").write_text(f'{{"metric": "loss", "step": {step}, "value": 1.0}}')
    WATCH.opened, WATCH.is_on = [], True
    try:
        loaded = Summarizer.from_run(run_dir, runtime=CPU)
    finally:
        WATCH.is_on = False
    assert loaded.step == 300
    assert not any(Path(os.path.realpath(path)).is_relative_to(outside) for path in WATCH.opened if len(path) < 4000)


def test_the_tokenizer_of_another_run_is_refused_by_its_hash(run_dir: Path, outside: Path) -> None:
    own = Tokenizer.load(run_dir / "tokenizer.model")
    texts = ["".join(chr(ord("a") + (7 * i + j) % 26) for j in range(50)) for i in range(40)]
    other = Tokenizer.train(texts, TokenizerConfig(vocab_size=own.vocab_size))
    assert other.vocab_size == own.vocab_size
    (run_dir / "tokenizer.model").write_bytes(other.to_bytes())
    message = refusal(run_dir, outside)
    assert f"its hash is {other.fingerprint[:8]} and should be {own.fingerprint[:8]}" in message


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "not UTF-8"])
def test_a_file_that_is_no_tokenizer_is_refused(damage: str, run_dir: Path, outside: Path) -> None:
    path = run_dir / "tokenizer.model"
    content = path.read_bytes()
    changed = {
        "text": b"not a SentencePiece model",
        "empty": b"",
        "cut": content[: len(content) // 2],
        "not UTF-8": content.replace("\ue00a".encode(), b"\xff\xff\xff", 1).replace(b"<0x41>", b"<\xff\xff41>", 1),
    }
    path.write_bytes(changed[damage])
    assert f"tokenizer file {path}" in refusal(run_dir, outside)


def resume_refusal(run_dir: Path, outside: Path) -> str:
    """The line that ``train`` on ``run_dir`` ends with, its settings being the run's own."""
    config = from_yaml(run_dir / "config.yaml")
    texts = run_dir.with_name("texts")
    texts.mkdir()
    names = ["Dale", "Bree", "Erebor", "Lake-town"]  # what the fixture was trained on
    rows = [
        {"document": f"The town of {name} opened a park.\nIt rained.", "summary": f"{name}: park."} for name in names
    ]
    for split in ("train", "validation"):
        (texts / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = replace(config.data, path=str(texts), cache_dir=str(run_dir.with_name("cache")))
    with pytest.raises(UserError) as refused:
        train(replace(config, run_dir=str(run_dir), data=data))
    assert "\n" not in str(refused.value)
    assert list(outside.iterdir()) == []
    return str(refused.value)


@pytest.mark.parametrize("name", [".lock", "train.log", "metrics.jsonl", "tensorboard", "config.yaml"])
def test_training_writes_through_no_link(name: str, run_dir: Path, outside: Path) -> None:
    config = (run_dir / "config.yaml").read_bytes()
    (run_dir / name).unlink(missing_ok=True)
    (run_dir / name).symlink_to(outside / "target")
    (outside / "target").write_bytes(config)
    with pytest.raises(UserError, match="is a link that leads out of the run folder"):
        train(replace(from_yaml(FIXTURE / "config.yaml"), run_dir=str(run_dir)))
    assert (outside / "target").read_bytes() == config


def test_inspecting_follows_no_link(run_dir: Path, outside: Path) -> None:
    (run_dir / "best.json").rename(outside / "best.json")
    (run_dir / "best.json").symlink_to(outside / "best.json")
    with pytest.raises(UserError, match=r"best\.json is a link that leads out"):
        report_on(run_dir)


FOREIGN_STATES: dict[str, Any] = {
    "nothing": {"scaler": {}},
    "another entry": {"state": {"hooks": ["os.system"]}, "scaler": {}},
    "a step of text": {"state": {"step": "1"}, "scaler": {}},
}


@pytest.mark.parametrize("case", FOREIGN_STATES)
def test_a_trainer_state_of_other_values_is_refused(case: str, run_dir: Path, outside: Path) -> None:
    saved = json.loads((checkpoint_in(run_dir) / "trainer.json").read_text())
    changed = FOREIGN_STATES[case]
    if isinstance(changed.get("state"), dict):
        changed = {**changed, "state": {**saved["state"], **changed["state"]}}
    forge(run_dir, "trainer.json", json.dumps(changed).encode())
    assert "of another r" in resume_refusal(run_dir, outside)  # run, or release
