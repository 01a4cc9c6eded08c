"""Names of job folders: short, fit for a shell, and never the same for two jobs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from summarizer.config.sweep import job_folder, sweep_folder
from summarizer.errors import UserError


def test_a_plain_job_is_named_by_its_overrides() -> None:
    assert job_folder("model.dropout=0.1+optimizer.lr=0.001") == "model.dropout=0.1+optimizer.lr=0.001"
    assert job_folder("model=tiny") == "model=tiny"
    assert job_folder("") == "job"


def test_a_path_is_told_apart_by_a_hash() -> None:
    name = job_folder("data.path='/a b/c'")
    assert re.fullmatch(r"data\.path=-a-b-c-[0-9a-f]{6}", name)
    assert name != job_folder("data.path='/a-b/c'")


@example(["", "."])
@example([".a=1", "a=1"])
@example(["-", "?"])
@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_any_two_jobs_have_names_of_their_own_that_are_one_folder(overrides: list[str]) -> None:
    names = [job_folder(each) for each in overrides]
    for name in names:
        assert name not in (".", "..")
        assert not re.search(r"[\s/\\'\"$&;()<>|*?\[\]{}`!#~,]", name)
        assert 0 < len(name.encode()) < 200
    if not any(set(each) & set("'\"") for each in overrides):  # quotes are Hydra's, around a whole value
        assert names[0] != names[1]


def test_a_sweep_goes_where_it_is_told_or_into_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sweep_folder("mine") == "mine"
    first, second = sweep_folder(None), sweep_folder(None)
    assert first != second
    assert Path(first).is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file"):
        sweep_folder("file")


def test_a_sweep_is_not_put_into_a_run(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    with pytest.raises(UserError, match="is the folder of a run"):
        sweep_folder(str(tmp_path))
