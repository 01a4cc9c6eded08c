"""When steps are recorded, in what order, and what happens where they cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from torch import Tensor

from summarizer.decoding.recording import Work, cuda_graph, recorded


class Counter:
    """Work that counts how often it was done."""

    def __init__(self) -> None:
        self.total = torch.zeros(())

    def __call__(self) -> Tensor:
        return self.total.add_(1)


def test_a_cpu_does_the_work_as_it_is() -> None:
    work = Counter()
    assert recorded(work, torch.device("cpu")) is work
    assert work.total == 0


def test_what_cannot_be_recorded_is_done_as_it_is_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def refusing(work: Work, device: torch.device) -> Work:
        work()
        raise RuntimeError("operation not permitted when stream is capturing\nand much more")

    work = Counter()
    assert recorded(work, torch.device("cuda"), record=refusing) is work
    assert [record.getMessage() for record in caplog.records] == [
        "decoding steps are not recorded as CUDA graphs: operation not permitted when stream is capturing"
    ]


def test_work_is_done_once_beside_the_main_stream_then_recorded_then_replayed() -> None:
    """With PyTorch's own signatures, for a machine without CUDA."""
    events: list[str] = []

    @contextmanager
    def noted(begin: str) -> Iterator[None]:
        events.append(begin)
        yield
        events.append(f"end of {begin}")

    main, side = mock.Mock(name="main"), mock.Mock(name="side")
    main.wait_stream.side_effect = lambda other: events.append("main waits")
    side.wait_stream.side_effect = lambda other: events.append("side waits")

    def work() -> Tensor:
        events.append("work")
        return torch.tensor(len(events))

    graph = mock.create_autospec(torch.cuda.CUDAGraph, instance=True)
    with mock.patch.multiple(
        torch.cuda,
        Stream=mock.Mock(return_value=side),
        current_stream=mock.create_autospec(torch.cuda.current_stream, return_value=main),
        stream=mock.create_autospec(torch.cuda.stream, side_effect=lambda stream: noted("side")),
        CUDAGraph=mock.Mock(return_value=graph),
        graph=mock.create_autospec(torch.cuda.graph, side_effect=lambda *_, **__: noted("recording")),
    ):
        replay = cuda_graph(work, torch.device("cuda"))
    assert events == [
        *("side waits", "side", "work", "end of side", "main waits"),
        *("recording", "work", "end of recording"),
    ]
    first = replay()
    assert replay() is first
    assert graph.replay.call_count == 2
    assert events.count("work") == 2
