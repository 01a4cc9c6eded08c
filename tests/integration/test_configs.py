"""Every YAML file composes into a valid config, says the truth in its comments, and survives being saved."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from summarizer.config import SCHEMAS, TrainConfig, from_yaml, register_schemas, to_object, to_yaml, with_overrides
from summarizer.decoding.config import DecodingConfig, LengthNormalization, NgramUnit
from summarizer.errors import UserError
from summarizer.model.transformer import Transformer

CONFIGS = Path(__file__).parents[2] / "configs"
GROUPS = {
    "train": ["model", "data", "tokenizer", "optimizer", "schedule", "decoding", "runtime", "experiment"],
    "train_tokenizer": ["data", "tokenizer"],
    "evaluate": ["decoding", "runtime"],
    "generate": ["decoding", "runtime"],
    "demo": ["decoding", "runtime"],
    "inspect_run": [],
    "compare_attention": ["runtime"],
    "benchmark": ["model", "data", "tokenizer", "runtime"],
    "plan": ["model", "data", "tokenizer", "optimizer", "schedule", "decoding", "runtime", "experiment"],
}
REQUIRED = {
    "train": [],
    "train_tokenizer": ["output=tokenizer.model"],
    "evaluate": ["run=outputs/mine"],
    "generate": ["run=outputs/mine"],
    "demo": ["run=outputs/mine"],
    "inspect_run": ["run=outputs/mine"],
    "compare_attention": [],
    "benchmark": [],
    "plan": [],
    "data=local": ["data.path=my_data"],
    "data=hub": ["data.hub_id=owner/name", "data.document_column=text", "data.summary_column=summary"],
}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


@cache
def composed(command: str, *overrides: str) -> Any:
    """The checked config of a command, by Hydra's own way of composing without a script."""
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return to_object(compose(command, [*REQUIRED[command], *overrides]), SCHEMAS[command])


CHOICES = [
    (command, f"{group}={option}")
    for command, groups in GROUPS.items()
    for group in groups
    for option in options(group)
]


def test_every_folder_of_configs_is_a_group_of_the_training_command() -> None:
    folders = sorted({path.parent.name for path in CONFIGS.glob("*/*.yaml")})
    assert folders == sorted(GROUPS["train"])
    assert sorted(path.stem for path in CONFIGS.glob("*.yaml")) == sorted(GROUPS)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "choice"), CHOICES)
def test_every_option_of_every_group_composes_into_a_valid_config(command: str, choice: str) -> None:
    assert isinstance(composed(command, choice, *REQUIRED.get(choice, [])), SCHEMAS[command])


@pytest.mark.parametrize("command", GROUPS)
def test_the_defaults_of_every_command_are_valid(command: str) -> None:
    composed(command)


@pytest.mark.slow
@pytest.mark.parametrize("group", [group for group in GROUPS["train"] if group != "experiment"])
def test_an_option_chosen_on_the_command_line_wins_over_the_experiment(group: str) -> None:
    """What the option's file says is what the run gets, but for what the experiment sets one by one."""
    experiment = yaml.safe_load((CONFIGS / "experiment" / "sample.yaml").read_text())
    for option in options(group):
        choice = f"{group}={option}"
        part = getattr(composed("train", choice, *REQUIRED.get(choice, [])), group)
        written = yaml.safe_load((CONFIGS / group / f"{option}.yaml").read_text())
        given = {override.split("=")[0] for override in REQUIRED.get(choice, [])}
        for key, value in written.items():
            if key == "defaults" or key in experiment.get(group, {}) or f"{group}.{key}" in given:
                continue
            if not isinstance(value, dict):
                actual = getattr(part, key)
                assert str(getattr(actual, "value", actual)) == str(_number(value)), (choice, key)


def _number(value: object) -> object:
    """YAML 1.1 reads 1e-3 as text."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?e-?\d+", value) else value


@pytest.mark.parametrize("option", options("decoding"))
def test_another_way_of_decoding_leaves_lengths_and_rules_as_in_the_run(option: str) -> None:
    """Or evaluate.py decoding=greedy would show the difference of more than the search."""
    shared = {
        "length_normalization": LengthNormalization.wu, "length_penalty": 0.5, "early_stop": True, "patience": 2.0,
        "min_tokens": 9, "max_tokens": 77, "no_repeat_ngram_size": 6, "block_ngrams_of": NgramUnit.words,
        "repetition_penalty": 1.1, "coverage_penalty": 0.5, "seed": 3, "max_batch_tokens": 1000,
    }  # fmt: skip
    run = DecodingConfig(beam_size=6, beam_groups=3, **shared)
    found = with_overrides(run, composed("evaluate", f"decoding={option}").decoding)
    assert {name: getattr(found, name) for name in shared} == shared


def test_the_defaults_in_the_comment_of_the_beam_are_true() -> None:
    text = (CONFIGS / "decoding" / "beam.yaml").read_text()
    said = dict(re.findall(r"decoding\.(\w+)=([\w.]+)", text))
    assert len(said) == 11
    assert {"decoding." + name for name in said} <= settings_of(TrainConfig)
    plain = DecodingConfig()
    assert said == {name: str(getattr(_value(plain, name), "value", _value(plain, name))) for name in said}


def _value(config: DecodingConfig, name: str) -> Any:
    """As YAML writes it."""
    value = getattr(config, name)
    return str(value).lower() if isinstance(value, bool) else value


@pytest.mark.parametrize("size", options("model"))
def test_the_number_of_parameters_in_the_comment_of_a_model_size_is_true(size: str) -> None:
    text = (CONFIGS / "model" / f"{size}.yaml").read_text()
    found = re.search(r"([\d.]+) million parameters\s[#\s]*with a vocabulary of ([\d,]+)", text)
    assert found, f"configs/model/{size}.yaml no longer says how many parameters it has"
    with torch.device("meta"):
        model = Transformer(composed("train", "experiment=none", f"model={size}").model, int(found[2].replace(",", "")))
    decimals = len(found[1].partition(".")[2])
    assert round(model.num_parameters / 1e6, decimals) == float(found[1])


@pytest.mark.parametrize("command", sorted(GROUPS.keys() - {"train"}))
def test_the_help_lists_the_options_that_exist(command: str) -> None:
    """The help of these commands names its groups by hand: they use fewer than configs/ holds."""
    template = yaml.safe_load((CONFIGS / f"{command}.yaml").read_text())["hydra"]["help"]["template"]
    listed = dict(re.findall(r"^  (\w+): (\w+(?:, \w+)*)", template, re.MULTILINE))
    assert listed == {group: ", ".join(options(group)) for group in GROUPS[command]}


@pytest.mark.slow
@pytest.mark.parametrize("script", GROUPS)
def test_the_help_shows_every_setting(
    script: str, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if script != "train":  # whose help alone lists the groups: Hydra looks for them in any case, for seconds
        monkeypatch.setattr("hydra._internal.hydra.Hydra.format_config_groups", lambda *arguments, **named: "")
    outcome = command(script, "--help")
    assert outcome.status == 0
    shown = yaml.safe_load(outcome.out.split("All settings\n", 1)[1])
    assert settings_in(shown) == settings_of(SCHEMAS[script])


def settings_in(shown: dict[str, Any], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for key, value in shown.items():
        names |= settings_in(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"}
    return names


def settings_of(schema: Any, prefix: str = "") -> set[str]:
    names: set[str] = set()
    for each in fields(schema):
        default = each.default_factory if callable(each.default_factory) else None
        nested = is_dataclass(default)
        names |= settings_of(default, f"{prefix}{each.name}.") if nested else {f"{prefix}{each.name}"}
    return names


@pytest.mark.parametrize("experiment", options("experiment"))
def test_a_saved_config_is_read_back_as_it_was(experiment: str, tmp_path: Path) -> None:
    composed_one = composed("train", f"experiment={experiment}")
    config = replace(composed_one, run_dir="a: 'b', #\n", data=replace(composed_one.data, path="~/données {1}"))
    (tmp_path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert from_yaml(tmp_path / "config.yaml") == config


FOREIGN = {
    "interpolation": (b"data: {path: x}\nrun_dir: ${oc.env:HOME}\n", "interpolation"),
    "object to instantiate": (b"model:\n  _target_: os.system\n", "_target_"),
    "tag that runs code": (b"seed: !!python/object/apply:os.system ['true']\n", "could not determine"),
    "alias, with which few lines fill the memory": (b"a: &a [1, 1]\nb: [*a, *a]\n", "alias"),
    "unknown key": (b"modle: {}\n", "modle"),
    "wrong type": (b"seed: many\n", "many"),
    "part that is no mapping": (b"model: 3\n", "3"),
    "value out of range": (b"data: {path: x}\nmodel: {width: -4}\n", "-4"),
    "list": (b"- 1\n", "config"),
    "number": (b"3\n", "config"),
    "sentence": (b"what a nice day\n", "config"),
    "nothing": (b"", "config"),
    "not YAML": (b"seed: [1\n", "config"),
    "not UTF-8": (b"run_dir: \xff\xfe\n", "utf-8"),
    "nested without end": (b"seed: " + b"[" * 1500, "config"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_config_from_a_stranger_is_refused_in_one_line_unless_it_is_plain_settings(case: str, tmp_path: Path) -> None:
    content, word = FOREIGN[case]
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as refusal:
        from_yaml(path)
    message = str(refusal.value)
    assert str(path) in message
    assert word in message
    assert "\n" not in message


def test_a_missing_config_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.yaml cannot be read"):
        from_yaml(tmp_path / "config.yaml")


def test_every_setting_of_a_run_is_saved(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(composed("train")))
    assert settings_in(yaml.safe_load((tmp_path / "config.yaml").read_text())) == settings_of(TrainConfig)
