"""Recorded steps against steps as they are, in whole searches over documents that end at different times."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from summarizer.decoding.beam import beam_search
from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.next_token import ModelNextToken
from summarizer.decoding.search import Hypothesis, NextToken, SpecialIds
from summarizer.decoding.static_next_token import Buckets, StaticNextToken, StaticSteps
from summarizer.model.cache import DecoderCache
from summarizer.model.config import PointerConfig, PositionKind
from summarizer.model.masks import length_mask
from summarizer.model.segments import segments_of
from summarizer.model.transformer import Transformer
from summarizer.tokenizer import END_ID, PAD_ID, START_ID, UNK_ID

MakeModel = Callable[..., Transformer]

LENGTHS = [90, 84, 70, 70, 33, 20, 12, 5, 2]
SEARCH = DecodingConfig(beam_size=4, max_tokens=40, min_tokens=3)
SMALL = Buckets(documents=2, source=64, target=16)
SPECIAL = SpecialIds(start=START_ID, end=END_ID, never=(PAD_ID, START_ID, UNK_ID))


def fresh_cache(model: Transformer, device: torch.device) -> DecoderCache:
    torch.manual_seed(3)
    source_BS = torch.randint(4, model.vocab_size, (len(LENGTHS), max(LENGTHS))).to(device)
    lengths_B = torch.tensor(LENGTHS, device=device)
    mask_BS = length_mask(lengths_B, max(LENGTHS))
    encoded_BSD = model.encode(source_BS, mask_BS, segments_of(lengths_B, max(LENGTHS)))
    return model.start_cache(source_BS, encoded_BSD, mask_BS, num_beams=SEARCH.beam_size, max_length=SEARCH.max_tokens)


def searched(next_token: NextToken, device: torch.device) -> list[Hypothesis]:
    """The best of each document, which may end when it likes."""
    found = beam_search(next_token, num_documents=len(LENGTHS), config=SEARCH, special=SPECIAL, device=device)
    return [hypotheses[0] for hypotheses in found]


def often_ending(model: Transformer) -> Transformer:
    """Large weights, so that documents differ; and an end that is near for some of them."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
    return model.eval()


MODELS: dict[str, dict[str, Any]] = {
    "sinusoidal": {},
    "rotary": {"positions": PositionKind.rotary},
    "relative_bias": {"positions": PositionKind.relative_bias},
    "learned": {"positions": PositionKind.learned},
    "pointer": {"pointer": PointerConfig(enabled=True)},
}


@torch.inference_mode()
@pytest.mark.parametrize("name", MODELS)
def test_recorded_steps_find_the_same_summaries(
    make_model: MakeModel, device: torch.device, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = often_ending(make_model(**MODELS[name]))
    plain = searched(ModelNextToken(model, fresh_cache(model, device)), device)
    with caplog.at_level(logging.WARNING, "summarizer"):
        steps = StaticSteps(model, SMALL)
        static = searched(StaticNextToken(steps, fresh_cache(model, device)), device)
        again = searched(StaticNextToken(steps, fresh_cache(model, device)), device)
    assert not caplog.records, "everything could be recorded"
    assert steps.made == len(steps._steps) >= 3  # the cache grew twice at least; what was made was used again
    assert again == static
    same = [one.ids == other.ids for one, other in zip(plain, static, strict=True)]
    assert sum(same) >= len(LENGTHS) - 1  # kernels of other shapes round otherwise, and near-ties fall the other way
    for one, other, is_same in zip(plain, static, same, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-3 if is_same else 0.1)


@torch.inference_mode()
@pytest.mark.parametrize("name", MODELS)
def test_recorded_steps_in_half_precision_are_as_close_to_float32_as_others(
    make_model: MakeModel, device: torch.device, name: str
) -> None:
    """Of given tokens, while beams change places and documents leave."""
    model = make_model(**MODELS[name]).eval()
    exact = ModelNextToken(model, fresh_cache(model, device))
    worst = {"plain": 0.0, "static": 0.0}
    alive = len(LENGTHS)
    with torch.autocast(device.type, dtype=torch.bfloat16):  # one for all: it keeps what recordings read
        plain = ModelNextToken(model, fresh_cache(model, device))
        static = StaticNextToken(StaticSteps(model, SMALL), fresh_cache(model, device))
        for step in range(SEARCH.max_tokens):
            token_BW = torch.randint(4, model.vocab_size, (alive, SEARCH.beam_size)).to(device)
            with torch.autocast(device.type, enabled=False):
                wanted = exact(token_BW, step)
            for kind, next_token in (("plain", plain), ("static", static)):
                error = float((next_token(token_BW, step).float() - wanted).abs().max())
                worst[kind] = max(worst[kind], error)
            kept = torch.randperm(alive)[: alive - (step % 7 == 6)].to(device)
            alive = len(kept)
            parent_BW = torch.randint(SEARCH.beam_size, (alive, SEARCH.beam_size)).to(device)
            for each in (exact, plain, static):
                each.keep(kept)
                each.reorder(parent_BW)
    assert 0 < worst["static"] <= 2 * worst["plain"]
