"""Whatever bytes a data file holds: examples, one line that names file and line, or a count. Nothing else, and soon."""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from summarizer.data.config import BadRowPolicy, DataConfig
from summarizer.data.example import Example
from summarizer.data.sources import Split, open_split
from summarizer.errors import UserError
from summarizer.tokenizer import Tokenizer, TokenizerConfig, normalize

JSON_PIECES = [
    b'{"document": "',
    b'"d"',
    b'", "summary": "',
    b'"}',
    b"\n",
    b"\r\n",
    b"null",
    b"[",
    b"{",
    b"1e999",
    b"\\ud800",
]
CSV_PIECES = [
    b"document,summary\n",
    b"a,b\n",
    b'"',
    b",",
    b"\n",
    b"\r",
    b"\x00",
    b"NA",
    b"\xff",
    b"id,document,summary\r\n",
]
RAW = [b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xff\xfe", "\u2028".encode(), "שלום 😀".encode(), b" ", b"\t"]


WORDS_AND_LINES = [*RAW, b"words", b"\n"]


def soup(pieces: list[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes that come near to being a file of this kind, and bytes that do not."""
    return st.lists(st.one_of(st.sampled_from([*pieces, *RAW]), st.binary(max_size=8)), max_size=25).map(b"".join)


def opened(folder: Path, policy: BadRowPolicy) -> Split:
    return open_split(DataConfig(path=str(folder), on_bad_row=policy), "train")


def check(files: dict[str, bytes]) -> None:
    """The property, with either policy."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        for policy in BadRowPolicy:
            split = opened(folder, policy)
            try:
                examples = list(split)
            except UserError as error:
                assert_names_the_place(str(error), folder, policy)
            else:
                assert all(is_sound(each) for each in examples)
                assert len(examples) + split.report.rows_skipped == split.report.rows_read
                assert sum(split.report.reasons.values()) == split.report.rows_skipped
                assert policy is BadRowPolicy.skip or not split.report.rows_skipped


def is_sound(found: Example) -> bool:
    return all(text.strip() and text.encode("utf-8") for text in (found.document, found.summary, found.id))


WHOLE_FILE = ("at least one usable row", "cannot be read", "no column", "more than one column")


def assert_names_the_place(message: str, folder: Path, policy: BadRowPolicy) -> None:
    assert message.isprintable(), message
    assert len(message) < 2000
    assert str(folder) in message
    is_of_a_row = re.search(r"train\.\w+:\d+: ", message) is not None
    assert is_of_a_row or any(words in message for words in WHOLE_FILE), message
    if policy is BadRowPolicy.skip:  # what is left is the matter of a file, not of a row
        assert not is_of_a_row or "quote is opened" in message or ":1: " in message, message
        assert "data.on_bad_row=skip" not in message


@given(soup(JSON_PIECES))
@example(b'{"document": "a", "summary": "b"}\n{"docu')
@example(b'{"a\\nb": 1, "\\ud800": 2}')
@example(b'{"document": "a", "summary": "b", "id": {"x": []}}')
@example(b'{"document": "' + b"\\u0000" + b'", "summary": "b"}')
@example(b"9" * 5000)
@example(b"[" * 3000)
@example(b'{"document": "a", "summary": "b", "id": "\\ud800"}')
def test_any_bytes_as_jsonl(content: bytes) -> None:
    check({"train.jsonl": content})


@given(soup(CSV_PIECES))
@example(b'document,summary\n"a,b\n')
@example(b'document,summary\na,b\n"c"d,e\nf,g\n')
@example(b'"document\n')
@example(b'"docu"ment,summary\na,b\n')
@example(b"document,summary\n\x00,\x00\n")
@example("document,summary\na,b\u2028c\n".encode("utf-16"))
@example(b'"a\nb",summary\n1,2\n')
def test_any_bytes_as_csv(content: bytes) -> None:
    check({"train.csv": content})


@given(soup(WORDS_AND_LINES), soup(WORDS_AND_LINES))
@example(b"a\nb\n", b"a\n")
@example(b"", b"")
@example(b"a\r\n\r\n", b"\xef\xbb\xbfb\r\n\r\n")
def test_any_bytes_as_a_pair_of_texts(documents: bytes, summaries: bytes) -> None:
    check({"train.source": documents, "train.target": summaries})


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_any_bytes_as_gzip_and_as_parquet(content: bytes) -> None:
    check({"train.jsonl.gz": content})
    check({"train.parquet": content})


TEXT = st.text(st.characters(exclude_categories=()), max_size=30)  # surrogates too
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(st.dictionaries(st.sampled_from(["document", "summary", "id", "x"]) | TEXT, VALUE, max_size=4), max_size=5)
)
def test_any_json_values_as_rows(rows: list[dict[str, Any]]) -> None:
    check({"train.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()})


SOUND = ["a", "b", "c"]
COLUMNS: dict[str, tuple[Any, dict[str, int]]] = {
    "numbers": (pa.array([1, 2, 3]), {"document is not text but int": 3}),
    "bytes": (pa.array([b"a", b"\xff", None]), {"document is not text but bytes": 2, "document is null": 1}),
    "nulls": (pa.nulls(3), {"document is null": 3}),
    "lists": (pa.array([["a"], [], None]), {"document is not text but list": 2, "document is null": 1}),
    "nested": (pa.array([{"x": {"y": "a"}}] * 3), {"document is not text but dict": 3}),
    "dates beyond the calendar": (pa.array([2**60, 0, 1], pa.timestamp("ms")), {"a value": 1, "document is not": 2}),
    "words of a dictionary": (pa.array(SOUND).dictionary_encode(), {}),
    "large texts": (pa.array(SOUND, pa.large_string()), {}),
    "views": (pa.array(["", " ", "\u2003"]), {"document is empty": 3}),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_parquet_columns_of_every_type_are_texts_or_counted(case: str, tmp_path: Path) -> None:
    column, reasons = COLUMNS[case]
    table = pa.table({"document": column, "summary": SOUND})
    pq.write_table(table, tmp_path / "train.parquet")
    split = opened(tmp_path, BadRowPolicy.skip)
    if sum(reasons.values()) == 3:
        with pytest.raises(UserError, match="at least one usable row"):
            list(split)
    else:
        assert len(list(split)) == 3 - split.report.rows_skipped
    for reason, count in reasons.items():
        assert sum(n for name, n in split.report.reasons.items() if name.startswith(reason)) == count
    if split.report.rows_skipped:
        with pytest.raises(UserError, match=r"train\.parquet:1: .*data\.on_bad_row=skip"):
            list(opened(tmp_path, BadRowPolicy.error))


def test_names_of_columns_never_make_an_endless_message(tmp_path: Path) -> None:
    row = {f"column\n{number} " + "x" * 10_000: 1 for number in range(1000)}
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError) as error:
        list(opened(tmp_path, BadRowPolicy.error))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 2000


SOUND_TEXTS = {
    "right to left": "הפארק נפתח ביום שני \u200fבשעה 9\u200e.",
    "emoji": "👩‍👩‍👧‍👦 went to 🇫🇷 🏳️‍🌈",
    "NUL": "a\x00b",
    "the text NA": "NA",
    "combining marks": "Z" + "\u0301" * 200,
    "not a character": "a\ufffe\uffffb",
    "the piece for a newline": "a\ue00ab",
}


@pytest.mark.parametrize("case", SOUND_TEXTS)
def test_odd_but_sound_text_arrives_whole(case: str, tmp_path: Path) -> None:
    text = SOUND_TEXTS[case]
    (tmp_path / "train.jsonl").write_text(json.dumps({"document": text, "summary": text, "id": text}))
    assert list(opened(tmp_path, BadRowPolicy.error)) == [Example(text, text, text)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train.jsonl", "train.csv", "train.source"])
def test_a_line_of_50_megabytes_is_an_example_and_so_are_its_neighbours(name: str, tmp_path: Path) -> None:
    long = "word " * 10_000_000
    lines = {
        "train.jsonl": [f'{{"document": "{text}", "summary": "s"}}' for text in ("a", long, "b")],
        "train.csv": ["document,summary", "a,s", f"{long},s", "b,s"],
        "train.source": ["a", long, "b"],
    }
    (tmp_path / name).write_text("\n".join(lines[name]))
    (tmp_path / "train.target").write_text("s\ns\ns") if name == "train.source" else None
    start = time.process_time()
    assert [len(found.document) for found in opened(tmp_path, BadRowPolicy.error)] == [1, len(long) - 1, 1]
    assert time.process_time() - start < 20  # seconds; it takes one


TOKENIZER = Tokenizer.train(["some words of a sort, 1984", "abide a while"] * 20, TokenizerConfig(vocab_size=285))
WORDS = {
    "one letter": "a" * 10**6,
    "two letters": "ab" * 500_000,
    "no letter the model knows": "北" * 300_000,
    "NUL": "\x00" * 10**6,
    "lone surrogates": "\ud83d" * 300_000,
    "combining marks": "a" + "\u0301" * 500_000,
    "digits": "9" * 10**6,
}


@pytest.mark.slow
@pytest.mark.parametrize("case", WORDS)
def test_a_word_of_a_million_characters_takes_seconds_and_survives(case: str) -> None:
    start = time.process_time()
    ids = TOKENIZER.encode(WORDS[case])
    assert TOKENIZER.decode(ids) == normalize(WORDS[case])
    assert time.process_time() - start < 60  # it takes three; a square of a million would take hours
