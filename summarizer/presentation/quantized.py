"""Weights in; levels of 8 bits, and the JSON that weights.js reads on a page, out."""

from __future__ import annotations

import base64
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from summarizer.presentation.trace import Weights

_GREATEST_LEVEL = 255


class Quantized(NamedTuple):
    """Weights as levels from 0 to 255 of a scale for each row; off by half a level at most."""

    levels: npt.NDArray[np.uint8]  # (..., S)
    scales: npt.NDArray[np.float32]  # (...): the weight of one level

    @classmethod
    def of(cls, weights: Weights) -> Quantized:
        scales = (weights.max(axis=-1) / _GREATEST_LEVEL).astype(np.float32)
        steps = np.where(scales > 0, scales, 1)[..., None]
        return cls((weights / steps).round().clip(0, _GREATEST_LEVEL).astype(np.uint8), scales)


def matrix_json(weights: Weights) -> dict[str, str]:
    """Little-endian, row-major, base64."""
    levels, scales = Quantized.of(weights)
    return {"levels": _base64(levels.tobytes()), "scales": _base64(scales.astype("<f4").tobytes())}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
