"""Long documents with a tiny untrained model: what is read, in what order things are told, and what changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from summarizer.decoding.config import DecodingConfig, DecodingMethod, NgramUnit
from summarizer.decoding.generator import Generator, PartDraft, Summary
from summarizer.decoding.reading import LongDocument, longest_part_summary
from summarizer.decoding.share_read import loss_of, told_reading
from summarizer.errors import UserError
from summarizer.evaluation.utility import rouge_utility
from summarizer.model.config import TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.tokenizer import Tokenizer, TokenizerConfig

WORDS = "the storm closed every road near old harbour while crews worked through a long cold night".split()  # noqa: SIM905
SENTENCES = [" ".join(WORDS[first : first + 2 + first % 5]) + "." for first in range(10)]
SIZE = 60  # tokens of a window
# Of one window, of two, and of many; none like another.
DOCUMENTS = [" ".join(SENTENCES[i:]) + " " + " ".join(SENTENCES * (i % 4)) for i in range(8)]
SPLIT = LongDocument.split


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(DOCUMENTS, TokenizerConfig(vocab_size=310))


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(
        TransformerConfig(width=16, num_heads=2, encoder_layers=1, decoder_layers=1), tokenizer.vocab_size
    )
    with torch.no_grad():  # untrained weights are so small that every document would get one summary
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
    return model.double()


Make = Callable[..., Generator]


@pytest.fixture
def make(model: Transformer, tokenizer: Tokenizer) -> Make:
    def make(size: int = SIZE, **settings: object) -> Generator:
        return Generator(
            model,
            tokenizer,
            DecodingConfig(**{"beam_size": 2, "max_tokens": 10, **settings}),  # type: ignore[arg-type]
            max_source_tokens=size + 1,
            device=torch.device("cpu"),
            utility=rouge_utility(),
        )

    return make


def texts(summaries: Sequence[Summary]) -> list[str]:
    return [summary.text for summary in summaries]


def test_every_share_is_read(make: Make, tokenizer: Tokenizer) -> None:
    totals = [len(tokenizer.encode(document)) for document in DOCUMENTS]
    assert min(totals) <= SIZE < 3 * SIZE < max(totals)
    by_way = {way: make().generate(DOCUMENTS, long_document=way) for way in LongDocument}
    for truncated, lead, split, total in zip(*by_way.values(), totals, strict=True):
        assert truncated.tokens_total == lead.tokens_total == split.tokens_total == total
        assert truncated.tokens_read == min(total, SIZE)
        assert lead.tokens_read <= truncated.tokens_read
        assert lead.source[:-1] == truncated.source[: lead.tokens_read]
        assert lead.tokens_read == total or tokenizer.decode(lead.source).endswith(".")
        assert (split.tokens_read, split.share_read) == (total, 1.0)
        assert (split.parts > 1) == (total > SIZE)
        if total <= SIZE:
            assert truncated == lead == split


def test_the_last_search_reads_the_summaries_of_all_parts(make: Make, tokenizer: Tokenizer) -> None:
    last: dict[tuple[int, int, int], str] = {}  # (document, parts of the round, number) -> draft

    def watch(draft: PartDraft) -> None:
        last[draft.part.document, draft.part.of, draft.part.number] = draft.text
        assert len(draft.part.source) <= SIZE

    (found,) = zip(*make().n_best(DOCUMENTS, 1, long_document=SPLIT, on_part=watch), strict=True)
    rounds = 0
    for document, summary in enumerate(found):
        counts = sorted({of for which, of, _ in last if which == document})
        rounds = max(rounds, len(counts))
        assert summary.parts == max(counts, default=1)
        if counts:
            drafts = [last[document, counts[0], number] for number in range(counts[0])]
            assert tokenizer.decode(summary.source) == "\n".join(filter(None, drafts))
            assert len(summary.source) <= SIZE + 1
    assert rounds >= 2, "the longest document shall need a second round"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beam_size": 4, "beam_groups": 2, "min_tokens": 4},
        {"method": DecodingMethod.sample, "top_p": 0.9, "block_ngrams_of": NgramUnit.words},
        {"method": DecodingMethod.mbr, "num_samples": 3},
    ],
    ids=["beam", "groups", "sample", "mbr"],
)
def test_a_summary_depends_on_its_document_alone(make: Make, settings: dict[str, object]) -> None:
    together = texts(make(**settings).generate(DOCUMENTS, long_document=SPLIT))
    assert texts(make(**settings, max_batch_tokens=1).generate(DOCUMENTS, long_document=SPLIT)) == together
    assert texts(make(**settings).generate(DOCUMENTS[::-1], long_document=SPLIT))[::-1] == together
    assert texts(make(**settings).generate(DOCUMENTS[5:6], long_document=SPLIT)) == together[5:6]
    assert len(set(together)) > len(DOCUMENTS) // 2


def test_prefix_count_and_drafts_are_of_the_last_search(make: Make) -> None:
    parts: list[str] = []
    drafts: dict[int, list[str]] = {index: [] for index in range(len(DOCUMENTS))}
    found = make(max_tokens=14).n_best(
        DOCUMENTS,
        2,
        long_document=SPLIT,
        prefix="the storm",
        on_draft=lambda index, draft: drafts[index].append(draft.text),
        on_part=lambda draft: parts.append(draft.text),
    )
    assert not any(text.startswith("the storm") for text in parts[-5:])
    for index, summaries in enumerate(found):
        assert len(summaries) == 2
        assert drafts[index][-1] == summaries[0].text
        assert all(summary.text.startswith("the storm") for summary in summaries)


def test_summaries_of_parts_are_as_long_as_two_can_be_and_the_last_one_as_it_is_told(make: Make) -> None:
    lengths: list[int] = []
    generator = make(size=12, max_tokens=20, min_tokens=18)
    cap = longest_part_summary(12)
    search = generator.with_config

    def watched(config: DecodingConfig) -> Generator:
        lengths.append(config.max_tokens)
        assert config.min_tokens == cap - 1
        return search(config)

    generator.with_config = watched  # type: ignore[method-assign]
    summaries = generator.generate(DOCUMENTS[:4], long_document=SPLIT)
    assert set(lengths) == {cap}
    assert all(18 <= len(summary.target) <= 20 for summary in summaries)


def test_what_a_watcher_of_parts_raises_ends_the_search(make: Make) -> None:
    class EnoughSeenError(Exception): ...

    def stop(draft: PartDraft) -> None:
        raise EnoughSeenError

    with pytest.raises(EnoughSeenError):
        make().n_best(DOCUMENTS, 1, long_document=SPLIT, on_part=stop)


def test_what_cannot_be_is_refused_before_anything_is_summarized(make: Make) -> None:
    def never(draft: PartDraft) -> None:
        raise AssertionError

    with pytest.raises(UserError, match=r"decoding\.beam_size \(2\)"):
        make().n_best(DOCUMENTS, 3, long_document=SPLIT, on_part=never)
    with pytest.raises(UserError, match="reads 4 tokens or more, its end token counted, and this one reads 3"):
        make(size=2).n_best(DOCUMENTS, 1, long_document=SPLIT)
    with pytest.raises(UserError, match=r"long_document \(half\) must be one of truncate, lead, split"):
        LongDocument.of("half")
    assert make(size=3).generate(DOCUMENTS[:2], long_document=SPLIT)


# ---- What people are told -----------------------------------------------------------------------------------------


def summary(read: int, total: int, parts: int = 1) -> Summary:
    return Summary("", 0.0, 0.0, read, total, parts, [], [])


@pytest.mark.parametrize(
    ("summaries", "line", "loss"),
    [
        ([summary(7, 7)], "read all 7 tokens", None),
        ([summary(1500, 1500, 3)], "read all 1,500 tokens, in 3 parts", None),
        (
            [summary(319, 1276)],
            "read 319 of 1,276 tokens (25.0%)",
            "the model takes 319;",
        ),
        (
            [summary(100, 100), summary(100, 200), summary(100, 300)],
            "read 300 of 600 tokens (50.0%) of 3 texts",
            "2 are longer than the 100 it takes;",
        ),
        ([summary(5, 5), summary(90, 90, 2)], "read all 95 tokens of 2 texts, 1 of them in parts", None),
        ([summary(99_999, 100_000)], "read 99,999 of 100,000 tokens (99.9%)", "the model takes 99,999"),
    ],
)
def test_a_line_tells_what_was_read_and_another_what_was_lost(
    summaries: list[Summary], line: str, loss: str | None
) -> None:
    assert told_reading(summaries) == line
    warning = loss_of(summaries)
    assert (warning is None) == (loss is None)
    if warning is not None and loss is not None:
        assert warning.startswith(f"{line}, for {loss}")
        assert "long_document=split" in warning
