"""Documents to summaries with a tiny untrained model: order, batching, truncation, refusals."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
import torch

from summarizer.decoding.generator import Generator, Summary
from summarizer.decoding.search import DecodingConfig, DecodingMethod
from summarizer.errors import UserError
from summarizer.model.config import PointerConfig, TransformerConfig
from summarizer.model.pointer import DistinctTokens, mixed_log_probabilities
from summarizer.model.transformer import Transformer
from summarizer.tokenizer import Tokenizer, TokenizerConfig

SENTENCE = "the storm closed every road near old harbour while crews worked through a long cold night"
WORDS = SENTENCE.split()
DOCUMENTS = [" ".join(WORDS[i % 7 :: 1 + i % 3] * (1 + i % 4)) for i in range(7)]
MAX_SOURCE_TOKENS = 48


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(DOCUMENTS, TokenizerConfig(vocab_size=300))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "pointer"])
def model(tokenizer: Tokenizer, request: pytest.FixtureRequest) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(
        width=16,
        num_heads=2,
        encoder_layers=1,
        decoder_layers=2,
        dropout=0.5,
        pointer=PointerConfig(enabled=request.param),
    )
    model = Transformer(config, tokenizer.vocab_size)
    with torch.no_grad():  # untrained weights are so small that every document would get one summary
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
    return model.double()


Make = Callable[..., Generator]


@pytest.fixture
def make(model: Transformer, tokenizer: Tokenizer) -> Make:
    def make(autocast: Callable[[], AbstractContextManager[object]] = nullcontext, **settings: object) -> Generator:
        return Generator(
            model,
            tokenizer,
            DecodingConfig(**{"beam_size": 3, "max_tokens": 12, **settings}),  # type: ignore[arg-type]
            max_source_tokens=MAX_SOURCE_TOKENS,
            device=torch.device("cpu"),
            autocast=autocast,
        )

    return make


METHODS = pytest.mark.parametrize(
    "settings",
    [{"beam_size": 3}, {"beam_size": 1}, {"method": DecodingMethod.sample, "top_p": 0.9}],
    ids=["beam", "greedy", "sample"],
)


def texts(summaries: list[Summary]) -> list[str]:
    return [summary.text for summary in summaries]


@METHODS
def test_a_summary_depends_on_its_document_alone(make: Make, settings: dict[str, object]) -> None:
    together = texts(make(**settings).generate(DOCUMENTS))
    assert len(set(together)) > len(DOCUMENTS) // 2
    assert texts(make(**settings, max_batch_tokens=1).generate(DOCUMENTS)) == together
    assert texts(make(**settings, max_batch_tokens=250).generate(DOCUMENTS[::-1]))[::-1] == together


def test_another_seed_gives_another_sample(make: Make) -> None:
    one, other = (texts(make(method=DecodingMethod.sample, seed=seed).generate(DOCUMENTS)) for seed in (1, 2))
    assert one != other


def test_greedy_search_with_the_cache_takes_the_best_token_of_the_whole_model(
    make: Make, model: Transformer, tokenizer: Tokenizer
) -> None:
    summary = make(beam_size=1, no_repeat_ngram_size=0).generate(DOCUMENTS[:1])[0]
    source = torch.tensor([[*tokenizer.encode(DOCUMENTS[0])[: MAX_SOURCE_TOKENS - 1], 3]])
    ids = [2]
    model.eval()
    while len(ids) <= 12:
        output, copying = model(source, torch.ones_like(source).bool(), torch.tensor([ids]))
        logits = model.project(output)
        if copying is not None:
            logits = mixed_log_probabilities(logits, copying, DistinctTokens.of(source))
        logits = logits[0, -1]
        logits[:3] = -torch.inf
        ids.append(int(logits.argmax()))
        if ids[-1] == 3:
            break
    assert summary.text == tokenizer.decode(ids)


def test_a_long_document_is_read_as_far_as_the_model_reads(make: Make, tokenizer: Tokenizer) -> None:
    long, short = " ".join(WORDS * 20), "the storm"
    summaries = make().generate([short, long])
    total = len(tokenizer.encode(long))
    assert (summaries[1].tokens_read, summaries[1].tokens_total) == (MAX_SOURCE_TOKENS - 1, total)
    assert summaries[0].tokens_read == summaries[0].tokens_total == len(tokenizer.encode(short))
    assert texts(make().generate([long + " and nobody reads this"])) == [summaries[1].text]


@METHODS
def test_what_was_read_and_written_is_told_token_by_token(
    make: Make, tokenizer: Tokenizer, settings: dict[str, object]
) -> None:
    for max_tokens in (2, 12):
        for document, summary in zip(
            DOCUMENTS, make(**settings, max_tokens=max_tokens).generate(DOCUMENTS), strict=True
        ):
            assert summary.source == [*tokenizer.encode(document)[: MAX_SOURCE_TOKENS - 1], 3]
            assert tokenizer.decode(summary.target) == summary.text
            assert len(summary.target) <= max_tokens
            assert 3 not in summary.target[:-1]
            assert summary.target[-1] == 3 or len(summary.target) == max_tokens


@pytest.mark.parametrize("empty", ["", "  ", " \n\t\n"])
def test_a_document_without_text_is_refused_by_its_number(make: Make, empty: str) -> None:
    with pytest.raises(UserError, match="document 2 of 3 ") as refused:
        make().generate(["the storm", empty, "the harbour"])
    assert "\n" not in str(refused.value)


def test_nothing_to_summarize_gives_nothing(make: Make) -> None:
    assert make().generate([]) == []


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_the_mode_it_was_in(make: Make, model: Transformer, training: bool) -> None:
    model.train(training)
    once, again = (texts(make().generate(DOCUMENTS[:3])) for _ in range(2))
    assert once == again, "dropout was on"
    assert all(module.training == training for module in model.modules())


def test_the_model_computes_inside_the_given_autocast_context(make: Make, model: Transformer) -> None:
    events: list[str] = []

    @contextmanager
    def autocast() -> Iterator[None]:
        events.append("enter")
        yield
        events.append("leave")

    handle = model.decoder_norm.register_forward_hook(lambda *_: events.append("decode"))
    make(autocast=autocast).generate(DOCUMENTS[:2])
    handle.remove()
    assert (events[0], events[-1]) == ("enter", "leave")
    assert set(events[1:-1]) == {"decode"}


def test_batches_stay_within_the_token_budget(make: Make) -> None:
    lengths = [40, 3, 17, 17, 5, 40, 1]
    batches = list(make(max_batch_tokens=200)._batches(lengths))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert len(batches) < len(lengths)
    for batch in batches:
        positions = len(batch) * (max(lengths[index] for index in batch) + 3 * 12)
        assert positions <= 200 or len(batch) == 1


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_goes_to_standard_error_if_somebody_watches(
    make: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    make().generate(DOCUMENTS[:2], progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("2/2" in shown.err) == is_terminal
