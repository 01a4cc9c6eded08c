"""Texts that cannot be learned or summarized cost one line that names them and the way out, status 2, and no file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.integration.conftest import Command, TrainedRun

ROW = {"id": "1", "document": "A document of some words.", "summary": "Some words."}
FILES = {
    "an empty split": (b"", ['"train"', "train.jsonl", "at least one usable row"]),
    "broken JSON": (json.dumps(ROW).encode() + b"\n{oops\n", ["train.jsonl:2", "JSON", "data.on_bad_row=skip"]),
    "an empty summary": (json.dumps({**ROW, "summary": " "}).encode(), ["train.jsonl:1", "summary is empty"]),
    "a null document": (json.dumps({**ROW, "document": None}).encode(), ["train.jsonl:1", "document is null"]),
    "a lone surrogate": (b'{"document": "\\ud800", "summary": "s"}', ["train.jsonl:1", "surrogate"]),
    "bytes that are not UTF-8": (b'{"document": "\xff", "summary": "s"}', ["train.jsonl:1", "UTF-8"]),
}


@pytest.mark.parametrize("case", FILES)
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(case: str, command: Command, tmp_path: Path) -> None:
    content, words = FILES[case]
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_bytes(content)
    (data / "validation.jsonl").write_text(json.dumps(ROW))
    outcome = command(
        "train",
        "experiment=smoke",
        "data=local",
        f"data.path={data}",
        f"data.cache_dir={tmp_path / 'cache'}",
        f"run_dir={tmp_path / 'run'}",
    )
    outcome.assert_refused(*words)
    assert not (tmp_path / "run").exists()


INPUTS = {
    "an empty text": (["text="], None, ["text holds no text", "give it some"]),
    "a text of white space": (["text=  "], None, ["text holds no text"]),
    "an empty standard input": ([], None, ["standard input holds no text"]),
    "a missing file": (["input=none.txt"], None, ["input (none.txt)", "check the path"]),
    "a text for a file": (["input=" + "Words. " * 99], None, ["input (Words. ", "must name a file", "text="]),
    "a short text for a file": (["input=Words of a text."], None, ["input (Words of a text.)", "text="]),
    "a folder without texts": (["input=."], None, ["input (.)", "without a .txt file"]),
    "a folder with an empty text": (["input=."], b" ", ["in.txt holds no text"]),
    "a file for the summaries of a folder": (
        ["input=.", "output=in.txt"],
        b"Words.",
        ["output (in.txt)", "must be a folder, or end in .jsonl"],
    ),
    "a folder over itself": (["input=.", "output=../work"], b"Words.", ["(../work)", "would be lost"]),
    "a text over itself": (["input=in.txt", "output=./in.txt"], b"Words.", ["(./in.txt)", "would be lost"]),
    "an empty file": (["input=in.txt"], b" \n", ["in.txt holds no text"]),
    "a file that is not UTF-8": (["input=in.txt"], b"caf\xe9", ["in.txt", "UTF-8", "byte 3", "convert"]),
    "an empty list": (["input=in.jsonl"], b"\n", ["in.jsonl", "holds no text"]),
    "an empty text in a list": (
        ["input=in.jsonl"],
        b'{"id": "a", "document": "Words."}\n{"id": "b", "document": ""}',
        ["b holds no text"],
    ),
    "a broken line": (["input=in.jsonl"], b'{"document": "Words."}\n{oops', ["in.jsonl:2", "JSON"]),
    "a missing key": (["input=in.jsonl"], b'{"text": "Words."}', ["in.jsonl:1", "document", "text", "column="]),
    "a line of brackets": (["input=in.jsonl"], b"[" * 100_000, ["in.jsonl:1", "JSON"]),
    "half a character": (["input=in.jsonl"], b'{"document": "half \\ud83d"}', ["in.jsonl:1", "surrogate", "document"]),
    "half a character in a name": (
        ["input=in.jsonl"],
        b'{"id": "\\ud83d", "document": "Words."}',
        ["in.jsonl:1", "surrogate", "id"],
    ),
    "two inputs": (["text=Words.", "input=in.txt"], b"Words.", ["text", "input (in.txt)", "leave one out"]),
    "an output that is a folder": (["text=Words.", "output=."], None, ["output (.)", "must be a file"]),
    "no summary at all": (["text=Words.", "n_best=0"], None, ["n_best (0)", "at least 1"]),
    "more summaries than beams": (["text=Words.", "n_best=99"], None, ["decoding.beam_size (", "(99)", "raise it"]),
    "a prefix without end": (["text=Words.", f"prefix={'so ' * 500}"], None, ["prefix (so so", "decoding.max_tokens"]),
    "attention in another form": (["text=Words.", "attention=a.gif"], None, ["attention (a.gif)", ".html or .png"]),
    "attention without a form": (["text=Words.", "attention=.html"], None, ["attention (.html)", ".html or .png"]),
    "attention into a folder": (["text=Words.", "attention=page.html"], None, ["attention (page.html)", "a folder"]),
    "attention over the output": (["text=Words.", "output=a.html", "attention=a.html"], None, ["a.html", "rename one"]),
    "one picture of two articles": (
        ["input=in.jsonl", "attention=a.png"],
        b'{"document": "Words."}\n{"document": "More."}',
        ["attention (a.png)", "at most 1 article and", "holds 2", "make it an .html file"],
    ),
    "a page of too many articles": (
        ["input=in.jsonl", "attention=a.html"],
        b'{"document": "Words."}\n' * 11,
        ["attention (a.html)", "at most 10 articles", "holds 11", "give it fewer"],
    ),
    "a summary that may not end": (
        ["text=Words.", "decoding.min_tokens=500"],
        None,
        ["decoding.min_tokens (500)", "decoding.max_tokens (32)"],
    ),
}


@pytest.mark.parametrize("case", INPUTS)
def test_a_text_that_cannot_be_summarized_is_refused(
    case: str, command: Command, tmp_path: Path, smoke: TrainedRun
) -> None:
    arguments, content, words = INPUTS[case]
    (tmp_path / "work" / "page.html").mkdir()
    for name in ("in.txt", "in.jsonl") if content is not None else ():
        (tmp_path / "work" / name).write_bytes(content or b"")
    outcome = command("generate", f"run={smoke.folder}", "output=out.txt", *arguments)
    outcome.assert_refused(*words)
    assert not (tmp_path / "work" / "out.txt").exists()
    assert not list((tmp_path / "work").glob("a.*"))
