"""Errors in, whether the memory of the device was too small for what was asked of it out."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """PyTorch has an exception of its own for GPUs; on a CPU its words are all there is."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
