"""The form has a field for every decoding setting there is, and the fields fit their settings."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from summarizer.config import with_overrides
from summarizer.decoding.config import DecodingConfig, DecodingMethod, LengthNormalization
from summarizer.demo.form import FIELDS, HIDDEN, fields_as_json, in_use
from summarizer.demo.requests import parse

BY_NAME = {field["name"]: field for field in fields_as_json()}
# What a field needs beside it to be of use.
WITH = {
    "diversity_penalty": {"beam_groups": 2},
    "patience": {"early_stop": True},
    "beam_groups": {"beam_size": 16},
    "min_tokens": {"max_tokens": 512},
    "seed": {},
}


def test_no_setting_is_forgotten() -> None:
    assert set(FIELDS) | HIDDEN == {field.name for field in fields(DecodingConfig)}
    assert next(iter(FIELDS)) == "method", "which the page builds the rest around"
    assert not HIDDEN & set(FIELDS)


def values_of(field: dict[str, Any]) -> list[Any]:
    """Its choices, or the bounds it gives."""
    if field["choices"] is not None:
        return [value for value, _ in field["choices"]]
    return [value for value in (field["min"], field["max"]) if value is not None]


@pytest.mark.parametrize("name", FIELDS)
def test_what_a_field_lets_through_the_server_takes(name: str) -> None:
    for value in values_of(BY_NAME[name]):
        decoding = {"beam_size": 16, **WITH.get(name, {}), name: value}
        request = parse(json.dumps({"text": "a", "decoding": decoding}).encode(), runs=1)
        with_overrides(DecodingConfig(), request.decoding)  # raises if it cannot be


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.unless is not None])
def test_a_field_disappears_with_a_value_that_its_partner_can_have(name: str) -> None:
    assert FIELDS[name].unless is not None
    partner, value = FIELDS[name].unless
    kind = type(getattr(DecodingConfig(), partner))
    assert value in ({member.name for member in kind} if isinstance(value, str) else {kind(value)})  # type: ignore[call-overload]
    assert set(FIELDS[name].methods) <= set(FIELDS[partner].methods), "it could not come back"


def test_every_method_has_its_fields_and_words() -> None:
    words = dict(BY_NAME["method"]["choices"])
    assert list(words) == [method.name for method in DecodingMethod]
    assert len(set(words.values())) == len(words)
    for method in DecodingMethod:
        others = [field for field in FIELDS.values() if method in field.methods != tuple(DecodingMethod)]
        assert others, f"{method} has nothing of its own to choose"


def test_settings_that_decide_nothing_are_not_in_use() -> None:
    beam = in_use(DecodingConfig())
    assert next(iter(beam.items())) == ("method", "beam")
    assert {"beam_size", "length_penalty", "early_stop"} < set(beam)
    assert not {"top_p", "num_samples", "seed", "patience", "diversity_penalty"} & set(beam)
    assert "patience" in in_use(DecodingConfig(early_stop=True))
    assert "block_ngrams_of" not in in_use(DecodingConfig(no_repeat_ngram_size=0))
    sample = in_use(DecodingConfig(method=DecodingMethod.sample, length_normalization=LengthNormalization.none))
    assert {"top_p", "seed"} < set(sample)
    assert not {"beam_size", "early_stop", "length_penalty"} & set(sample)
