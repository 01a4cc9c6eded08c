"""Work whose tensors keep their places in; the same as one launch, on CUDA, out.

A decoding step of a small model is some hundred small kernels, which a GPU computes faster than Python starts them. A
CUDA graph starts all of them at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

Work = Callable[[], Tensor]  # reads and writes tensors that stay, and returns one that it may make anew
Record = Callable[[Work, torch.device], Work]


def recorded(work: Work, device: torch.device, *, record: Record | None = None) -> Work:
    """``work`` as a CUDA graph on a CUDA device; as it is elsewhere, or where it cannot be recorded.

    It is carried out once or twice meanwhile. What it then returns is one tensor, overwritten by each call.

    :param record: makes the graph, by default :func:`cuda_graph`.
    """
    if record is None:
        if device.type != "cuda":
            return work
        record = cuda_graph
    try:
        return record(work, device)
    except RuntimeError as error:
        logger.warning("decoding steps are not recorded as CUDA graphs: %s", str(error).split("\n")[0])
        return work


def cuda_graph(work: Work, device: torch.device) -> Work:
    """Raises RuntimeError where ``work`` does what cannot be recorded, such as waiting for the device."""
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        work()  # libraries set themselves up, and autocast its copies of weights, which last as long as it does
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on as they like: one of them pins the memory of batches.
    with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
        output = work()

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay
