"""Texts and paths arrive as they were typed; what is no setting is refused with how to write one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from summarizer.commands.arguments import for_hydra
from summarizer.errors import UserError


def read(*arguments: str) -> dict[str, object]:
    """What Hydra makes of the arguments, references resolved as when a setting is read."""
    overrides = OverridesParser.create().parse_overrides([each for each in for_hydra(arguments) if each[0] != "-"])
    return {str(each.key_or_group): OmegaConf.create({"value": each.value()}).value for each in overrides}


LETTERS = st.text(st.sampled_from("ab ,:='\"\\\n$(){}[]%#~1_é") | st.characters(codec="utf-8"), max_size=12)


@given(LETTERS.filter(lambda text: len(text) < 2 or text[0] not in "'\"" or text[0] != text[-1]))
def test_a_text_arrives_as_it_was_typed(text: str) -> None:
    assert read(f"text={text}") == {"text": text}


@pytest.mark.parametrize(
    "path", ["a, b (1).txt", "it's/{x}", "2024_11", "007", "true", "1e3", "C:\\texts\\", "a=b", "", "ü ü", "%d"]
)
def test_a_path_arrives_as_it_was_typed(path: str) -> None:
    assert read(f"input={path}", f"data.path={path}", f"run={path}") == {"input": path, "data.path": path, "run": path}


def test_a_path_may_be_null_a_reference_or_swept() -> None:
    assert read("output=null") == {"output": None}
    assert for_hydra(["run_dir=outputs/${now:%H}"]) == ["run_dir=outputs/${now:%H}"]
    assert for_hydra(["data.path=a, b=1", "-m"]) == ["--multirun", "data.path='a','b=1'"]
    assert for_hydra(["-m", "data.path=choice(a,b)"]) == ["--multirun", "data.path=choice(a,b)"]
    assert read("-m", "run_dir=one, folder") == {"run_dir": "one, folder"}


def test_a_sweep_may_be_asked_for_anywhere_in_the_command() -> None:
    """Hydra itself refuses settings on both sides of --multirun."""
    assert for_hydra(["seed=1,2", "--multirun", "model=small"]) == ["--multirun", "seed=1,2", "model=small"]


@pytest.mark.parametrize("paths", [["outputs/a"], ["outputs/s/x=1+y=0.1", "b b"], ["é", "1_0", "true", "null"]])
def test_listed_paths_arrive_as_they_were_typed(paths: list[str]) -> None:
    assert read(f"compare=[{', '.join(paths)}]") == {"compare": paths}
    assert read("compare=['a,b', c]") == {"compare": ["a,b", "c"]}


def test_quotes_for_hydra_are_taken_off() -> None:
    assert read("input='a, b'", 'text="c, d"') == {"input": "a, b", "text": "c, d"}


def test_everything_else_is_left_to_hydra() -> None:
    others = ["model=small", "+a=[1, 2]", "~model.width", "--cfg", "job", "--help", "-cn", "train", "seed=1,2"]
    assert for_hydra(others) == others


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (["outputs/a"], "outputs/a is not key=value, as in run=outputs/sample"),
        (["run", "outputs/a"], "run is not key=value"),
        (["--run", "outputs/a"], "outputs/a is not key=value"),
        (["--lr", "3"], "--lr is not an option; a setting has no dashes, as in lr=..."),
        (["--optimizer.lr=3"], "a setting has no dashes, as in optimizer.lr=3"),
        (["-x"], "as in x=..."),
        (["--"], "as in key=..."),
    ],
)
def test_what_is_no_setting_is_refused_with_how_to_write_one(arguments: list[str], way_out: str) -> None:
    with pytest.raises(UserError) as refusal:
        for_hydra(arguments)
    assert way_out in str(refusal.value)
    assert "--help" in str(refusal.value)


def test_a_run_folder_by_itself_is_taken_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    with pytest.raises(UserError, match=f"as in run={tmp_path}"):
        for_hydra([str(tmp_path)])
