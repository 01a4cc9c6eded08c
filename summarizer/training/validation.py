"""What a validation found, as it passes from the one who validates to the trainer and its reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


class ValidationStopped(Exception):  # noqa: N818 - nothing went wrong
    """A validation gave up because it was asked to. It left nothing behind."""


@dataclass(frozen=True)
class Sample:
    """A document of the validation split with its two summaries, all as text."""

    id: str
    document: str
    reference: str
    prediction: str


@dataclass(frozen=True)
class Validation:
    """Numbers, and what people want to look at.

    ``metrics`` holds ``loss`` (nats per target token), ``perplexity``, ``accuracy``, and mean F1 between 0
    and 1 as ``rouge1``, ``rouge2``, ``rougeL``, ``rougeLsum``. A baseline's bear its name: ``lead3/rouge1``.
    """

    metrics: Mapping[str, float]
    samples: Sequence[Sample] = ()
    images: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)  # title -> (H, W, 3)


# Called by the trainer with a question to ask between batches: if it says yes, the validation raises ValidationStopped.
Validate = Callable[[Callable[[], bool]], Validation]
