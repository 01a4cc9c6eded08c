"""A disk that refuses to be written: it costs reports and, told at once, checkpoints; never the last good one.

Of the ways in which disks refuse, all are real: a limit of the kernel for the process, a file system without room, a
folder that nobody may change, a device that is always full.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from harness import MakeRun, Run

from summarizer.checkpoint import list_checkpoints, load_checkpoint

pytestmark = pytest.mark.slow

TROUBLE = 5  # the update before which the disk begins to refuse
GOOD = 4  # the newest checkpoint then


@dataclass(frozen=True)
class Disk:
    """A run on a disk of its own, and how that begins and ends to refuse."""

    run: Run
    refuse: Callable[[], None]  # called by the process that trains
    reason: str
    mend: Callable[[], None] = lambda: None


FILE_SIZE = 16384  # bytes: less than a checkpoint's weights, more than what the tests themselves note


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))


def fill(ballast: Path) -> None:
    """Leave no room on the file system of ``ballast``."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 8, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass


def set_immutable(flag: str, *folders: Path) -> None:
    subprocess.run(["chattr", flag, *map(str, folders)], check=True, capture_output=True)


@pytest.fixture(params=["size limit", "no room", "unwritable"])
def disk(request: pytest.FixtureRequest, make_run: MakeRun, tmp_path: Path) -> Iterator[Disk]:
    run = make_run()
    if request.param == "size limit":
        yield Disk(run, limit_file_size, "File too large")
    elif request.param == "no room":
        yield from small_disk(run, tmp_path / "disk")
    else:
        yield from unwritable(run)


def small_disk(run: Run, mount: Path) -> Iterator[Disk]:
    mount.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        ballast = mount / "ballast"
        config = replace(run.config, run_dir=str(mount / "run"))
        yield Disk(Run(config, run.notes), partial(fill, ballast), "No space left on device", ballast.unlink)
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


def unwritable(run: Run) -> Iterator[Disk]:
    """Root may write anywhere but in what is immutable."""
    probe = run.notes / "probe"
    probe.mkdir()
    try:
        set_immutable("+i", probe)
        set_immutable("-i", probe)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no folder can be made immutable here: {error}")
    folders = run.folder / "checkpoints", run.folder
    try:
        yield Disk(run, partial(set_immutable, "+i", *folders), "Operation not permitted",
                   partial(set_immutable, "-i", *folders))  # fmt: skip
    finally:
        set_immutable("-i", *folders)


def test_a_run_that_cannot_save_says_so_stops_in_order_and_goes_on_when_it_can(disk: Disk, whole: Run) -> None:
    run = disk.run
    assert run.attempt(before_step=(TROUBLE, disk.refuse)) == 2, run.output
    assert_told(run, disk.reason)
    assert max(path.name for path in list_checkpoints(run.folder)) == f"step-{GOOD:07d}"
    for path in list_checkpoints(run.folder):
        assert load_checkpoint(path).path == path, "what was good remains so"
    disk.mend()
    assert run.attempt() == 0, run.output
    assert f"continued after step {GOOD}" in run.output
    assert run.differences(whole) == []


def assert_told(run: Run, reason: str) -> None:
    lines = run.output.splitlines()
    told = [line for line in lines if "training goes on, and stops at failure 3 in a row" in line]
    assert told, run.output
    assert all(line.startswith("error: ") and reason in line for line in told)
    final = run.errors[-1]
    assert "saves in a row failed, the checkpoints before are intact" in final
    assert reason in final
    assert "Traceback" not in run.output
    # From the first failure until the run gives up, it trains.
    assert lines.index(told[0]) < lines.index(final)
    assert max(run.examples()) > TROUBLE


def test_a_disk_that_mends_itself_costs_checkpoints_and_nothing_else(make_run: MakeRun, whole: Run) -> None:
    """The limit is a soft one here, and gone before a third save."""
    run = make_run(validate_every=20, patience=None, max_steps=12, save_every=2)
    assert run.attempt(before_step=(3, allow_and_refuse)) == 0, run.output
    assert run.output.count("training goes on, and stops at failure") == 1
    undisturbed = make_run(validate_every=20, patience=None, max_steps=12, save_every=2)
    assert undisturbed.attempt() == 0
    assert run.checkpoint().trainer_state == undisturbed.checkpoint().trainer_state
    assert all(bool((run.checkpoint().model[name] == weight).all()) for name, weight in
               undisturbed.checkpoint().model.items())  # fmt: skip


def allow_and_refuse() -> None:
    """Refuse the next checkpoint alone."""
    from summarizer.training import saving  # in the process that trains

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    save = saving.write_checkpoint

    def save_under_a_limit(*arguments: object, **named: object) -> Path:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, hard))
        try:
            return save(*arguments, **named)  # type: ignore[arg-type]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            saving.write_checkpoint = save

    saving.write_checkpoint = save_under_a_limit


def test_reports_on_a_full_device_change_nothing_but_themselves(make_run: MakeRun, whole: Run) -> None:
    run = make_run()
    run.folder.mkdir()
    (run.folder / "train.log").symlink_to("/dev/full")
    (run.folder / "metrics.jsonl.new").symlink_to("/dev/full")  # which becomes metrics.jsonl
    assert run.attempt(links_may_lead_out=True) == 0, run.output
    assert "train.log is no longer written: No space left on device" in run.output
    assert "metrics.jsonl is no longer written, training goes on without" in run.output
    assert "Traceback" not in run.output
    assert run.output.count("is no longer written") == 2, "told once each"
    assert run.checkpoint().trainer_state == whole.checkpoint().trainer_state
    assert_same_weights(run, whole)


def test_a_console_that_is_a_file_on_a_full_disk_changes_nothing(make_run: MakeRun, whole: Run) -> None:
    run = make_run()
    assert run.attempt(output=Path("/dev/full")) == 0
    log = (run.folder / "train.log").read_text(encoding="utf-8")
    assert "the progress is no longer written, training goes on without: [Errno 28] No space left on device" in log
    assert run.differences(whole) == []


def test_a_cache_that_cannot_be_made_is_one_line(make_run: MakeRun) -> None:
    run = make_run(fresh=True)
    run.cache.symlink_to("/proc/sys")  # where not even root can make a folder
    assert run.attempt() == 2
    (error,) = run.errors
    assert str(run.cache) in error
    assert "Traceback" not in run.output
    assert not run.folder.exists()


def assert_same_weights(run: Run, whole: Run) -> None:
    mine, its = run.checkpoint().model, whole.checkpoint().model
    assert all(bool((mine[name] == its[name]).all()) for name in its)
