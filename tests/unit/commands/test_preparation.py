"""What was left out of the data, and what is odd in it, is told before training begins."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from summarizer.commands import preparation
from summarizer.commands.preparation import obtain_tokenizer, prepare
from summarizer.data.config import BadRowPolicy, DataConfig
from summarizer.data.sources import open_split
from summarizer.tokenizer import Tokenizer, TokenizerConfig


def test_the_report_counts_bad_rows_repeated_ids_and_summaries_that_shorten_nothing(tmp_path: Path) -> None:
    good = [{"id": str(number), "document": f"Some words, {number}.", "summary": "Words."} for number in range(9)]
    odd = [{"id": "3", "document": "The same.", "summary": "The same."}, {"document": "No summary.", "summary": None}]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, [*good, *odd])) + "\n{oops\n")
    (tmp_path / "validation.jsonl").write_text(json.dumps({"document": "Other words.", "summary": "Words."}))
    cache = str(tmp_path / "cache")
    data = DataConfig(path=str(tmp_path), cache_dir=cache, on_bad_row=BadRowPolicy.skip)
    for _ in ("encoded", "from the cache"):
        report = prepare(data, TokenizerConfig(vocab_size=285)).report
        assert "2 rows skipped (broken JSON: 1, summary is null: 1)" in report
        assert "warning: 1 rows of train repeat the id of another" in report
        assert "warning: 1 summaries of train are their documents" in report
        assert "of validation repeat" not in report


def test_all_that_make_a_tokenizer_at_once_take_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no locks nobody waits; and trainings of one model may differ, for unigram scores do."""
    rows = [{"document": f"Some words, {number}.", "summary": "Words."} for number in range(9)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    split = open_split(DataConfig(path=str(tmp_path)), "train")
    first = Tokenizer.train(["Other words."], TokenizerConfig(vocab_size=275))
    config, cache = TokenizerConfig(vocab_size=285), tmp_path / "cache"
    own = obtain_tokenizer(config, split, cache)
    (path,) = (cache / "tokenizers").iterdir()
    path.unlink()
    monkeypatch.setattr(preparation, "made_once", lambda path: nullcontext())
    train = Tokenizer.train

    def overtaken(*arguments: object) -> Tokenizer:
        path.write_bytes(first.to_bytes())  # by another process
        return train(*arguments)

    monkeypatch.setattr(Tokenizer, "train", overtaken)
    assert obtain_tokenizer(config, split, cache).fingerprint == first.fingerprint != own.fingerprint
