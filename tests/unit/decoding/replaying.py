"""What a CUDA graph promises and asks for, without CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

from summarizer.decoding.recording import Work


def replaying(work: Work, device: torch.device) -> Work:
    """``work`` done once beforehand, as in recording; then its result always in the same place, spoiled before."""
    output = work().clone()

    def replay() -> Tensor:
        output.fill_(torch.nan)
        return output.copy_(work())

    return replay
