"""Rules and penalties against plain Python."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from summarizer.decoding.config import DecodingConfig, LengthNormalization, NgramUnit
from summarizer.decoding.scores import TokenRules, best_attainable, length_normalized
from summarizer.decoding.search import SpecialIds
from summarizer.errors import UserError

PAD, UNK, START, END = range(4)
VOCABULARY = 8
SPECIAL = SpecialIds(start=START, end=END, never=(PAD, UNK, START))
histories = st.integers(0, 12).flatmap(
    lambda length: st.lists(
        st.lists(st.integers(0, VOCABULARY - 1), min_size=length, max_size=length), min_size=1, max_size=4
    )
)


def blocked_by_hand(history: list[int], ngram_size: int) -> set[int]:
    seen = {tuple(history[i : i + ngram_size]) for i in range(len(history) - ngram_size + 1)}
    latest = tuple(history[len(history) - ngram_size + 1 :]) if len(history) >= ngram_size - 1 else None
    return {token for token in range(VOCABULARY) if token != END and latest is not None and (*latest, token) in seen}


def uniform(*shape: int) -> Tensor:
    return torch.zeros(*shape, VOCABULARY).log_softmax(-1)


def history_tensor(rows: list[list[int]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64).reshape(1, len(rows), -1)


@settings(max_examples=100, deadline=None)
@given(rows=histories, ngram_size=st.integers(1, 4))
def test_ngram_blocking_forbids_exactly_the_repetitions(rows: list[list[int]], ngram_size: int) -> None:
    for row, blocked in zip(rows, blocked_by_rules(rows, DecodingConfig(no_repeat_ngram_size=ngram_size)), strict=True):
        assert blocked == blocked_by_hand(row, ngram_size)


def blocked_by_rules(rows: list[list[int]], config: DecodingConfig) -> list[set[int]]:
    """Of each history, with a vocabulary that is never used up."""
    rules = TokenRules(config, SpecialIds(START, END, never=(), word_starts=STARTS), torch.device("cpu"))
    after = rules.log_probabilities(torch.zeros(1, len(rows), len(STARTS)), history_tensor(rows))
    assert (after[0, :, END] > -torch.inf).all()
    return [{int(token) for token in (row == -torch.inf).nonzero()} for row in after[0]]


# Tokens 0, 2, 4 and 6 begin words, and 3 is the end.
STARTS = [token % 2 == 0 for token in range(VOCABULARY)] + [True] * 20


def words_of(history: list[int]) -> list[tuple[int, ...]]:
    words: list[list[int]] = []
    for token in history:
        if STARTS[token] or not words:
            words.append([])
        words[-1].append(token)
    return [tuple(word) for word in words]


def words_blocked_by_hand(history: list[int], size: int) -> set[int]:
    """Tokens that would make the latest words the same as earlier ones, all of which are over by then."""
    blocked = set()
    for token in set(history) - {END}:
        now = words_of([*history, token])
        over = now[:-1]  # the newest might go on, and an n-gram that includes it is itself
        seen = {tuple(over[i : i + size]) for i in range(len(over) - size + 1)}
        if tuple(now[-size:]) in seen and len(now) >= size:
            blocked.add(token)
    return blocked


@settings(max_examples=300, deadline=None)
@given(rows=histories, size=st.integers(1, 3))
def test_blocking_by_words_forbids_exactly_the_last_piece_of_repeated_words(rows: list[list[int]], size: int) -> None:
    config = DecodingConfig(no_repeat_ngram_size=size, block_ngrams_of=NgramUnit.words)
    for row, blocked in zip(rows, blocked_by_rules(rows, config), strict=True):
        assert blocked == words_blocked_by_hand(row, size)


def test_by_words_two_numbers_may_end_alike() -> None:
    two_thousand, and_, five = [0, 1, 5, 5, 5], [2], [4, 1, 5, 5]
    history = [[*two_thousand, *and_, *five]]
    assert 5 in blocked_by_rules(history, DecodingConfig(no_repeat_ngram_size=3))[0]
    by_words = DecodingConfig(no_repeat_ngram_size=3, block_ngrams_of=NgramUnit.words)
    assert blocked_by_rules(history, by_words) == [set()]


def test_tokens_of_the_history_get_less_probable_by_the_repetition_penalty() -> None:
    logits = torch.randn(1, 2, VOCABULARY, generator=torch.Generator().manual_seed(0))
    rules = TokenRules(DecodingConfig(repetition_penalty=1.5, no_repeat_ngram_size=0), SPECIAL, torch.device("cpu"))
    result = rules.log_probabilities(logits, history_tensor([[4, 5, 4], [7, 7, 7]]))
    expected = logits.log_softmax(-1)
    expected[0, 0, [4, 5]] *= 1.5
    expected[0, 1, 7] *= 1.5
    torch.testing.assert_close(result[..., END:], expected[..., END:])


def test_a_hypothesis_that_could_only_repeat_itself_may_do_so() -> None:
    everything = [[4, 5, 6, 7], [4, 4, 4, 4]]
    config = DecodingConfig(min_tokens=10, max_tokens=20, no_repeat_ngram_size=1)
    rules = TokenRules(config, SPECIAL, torch.device("cpu"))
    result = rules.log_probabilities(torch.zeros(1, 2, VOCABULARY), history_tensor(everything))
    assert not result.isnan().any()
    assert (result[0, 0] > -torch.inf).tolist() == [False] * 4 + [True] * 4
    assert (result[0, 1] > -torch.inf).tolist() == [False] * 5 + [True] * 3


def test_special_ids_are_never_generated_and_the_end_not_before_min_tokens() -> None:
    config = DecodingConfig(min_tokens=2, max_tokens=20, no_repeat_ngram_size=0)
    rules = TokenRules(config, SPECIAL, torch.device("cpu"))
    for length in range(4):
        result = rules.log_probabilities(torch.zeros(1, 1, VOCABULARY), history_tensor([[4] * length]))
        allowed = (result[0, 0] > -torch.inf).tolist()
        assert allowed == [False] * 3 + [length >= 2] + [True] * 4


def test_rules_leave_the_models_probabilities_in_float32() -> None:
    logits = torch.randn(2, 3, VOCABULARY, dtype=torch.bfloat16)
    rules = TokenRules(DecodingConfig(no_repeat_ngram_size=0), SPECIAL, torch.device("cpu"))
    result = rules.log_probabilities(logits, torch.empty(2, 3, 0, dtype=torch.int64))
    assert result.dtype == torch.float32
    assert torch.equal(result[..., END:], logits.float().log_softmax(-1)[..., END:])


@given(
    log_probability=st.floats(-100, 0),
    drop=st.floats(0, 100),
    length=st.integers(1, 20),
    penalty=st.floats(0, 3),
    normalization=st.sampled_from(LengthNormalization),
)
def test_no_continuation_exceeds_the_best_attainable_score(
    log_probability: float, drop: float, length: int, penalty: float, normalization: LengthNormalization
) -> None:
    now = torch.tensor(log_probability)
    config = DecodingConfig(max_tokens=20, length_penalty=penalty, length_normalization=normalization)
    assert length_normalized(now - drop, length, config) <= best_attainable(now, config)


def test_length_normalizations_are_what_their_names_say() -> None:
    short, long = torch.tensor(-2.0), torch.tensor(-3.0)

    def by(name: str, penalty: float = 1.0) -> tuple[float, float]:
        config = DecodingConfig(length_normalization=LengthNormalization[name], length_penalty=penalty)
        return float(length_normalized(short, 2, config)), float(length_normalized(long, 6, config))

    assert by("average", 0.0) == by("none", 1.0) == by("wu", 0.0) == (-2.0, -3.0)
    assert by("average") == (-1.0, -0.5)
    assert by("wu") == pytest.approx((-2.0 * 6 / 7, -3.0 * 6 / 11))
    assert by("wu", 0.6) == pytest.approx((-2.0 * (6 / 7) ** 0.6, -3.0 * (6 / 11) ** 0.6))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("beam_size", 0),
        ("length_penalty", -0.1),
        ("length_penalty", float("nan")),
        ("min_tokens", -1),
        ("min_tokens", 128),
        ("max_tokens", 0),
        ("no_repeat_ngram_size", -1),
        ("temperature", 0.0),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("max_batch_tokens", 0),
        ("num_samples", 0),
        ("beam_groups", 3),
        ("diversity_penalty", -0.1),
        ("patience", 0.0),
        ("patience", 2.0),
        ("repetition_penalty", 0.0),
        ("min_p", 1.0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    config = DecodingConfig(**{field: value})
    with pytest.raises(UserError, match=rf"decoding\.{field} \({value}\)") as refused:
        config.validate()
    assert "\n" not in str(refused.value)


def test_temperature_zero_is_answered_with_greedy_search() -> None:
    with pytest.raises(UserError, match="decoding=greedy"):
        DecodingConfig(temperature=0.0).validate()
    DecodingConfig().validate()
