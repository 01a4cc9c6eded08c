"""Documents to summaries with a tiny untrained model: order, batching, truncation, refusals."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from operator import attrgetter

import pytest
import torch
from segment_loop import segment_loop

from summarizer.decoding.config import DecodingConfig, DecodingMethod, NgramUnit
from summarizer.decoding.generator import Generator, Summary
from summarizer.errors import UserError
from summarizer.evaluation.utility import rouge_utility
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
            utility=rouge_utility(),
        )

    return make


METHODS = pytest.mark.parametrize(
    "settings",
    [
        {"beam_size": 3},
        {"beam_size": 1},
        {"beam_size": 4, "beam_groups": 2, "repetition_penalty": 1.2},
        {"method": DecodingMethod.sample, "top_p": 0.9, "block_ngrams_of": NgramUnit.words},
        {"method": DecodingMethod.mbr, "num_samples": 4},
    ],
    ids=["beam", "greedy", "groups", "sample", "mbr"],
)


def texts(summaries: list[Summary]) -> list[str]:
    return [summary.text for summary in summaries]


@METHODS
def test_a_summary_depends_on_its_document_alone(make: Make, settings: dict[str, object]) -> None:
    together = texts(make(**settings).generate(DOCUMENTS))
    assert len(set(together)) > len(DOCUMENTS) // 2
    assert texts(make(**settings, max_batch_tokens=1).generate(DOCUMENTS)) == together
    assert texts(make(**settings, max_batch_tokens=250).generate(DOCUMENTS[::-1]))[::-1] == together


def test_documents_cut_to_segments_get_the_same_summaries(make: Make) -> None:
    masked = make().generate(DOCUMENTS)
    with segment_loop() as calls:
        assert texts(make().generate(DOCUMENTS)) == texts(masked)
    assert calls


def test_the_best_of_a_beam_are_its_hypotheses_best_first(make: Make, model: Transformer, tokenizer: Tokenizer) -> None:
    found = make(beam_size=4).n_best(DOCUMENTS, 3)
    assert texts([summaries[0] for summaries in found]) == texts(make(beam_size=4).generate(DOCUMENTS))
    for summaries in found:
        assert len({tuple(one.target) for one in summaries}) == 3
        assert summaries == sorted(summaries, key=lambda one: -one.score)
        for one in summaries:
            assert one.log_probability == pytest.approx(log_probability(model, one), rel=1e-4)
            assert one.score == pytest.approx(one.log_probability / len(one.target), rel=1e-4)


@torch.no_grad()
def log_probability(model: Transformer, summary: Summary) -> float:
    """By the whole model, without a cache."""
    source, target = torch.tensor([summary.source]), torch.tensor([summary.target])
    model.eval()
    inputs = torch.cat((torch.tensor([[2]]), target[:, :-1]), dim=1)
    output, copying = model(source, torch.ones_like(source).bool(), inputs)
    logits = model.project(output)
    if copying is not None:
        logits = mixed_log_probabilities(logits, copying, DistinctTokens.of(source))
    return float(logits.log_softmax(-1).gather(-1, target[..., None]).sum())


def test_samples_come_best_first_and_do_not_depend_on_their_batch(make: Make) -> None:
    settings = {"method": DecodingMethod.sample, "beam_size": 1}
    found = make(**settings).n_best(DOCUMENTS, 5)
    assert found == make(**settings).n_best(DOCUMENTS, 5)
    assert [
        list(map(attrgetter("text"), row)) for row in make(**settings, max_batch_tokens=1).n_best(DOCUMENTS, 5)
    ] == [list(map(attrgetter("text"), row)) for row in found]
    one_each = texts(make(**settings).generate(DOCUMENTS))
    for summaries, first in zip(found, one_each, strict=True):
        assert summaries == sorted(summaries, key=lambda one: -one.score)
        assert first in texts(summaries)
        assert len(set(texts(summaries))) > 1


@METHODS
def test_every_summary_begins_with_the_prefix(make: Make, settings: dict[str, object]) -> None:
    prefix = " ".join(WORDS[3:5])
    for summary in make(**settings, max_tokens=20).generate(DOCUMENTS, prefix=prefix):
        assert summary.text.startswith(prefix)
    assert texts(make(**settings).generate(DOCUMENTS, prefix="")) == texts(make(**settings).generate(DOCUMENTS))


@METHODS
def test_drafts_grow_into_the_summary(make: Make, settings: dict[str, object], tokenizer: Tokenizer) -> None:
    def decode(draft: Summary) -> str:
        return tokenizer.decode(draft.target)

    drafts: dict[int, list[Summary]] = {index: [] for index in range(len(DOCUMENTS))}
    generator = make(**settings, max_batch_tokens=200)
    found = generator.n_best(DOCUMENTS, 1, on_draft=lambda index, draft: drafts[index].append(draft))
    for index, (summary,) in enumerate(found):
        if settings.get("method") is not DecodingMethod.mbr:  # which shows its first sample, and may take another
            assert drafts[index][-1] == summary
        assert len(drafts[index][0].target) == 1
        assert len(drafts[index]) >= len(summary.target)
        assert all(draft.text == decode(draft) for draft in drafts[index])


def test_what_a_watcher_raises_ends_the_search(make: Make, model: Transformer) -> None:
    class EnoughSeenError(Exception): ...

    def stop(index: int, draft: Summary) -> None:
        raise EnoughSeenError

    model.train()
    with pytest.raises(EnoughSeenError):
        make().n_best(DOCUMENTS, 1, on_draft=stop)
    assert model.training


def test_more_than_the_beam_holds_or_the_summary_can_be_is_refused(make: Make) -> None:
    with pytest.raises(UserError, match=r"decoding\.beam_size \(3\)"):
        make().n_best(DOCUMENTS, 4)
    with pytest.raises(UserError, match=r"\(0\) must be at least 1"):
        make().n_best(DOCUMENTS, 0)
    with pytest.raises(UserError, match="prefix") as refused:
        make().generate(DOCUMENTS, prefix=SENTENCE)
    assert "max_tokens (12)" in str(refused.value)


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
    batches = list(make(max_batch_tokens=200)._batches(lengths, num_beams=3))
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
