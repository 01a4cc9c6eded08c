"""Static decoding against the plain one: the same numbers, in few shapes, in tensors that keep their places."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replaying import replaying
from torch import Tensor

from summarizer.decoding import model_search
from summarizer.decoding.config import DecodingConfig, DecodingMethod
from summarizer.decoding.generator import Generator
from summarizer.decoding.next_token import ModelNextToken
from summarizer.decoding.static_next_token import Buckets, StaticNextToken, StaticStep, StaticSteps
from summarizer.model.cache import DecoderCache
from summarizer.model.config import AttentionConfig, AttentionSites, PointerConfig, PositionKind, ScoreKind
from summarizer.model.masks import length_mask
from summarizer.model.positions import sinusoids
from summarizer.model.transformer import Transformer
from summarizer.tokenizer import Tokenizer, TokenizerConfig

MakeModel = Callable[..., Transformer]
VOCABULARY = 11
SMALL = Buckets(documents=1, source=4, target=2)


def at_all_sites(score: ScoreKind, **sizes: int) -> dict[str, Any]:
    sites = {name: AttentionConfig(score=score, **sizes) for name in ("encoder_self", "decoder_self", "cross")}
    return {"attention": AttentionSites(**sites)}


MODELS: dict[str, dict[str, Any]] = {
    **{kind.value: {"positions": kind, "max_positions": 9} for kind in PositionKind},
    "general": at_all_sites(ScoreKind.general),
    "additive": at_all_sites(ScoreKind.additive, key_dim=3, value_dim=5),
    "shared keys": at_all_sites(ScoreKind.dot, kv_heads=1),
    "pointer": {"pointer": PointerConfig(enabled=True)},
    "pointer, alibi": {"pointer": PointerConfig(enabled=True), "positions": PositionKind.alibi},
}


class Pair:
    """One search, in both ways."""

    def __init__(
        self, model: Transformer, lengths: Sequence[int], beams: int, steps: StaticSteps, longest: int
    ) -> None:
        self.static = StaticNextToken(steps, self._cache(model, lengths, beams, longest), **self._charge(model))
        self.plain = ModelNextToken(model, self._cache(model, lengths, beams, longest), **self._charge(model))
        self.documents, self.beams, self.step = len(lengths), beams, 0

    @staticmethod
    def _cache(model: Transformer, lengths: Sequence[int], beams: int, longest: int) -> DecoderCache:
        lengths_B = torch.tensor(lengths)
        source_BS = torch.randint(VOCABULARY, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(3))
        mask_BS = length_mask(lengths_B, max(lengths))
        encoded_BSD = model.encode(source_BS, mask_BS)
        return model.start_cache(source_BS, encoded_BSD, mask_BS, num_beams=beams, max_length=longest)

    @staticmethod
    def _charge(model: Transformer) -> dict[str, float]:
        return {"coverage_penalty": 0.5} if model.pointer is not None else {}

    def check(self, token_BW: Tensor) -> None:
        found, expected = (either(token_BW, self.step) for either in (self.static, self.plain))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(self.static.penalty(), self.plain.penalty(), rtol=1e-10, atol=1e-10)
        self.step += 1

    def reorder(self, parent_BW: Tensor) -> None:
        self.static.reorder(parent_BW)
        self.plain.reorder(parent_BW)

    def keep(self, documents_B: Tensor) -> None:
        self.static.keep(documents_B)
        self.plain.keep(documents_B)
        self.documents = len(documents_B)


def tokens(pair: Pair) -> Tensor:
    return torch.randint(VOCABULARY, (pair.documents, pair.beams))


@torch.inference_mode()
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_decodes_as_it_does_plainly(tiny_model: MakeModel, name: str) -> None:
    model = tiny_model(**MODELS[name])
    steps = StaticSteps(model, SMALL, record=replaying)
    for lengths, beams in (((9, 5, 5, 1, 3), 3), ((8, 7), 3), ((4, 2, 1), 1)):  # later ones find what others left
        pair = Pair(model, lengths, beams, steps, longest=9)
        leaving = {2: [0, 2, 3, 4], 5: [3, 1], 7: [0]}
        for step in range(9):
            pair.check(tokens(pair))
            if step in leaving:
                pair.keep(torch.tensor([row for row in leaving[step] if row < pair.documents] or [0]))
            pair.reorder(torch.randint(beams, (pair.documents, beams)))


@torch.inference_mode()
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])  # it makes anew each time
@given(data=st.data())
def test_any_reordering_and_leaving_is_followed(tiny_model: MakeModel, data: st.DataObject) -> None:
    model = tiny_model(decoder_layers=1, positions=PositionKind.learned, max_positions=40)
    buckets = Buckets(*(data.draw(st.integers(1, 5), name) for name in ("documents", "source", "target")))
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=5), "lengths")
    longest = data.draw(st.integers(1, 12), "longest")
    steps = StaticSteps(model, buckets, record=replaying)
    pair = Pair(model, lengths, data.draw(st.integers(1, 3), "beams"), steps, longest)
    for _ in range(longest):
        pair.check(tokens(pair))
        if data.draw(st.booleans(), "leave"):
            order = data.draw(st.permutations(range(pair.documents)), "order")
            pair.keep(torch.tensor(order[: data.draw(st.integers(1, pair.documents), "kept")]))
        if data.draw(st.booleans(), "reorder"):
            pair.reorder(torch.randint(pair.beams, (pair.documents, pair.beams)))


@torch.inference_mode()
@pytest.mark.parametrize("name", MODELS)
def test_a_step_asks_its_device_nothing_and_brings_nothing_from_another(tiny_model: MakeModel, name: str) -> None:
    """On a device without data there is no answer, and tensors that were made on the CPU do not mix with its own."""
    model = tiny_model(**MODELS[name]).to("meta")
    source_BS = torch.zeros(3, 6, dtype=torch.int64, device="meta")
    mask_BS = torch.ones(3, 6, dtype=torch.bool, device="meta")
    fresh = model.start_cache(source_BS, model.encode(source_BS, mask_BS), mask_BS, num_beams=2, max_length=5)
    next_token = StaticNextToken(StaticSteps(model, SMALL), fresh)
    token_BW = torch.zeros(3, 2, dtype=torch.int64, device="meta")
    for step in range(5):  # the cache grows twice
        assert next_token(token_BW, step).shape == (3, 2, VOCABULARY)
        next_token.reorder(token_BW)
    next_token.keep(torch.zeros(1, dtype=torch.int64, device="meta"))
    assert next_token._step.cache.shape.documents == 1


@torch.inference_mode()
def test_what_is_not_finite_stays_with_its_document(tiny_model: MakeModel) -> None:
    """Hidden keys and values are multiplied by zero, which makes NaN of infinity."""
    model = tiny_model()
    steps = StaticSteps(model, Buckets(documents=4, source=8, target=8), record=replaying)
    pair = Pair(model, (7, 6, 5), 2, steps, longest=8)
    broken = pair.static._step.cache
    for layer in broken.layers:
        for tensor in (layer.self_key_BGTWK, layer.self_value_BGTWU, *layer.cross):
            tensor.fill_(torch.inf)
    following = Pair(model, (3, 2), 2, steps, longest=8)
    assert following.static._step.cache is broken
    for _ in range(3):
        following.check(tokens(following))
    kept = following.static._step.cache
    following.keep(torch.tensor([1]))
    assert following.static._step.cache is kept  # four rows are the fewest there are
    following.check(tokens(following))


@torch.inference_mode()
def test_a_position_beyond_the_longest_summary_is_refused(tiny_model: MakeModel) -> None:
    model = tiny_model()
    pair = Pair(model, (3,), 1, StaticSteps(model), longest=2)
    pair.check(tokens(pair))
    pair.check(tokens(pair))
    with pytest.raises(AssertionError, match="3 positions in a cache made for 2"):
        pair.static(tokens(pair), 2)


@torch.inference_mode()
def test_a_table_of_positions_is_long_enough_before_the_first_step(tiny_model: MakeModel) -> None:
    model = tiny_model()
    model.positions.table_SD = sinusoids(2, model.config.width).double()
    pair = Pair(model, (3, 2), 2, StaticSteps(model, SMALL), longest=9)
    assert len(model.positions.table_SD) >= 9
    for _ in range(9):
        pair.check(tokens(pair))


@torch.inference_mode()
def test_steps_of_the_source_length_at_hand_are_kept_and_no_others(tiny_model: MakeModel) -> None:
    model = tiny_model()
    steps = StaticSteps(model, SMALL)
    fresh = Pair._cache(model, (3,), 2, longest=4)

    def step_of(source: int, documents: int) -> StaticStep:
        return steps.of(SMALL.shape(documents=documents, beams=2, source=source, target=1), fresh)

    four, two = step_of(7, 4), step_of(7, 2)
    assert step_of(8, 3) is four
    assert step_of(5, 2) is two
    assert steps.made == 2
    shorter = step_of(4, 4)
    assert shorter is not four
    assert step_of(4, 4) is shorter
    assert step_of(7, 4) is not four
    assert steps.made == 4


# Whole searches


SENTENCE = "the storm closed every road near old harbour while crews worked through a long cold night"
WORDS = SENTENCE.split()
DOCUMENTS = [" ".join((WORDS[i % 7 :: 1 + i % 3] * 30)[: 5 + 11 * i]) for i in range(12)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(DOCUMENTS, TokenizerConfig(vocab_size=300))


def make_generator(
    tokenizer: Tokenizer, tiny_model: MakeModel, *, static: bool, settings: dict[str, Any], changes: dict[str, Any]
) -> Generator:
    model = tiny_model(**changes)
    torch.manual_seed(1)
    wide = Transformer(model.config, tokenizer.vocab_size).double().eval()
    with torch.no_grad():  # untrained weights are so small that every document would get one summary
        for parameter in wide.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
    config = DecodingConfig(**{"beam_size": 3, "max_tokens": 24, "max_batch_tokens": 900, **settings})
    return Generator(wide, tokenizer, config, max_source_tokens=200, device=torch.device("cpu"), static=static)


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({}, {}),
        ({"beam_size": 1}, {"positions": PositionKind.rotary}),
        ({"coverage_penalty": 1.0}, {"pointer": PointerConfig(enabled=True)}),
        ({"beam_size": 4, "beam_groups": 2}, {"positions": PositionKind.relative_bias}),
        ({"method": DecodingMethod.sample}, at_all_sites(ScoreKind.additive)),
    ],
    ids=["beam", "greedy", "coverage", "groups", "sample"],
)
def test_summaries_are_the_same(
    tokenizer: Tokenizer,
    tiny_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    changes: dict[str, Any],
) -> None:
    make = functools.partial(make_generator, tokenizer, tiny_model, settings=settings, changes=changes)
    plain = make(static=False).generate(DOCUMENTS)
    assert len({summary.text for summary in plain}) > 6
    made: list[StaticSteps] = []

    def steps_of(model: Transformer) -> StaticSteps:
        made.append(StaticSteps(model, Buckets(documents=2, source=16, target=8), record=replaying))
        return made[-1]

    monkeypatch.setattr(model_search, "StaticSteps", steps_of)
    static = make(static=True).generate(DOCUMENTS)
    assert [summary.target for summary in static] == [summary.target for summary in plain]
    assert [summary.score for summary in static] == pytest.approx([summary.score for summary in plain], rel=1e-6)
    assert made[0].made > 4


def test_many_articles_ask_for_few_shapes(tiny_model: MakeModel) -> None:
    """3,000 articles of up to 1,024 tokens, in batches as a generator makes them, each left by one document a step."""
    buckets, beams, longest = Buckets(), 4, 128
    lengths = torch.randint(60, 1024, (3000,), generator=torch.Generator().manual_seed(0)).sort(descending=True).values
    families: dict[int, set[Any]] = {}
    start = 0
    while start < len(lengths):
        size = 32768 // (int(lengths[start]) + beams * longest)
        for left in range(min(size, len(lengths) - start), 0, -1):
            shape = buckets.shape(documents=left, beams=beams, source=int(lengths[start]), target=1)
            families.setdefault(shape.source, set()).add(shape)
            assert left <= shape.documents < max(5, 2 * left)
            assert 0 <= shape.source - int(lengths[start]) < 128
        start += size
    assert len(families) <= 8  # of source lengths
    assert max(map(len, families.values())) <= 6  # kept at one time
    assert sum(map(len, families.values())) <= 40  # recorded at all
