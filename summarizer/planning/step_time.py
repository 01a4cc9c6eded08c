"""What there is to compute, to move and to exchange in; the seconds of an update out.

An update takes as long as its matrix products at the device's peak, slowed down by what kernels lose; plus as long as
all between them takes, which grows with what is kept for the backward pass; plus the optimizer's pass over the weights;
plus the exchange between devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Assumption:
    """About how well kernels use a device."""

    products: float  # share of the peak that a model's matrix products reach
    passes: float  # over the memory, that all between them takes for each byte kept for the backward pass
    basis: str  # for people


# On a CPU what stands between products is bound by computing rather than by the memory (dropout's random numbers,
# softmax, norms, casts), and a number of half precision takes as long as one of float32, for half of the bytes. On a
# GPU it is bound by the memory, and each kept byte is written and read a few times in either pass.
_FITTED = "fitted to updates measured on a CPU: configs/README.md"
ON_CPU = Assumption(products=1.0, passes=18.0, basis=_FITTED)
ON_CPU_IN_HALF = Assumption(products=1.0, passes=40.0, basis=_FITTED)
ON_GPU = Assumption(
    products=0.8,
    passes=10.0,
    basis="not measured on a GPU yet; starting kernels, for which an update of a few ms waits, is left out",
)

_OPTIMIZER_BYTES = 44  # that move for a parameter: 28 of AdamW, 4 for the gradient's norm, 8 to clip it, 4 to clear it


@dataclass(frozen=True)
class StepTime:
    """Seconds of an update on each device."""

    products: float
    memory: float
    optimizer: float
    communication: float

    @property
    def total(self) -> float:
        return self.products + self.memory + self.optimizer + self.communication

    def shares(self) -> Mapping[str, float]:
        return {name: seconds / self.total for name, seconds in vars(self).items()}


@dataclass(frozen=True)
class Load:
    """Of an update, on each device."""

    flops: float  # computed ones, of padding and recomputation too
    real_flops: float  # that the real tokens need
    kept_bytes: float  # by all its batches
    parameters: float  # that the optimizer of this device changes
    sent_bytes: float  # to the next device of the ring


def step_time(
    load: Load, assumption: Assumption, *, peak: float, bandwidth: float, link: float, mfu: float | None = None
) -> StepTime:
    """
    :param peak: floating-point operations a second of the device.
    :param bandwidth: bytes a second of its memory.
    :param link: bytes a second to the next device.
    :param mfu: if given, the share of the peak that real operations are of all but the exchange, instead of what the
        assumption gives.
    """
    communication = load.sent_bytes / link
    optimizer = _OPTIMIZER_BYTES * load.parameters / bandwidth
    if mfu is not None:
        computing = load.real_flops / (mfu * peak)
        return StepTime(max(0.0, computing - optimizer), 0.0, min(optimizer, computing), communication)
    return StepTime(
        products=load.flops / (assumption.products * peak),
        memory=assumption.passes * load.kept_bytes / bandwidth,
        optimizer=optimizer,
        communication=communication,
    )


def ring_bytes(buffer_bytes: float, devices: int) -> float:
    """That each of ``devices`` sends so that all of them have the sum of their buffers (Patarasuk & Yuan 2009).

    Half of it brings parts of the sum together, or parts of a buffer to all.
    """
    return 2 * (devices - 1) / devices * buffer_bytes
