"""Files of other people's predictions: matched to their references, or refused with the line that is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from summarizer.errors import UserError
from summarizer.evaluation.cases import Case, cases_of, in_order_of, named_apart, read_predictions, read_references

CASES = [Case("a", "", ("one",)), Case("b", "", ("two",)), Case("c", "", ("three",))]


def written(path: Path, *rows: Any) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def predictions(path: Path, *rows: Any, may_be_empty: bool = False) -> list[Any]:
    return list(read_predictions(written(path, *rows), may_be_empty=may_be_empty))


def test_a_line_may_hold_everything(tmp_path: Path) -> None:
    row = {"id": 7, "document": "d", "reference": "r", "prediction": "p\nq", "scores": {"rouge1": 1}}
    (line,) = predictions(tmp_path / "p.jsonl", row)
    assert (line.id, line.document, line.references, line.text) == ("7", "d", ("r",), "p\nq")
    assert cases_of([line]) == [Case("7", "d", ("r",))]


def test_what_generate_writes_is_a_prediction(tmp_path: Path) -> None:
    (line,) = predictions(tmp_path / "p.jsonl", {"id": "a", "summary": "s", "score": -1.5})
    assert (line.text, line.references) == ("s", ())


def test_text_files_have_one_a_line_and_compressed_ones_are_read(tmp_path: Path) -> None:
    lines = predictions(tmp_path / "p.txt", "first", "second")
    assert [line.text for line in lines] == ["first", "second"]
    assert [line.references for line in read_references(written(tmp_path / "r.txt", "one", "two"))] == [
        ("one",),
        ("two",),
    ]
    packed = tmp_path / "p.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"prediction": "x"}\n\n{"prediction": "y"}\n'))
    assert [line.text for line in read_predictions(packed, may_be_empty=False)] == ["x", "y"]


def test_several_references_are_kept(tmp_path: Path) -> None:
    file = written(tmp_path / "r.jsonl", {"references": ["one", "two"]}, {"reference": "three"}, {"summary": "four"})
    assert [line.references for line in read_references(file)] == [("one", "two"), ("three",), ("four",)]


def test_ids_match_whatever_the_order(tmp_path: Path) -> None:
    rows = [{"id": name, "prediction": name.upper()} for name in "cab"]
    assert in_order_of(CASES, predictions(tmp_path / "p.jsonl", *rows), "the split") == ["A", "B", "C"]


def test_without_ids_the_order_matches(tmp_path: Path) -> None:
    rows = [{"prediction": name} for name in "xyz"]
    assert in_order_of(CASES, predictions(tmp_path / "p.jsonl", *rows), "the split") == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"p\.jsonl holds no lines"),
        (["{"], r"p\.jsonl:1 is not JSON"),
        ([[1]], r"p\.jsonl:1 is not a JSON object"),
        ([{"prediction": "x"}, {"id": "b"}], r"p\.jsonl:2 has no prediction"),
        ([{"prediction": "x"}, {"prediction": " \n"}], r"p\.jsonl:2 is an empty prediction"),
        ([{"prediction": 5}], "the prediction must be text and is int"),
        ([{"prediction": "x", "document": None}], "document must be text and is NoneType"),
        ([{"prediction": "\ud800"}], "the prediction must be text and is a lone surrogate"),
        ([{"prediction": "x", "reference": ""}], r"p\.jsonl:1 has an empty reference"),
        ([{"prediction": "x", "references": ["y", ""]}], r"p\.jsonl:1 has an empty reference"),
        ([{"prediction": "x", "references": 3}], "references must be a text or a list of texts"),
        ([{"id": "a", "prediction": "x"}, {"id": "a", "prediction": "y"}], "more than one line for id a"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        predictions(tmp_path / "p.jsonl", *rows)


def test_an_empty_prediction_may_be_allowed(tmp_path: Path) -> None:
    assert predictions(tmp_path / "p.jsonl", {"prediction": ""}, may_be_empty=True)[0].text == ""


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prediction": "x"}] * 2, r"p\.jsonl\) are 2 and must be 3, one line for each of the split"),
        ([{"prediction": "x"}] * 4, "are 4 and must be 3"),
        ([{"id": name, "prediction": "x"} for name in "ab"], "have no line for id c;"),
        ([{"id": name, "prediction": "x"} for name in "abcde"], "a line for unknown id d and 1 more"),
        (
            [{"id": name, "prediction": "x"} for name in "axy"],
            "no line for id b and 1 more and have a line for unknown id x",
        ),
    ],
)
def test_predictions_that_do_not_match_are_refused(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        in_order_of(CASES, predictions(tmp_path / "p.jsonl", *rows), "the split")


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_references(tmp_path / "absent.jsonl")
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(b"{}")[:-9])
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for name, message in (("torn.jsonl.gz", "cannot be read"), ("latin.txt", "is not UTF-8 text")):
        with pytest.raises(UserError, match=message):
            read_predictions(tmp_path / name, may_be_empty=False)


def test_references_are_missed_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"p\.jsonl:1 has no reference beside its prediction.*references=<file>"):
        cases_of(predictions(tmp_path / "p.jsonl", {"prediction": "x"}))
    with pytest.raises(UserError, match=r"r\.jsonl:1 has no reference"):
        read_references(written(tmp_path / "r.jsonl", {"id": "a"}))


def test_a_line_of_text_ends_at_a_newline_and_nowhere_else(tmp_path: Path) -> None:
    texts = ["one\u2028two", "three\x0cfour\x85", "five"]
    for ends in ("\n", "\r\n"):
        file = tmp_path / "lines.txt"
        file.write_bytes("".join(text + ends for text in texts).encode("utf-8"))
        assert [line.text for line in read_predictions(file, may_be_empty=False)] == texts
        assert [line.references for line in read_references(file)] == [(text,) for text in texts]


def test_a_file_without_a_line_is_refused_and_one_empty_line_is_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no lines"):
        predictions(tmp_path / "p.txt", may_be_empty=True)
    assert [line.text for line in predictions(tmp_path / "p.txt", "", may_be_empty=True)] == [""]


def test_repeated_ids_are_told_apart_and_others_stay() -> None:
    names = ["a", "b", "a", "a (2)", "a", "a", "b"]
    apart = [case.id for case in named_apart([Case(name, "", (str(n),)) for n, name in enumerate(names)])]
    assert len(set(apart)) == len(names)
    assert [new for new, old in zip(apart, names, strict=True) if new == old] == ["a", "b", "a (2)"]
    assert all(new.startswith(f"{old} (") for new, old in zip(apart, names, strict=True) if new != old)


def test_a_thousand_rows_of_one_id_take_no_time() -> None:
    assert named_apart([Case("x", "", ("r",))] * 20_000)[-1].id == "x (20000)"
