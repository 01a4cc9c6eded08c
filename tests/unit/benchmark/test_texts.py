"""What scores and what encodes in a contest gives what its rival gives, and starts anew each time."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from summarizer.benchmark.contest import OURS
from summarizer.benchmark.reading import encoding_contest
from summarizer.benchmark.scoring import scoring_contest
from summarizer.data.config import DataConfig
from summarizer.data.example import Example
from summarizer.data.sources import open_split
from summarizer.evaluation import words
from summarizer.tokenizer import Tokenizer, TokenizerConfig

EXAMPLES = [Example(str(n), f"Storms hit town {n}. It rained. All slept.", f"storm hit town {n}") for n in range(40)]


def test_every_round_of_scoring_finds_the_stems_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stemmed: list[str] = []
    original = words.PorterStemmer.stem

    def counting(self: object, word: str, *arguments: object) -> str:
        stemmed.append(word)
        stem: str = original(self, word, *arguments)
        return stem

    monkeypatch.setattr(words.PorterStemmer, "stem", counting)
    contest = scoring_contest(EXAMPLES, processes=1, peers=False)
    (ours,) = contest.contenders
    run = ours.prepare()
    run()
    once = len(stemmed)
    run()
    assert len(stemmed) == 2 * once > 0


def test_both_sides_of_both_contests_run(tmp_path: Path) -> None:
    rows = [{"id": e.id, "document": e.document, "summary": e.summary} for e in EXAMPLES]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = DataConfig(path=str(tmp_path))
    tokenizer = Tokenizer.train([e.document for e in EXAMPLES], TokenizerConfig(vocab_size=290))
    encoding = encoding_contest(partial(open_split, config, "train"), config, tokenizer, peers=True)
    scoring = scoring_contest(EXAMPLES, processes=1, peers=True)
    assert scoring.amount == 40
    assert encoding.amount == pytest.approx(sum(len(e.document) + len(e.summary) for e in EXAMPLES) / 1e6)
    for contest in (encoding, scoring):
        assert contest.contenders[0].name == OURS
        assert len(contest.contenders) >= 2
        for contender in contest.contenders:
            contender.prepare()()
