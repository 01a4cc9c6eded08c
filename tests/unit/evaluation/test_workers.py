"""Work that is shared gives what it gives alone, in the same order, and its errors."""

import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from summarizer.errors import UserError
from summarizer.evaluation import workers
from summarizer.evaluation.workers import Workers


def double(items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


def refuse(items: Sequence[int]) -> list[int]:
    raise UserError("refused")


@pytest.fixture(autouse=True)
def shared_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_FEWEST", 10)
    monkeypatch.setattr(workers, "_CHUNK", 4)


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 200])
def test_results_keep_the_order_of_the_items(count: int) -> None:
    with Workers(2) as pool:
        assert pool.map(double, range(count)) == [2 * number for number in range(count)]


def test_processes_start_once_and_only_when_they_are_worth_it() -> None:
    with Workers(3) as pool:
        pool.map(double, range(9))
        assert pool._pool is None
        pool.map(double, range(50))
        first = pool._pool
        pool.map(double, range(50))
        assert pool._pool is first is not None


def test_an_error_of_the_work_is_raised() -> None:
    with Workers(2) as pool, pytest.raises(UserError, match="refused"):
        pool.map(refuse, range(100))


def test_a_number_below_one_is_told_to_the_user() -> None:
    with pytest.raises(UserError, match=r"processes \(0\) must be at least 1"):
        Workers(0)


def test_every_item_is_told_to_the_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    class Bar:
        def __init__(self, **settings: object) -> None:
            assert settings["desc"] == "doubling"

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *error: object) -> None: ...

        def update(self, count: int) -> None:
            told.append(count)

    monkeypatch.setattr(workers, "tqdm", Bar)
    for processes, count in ((1, 50), (2, 50), (2, 3)):
        told.clear()
        with Workers(processes) as pool:
            pool.map(double, range(count), "doubling")
        assert sum(told) == count


def test_what_other_processes_do_needs_no_pytorch() -> None:
    """Importing it takes as long as scoring thousands of pairs."""
    modules = "baselines", "rouge", "traits"
    imports = "; ".join(f"import summarizer.evaluation.{name}" for name in modules)
    check = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_processes_end_with_one_that_is_killed() -> None:
    """Else each killed evaluation leaves some that wait for ever."""
    program = """
import os, signal
from summarizer.evaluation import workers
from tests.unit.evaluation.test_workers import double

workers._FEWEST, workers._CHUNK = 10, 4
with workers.Workers(2) as pool:
    pool.map(double, range(100))
    pool._pool.submit(os.getpid).result()  # it works
    os.kill(os.getpid(), signal.SIGKILL)
"""
    # The other process holds the end of the pipe, which is closed when it has gone.
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=60)
    assert done.returncode == -signal.SIGKILL
