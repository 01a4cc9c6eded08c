"""Rules and penalties against plain Python."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.scores import TokenRules, best_attainable, block_repeated_ngrams, length_normalized
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
    before = uniform(1, len(rows))
    after = block_repeated_ngrams(before, history_tensor(rows), ngram_size, END)
    for beam, row in enumerate(rows):
        blocked = {int(token) for token in (after[0, beam] == -torch.inf).nonzero()}
        assert blocked == blocked_by_hand(row, ngram_size)
        assert torch.equal(after[0, beam, END], before[0, beam, END])


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
)
def test_no_continuation_exceeds_the_best_attainable_score(
    log_probability: float, drop: float, length: int, penalty: float
) -> None:
    now = torch.tensor(log_probability)
    assert length_normalized(now - drop, length, penalty) <= best_attainable(now, 20, penalty)


def test_length_penalty_favours_long_hypotheses_as_documented() -> None:
    short, long = torch.tensor(-2.0), torch.tensor(-3.0)
    assert length_normalized(short, 2, 0.0) > length_normalized(long, 6, 0.0)
    assert length_normalized(short, 2, 1.0) < length_normalized(long, 6, 1.0)
    assert length_normalized(long, 6, 1.0).item() == -0.5


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
