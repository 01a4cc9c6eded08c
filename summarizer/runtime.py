"""Settings in; a device, a numeric precision, seeded random numbers and a configured log out."""

from __future__ import annotations

import logging
import os
import random
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from summarizer.allocator import keep_few_kernels, keep_freed_memory
from summarizer.errors import UserError
from summarizer.terminal import printable

logger = logging.getLogger(__name__)


class DeviceKind(Enum):
    """Where tensors live and are computed."""

    auto = "auto"  # CUDA if there is a device, else the CPU
    cpu = "cpu"
    cuda = "cuda"


class Precision(Enum):
    """In what numbers matrices are multiplied. Weights and optimizer state are fp32 with all of them but int8."""

    auto = "auto"  # bf16 where the hardware multiplies it natively, else fp32
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"  # CUDA only; small gradients vanish unless the loss is scaled
    int8 = "int8"  # CPU only, and for inference alone: weights are rounded to 256 steps, inputs as they come


class Strategy(Enum):
    """How processes that train together share the model; the numbers are the same to rounding."""

    ddp = "ddp"  # each has all of it, and its share of the data
    fsdp = "fsdp"  # each also keeps but a part of every weight: for models whose training does not fit one GPU


_MOST_THREADS = 1024
_MOST_WORKERS = 256
# What linear layers multiply in where they are packed for a CPU.
PACKED_TYPES = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16, Precision.int8: torch.int8}
_AUTOCAST_TYPES = {Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16}


@dataclass(kw_only=True)
class RuntimeConfig:
    """On what the program runs, and how. Results may differ in the last digits between any two of these."""

    device: DeviceKind = DeviceKind.auto
    """auto, cpu or cuda."""

    precision: Precision = Precision.auto
    """auto, fp32, bf16 or fp16; to evaluate and generate on a CPU also int8."""

    num_threads: int | None = None
    """CPU threads of one operation; null leaves the choice to PyTorch."""

    num_workers: int = 0
    """Processes that prepare batches beside the one that trains; 0 prepares them in that one."""

    strategy: Strategy = Strategy.ddp
    """ddp or fsdp: whether processes that train together each hold the model, or a part of every weight."""

    recompute_activations: bool = False
    """Whether training keeps what enters each layer and computes the rest again when it is needed: less memory."""

    keep_freed_memory: bool = True
    """Whether a process on a CPU takes freed memory again instead of giving it back: faster, but it never shrinks."""

    compile: bool = False
    """Whether torch.compile translates the model: some minutes at the start, then faster steps on a GPU."""

    flash_attention: bool = True
    """Whether a GPU may attend with PyTorch's flash kernels, which keep no scores and, cut to segments, need no mask.
    Its other kernels give the same, more slowly."""

    cuda_graphs: bool = True
    """Whether a GPU records decoding steps and replays them, which spares the start of each kernel."""

    deterministic: bool = False
    """Whether a GPU repeats a run bit for bit, at the price of some speed. A CPU always does."""

    def validate(self) -> None:
        """Raises UserError for a number out of range, or for a precision that the device does not have."""
        if self.num_threads is not None and not 1 <= self.num_threads <= _MOST_THREADS:
            raise UserError(
                f"runtime.num_threads ({self.num_threads}) must be at least 1 and at most {_MOST_THREADS}; "
                "null lets PyTorch choose"
            )
        if not 0 <= self.num_workers <= _MOST_WORKERS:
            raise UserError(
                f"runtime.num_workers ({self.num_workers}) must be at least 0 and at most {_MOST_WORKERS}; "
                "0 starts no process"
            )
        if self.device is DeviceKind.cpu and self.precision is Precision.fp16:
            _refuse_fp16()
        if self.strategy is Strategy.fsdp and self.precision is Precision.fp16:
            raise UserError(
                "runtime.strategy (fsdp) must have a precision whose gradients need no scaling, and not fp16; set "
                "runtime.precision=bf16 or fp32, or runtime.strategy=ddp"
            )
        if self.strategy is Strategy.fsdp and self.compile:
            raise UserError(
                "runtime.strategy (fsdp) must go without runtime.compile, which wants all weights in one place; set "
                "runtime.compile=false, or runtime.strategy=ddp"
            )
        if self.device is DeviceKind.cuda and self.precision is Precision.int8:
            _refuse_int8()


@dataclass(frozen=True)
class Runtime:
    """What `set_up` decided on."""

    device: torch.device
    precision: Precision  # never auto
    cuda_graphs: bool = False  # never on a CPU

    @property
    def matmul_type(self) -> torch.dtype:
        """The type of the numbers that matrices are multiplied in while a model is trained."""
        return _AUTOCAST_TYPES.get(self.precision, torch.float32)

    def autocast(self) -> AbstractContextManager[object]:
        """A context for the forward pass, within which matrices are multiplied in ``precision``."""
        if self.precision not in _AUTOCAST_TYPES:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_AUTOCAST_TYPES[self.precision])

    def describe(self) -> str:
        """For people: ``CPU (2 threads), bf16``."""
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)}, {self.precision.value}"
        threads = torch.get_num_threads()
        return f"CPU ({threads} thread{'s' if threads > 1 else ''}), {self.precision.value}"


def set_up(config: RuntimeConfig, local_rank: int = 0) -> Runtime:
    """Choose device and precision, and set PyTorch's global switches and the allocator accordingly.

    :param local_rank: which process of this machine this is, of those that train together: each has a GPU of its own.

    Raises UserError for a device that is not there, or for a precision that it does not have.
    """
    runtime = set_up_plainly(config, local_rank)
    if runtime.device.type == "cpu":
        if config.keep_freed_memory:
            keep_freed_memory()
        keep_few_kernels()
    else:
        _set_cuda_switches(config)
    return runtime


def set_up_plainly(config: RuntimeConfig, local_rank: int = 0) -> Runtime:
    """As :func:`set_up`, but for device, precision and threads alone, like a script that knows no more of PyTorch."""
    config.validate()
    device = _choose_device(config.device, local_rank)
    precision = _choose_precision(config.precision, device)
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    if device.type == "cuda":
        torch.cuda.set_device(local_rank)
        torch.set_float32_matmul_precision("high")  # TF32: 10 bits of mantissa, for what autocast leaves in fp32
    return Runtime(device, precision, cuda_graphs=config.cuda_graphs and device.type == "cuda")


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Make all that is random from here on (Python, NumPy, PyTorch, each device) a function of the arguments.

    Called before every update, it lets a resumed run draw what the uninterrupted one drew, without saved
    generators.
    """
    mixed = _mix(_mix(_mix(seed) + step) + rank)
    random.seed(mixed)
    np.random.seed(mixed & 0xFFFF_FFFF)
    # Not torch.manual_seed: it takes 110 µs to queue the seed for backends that were never started.
    torch.default_generator.manual_seed(mixed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(mixed)


def configure_logging(log_file: Path | None = None, *, is_quiet: bool = False) -> None:
    """Send the package's log to standard error, beside a progress bar, and with times to ``log_file``.

    :param is_quiet: say nothing but errors: another process says the rest.

    Calling it again replaces the earlier configuration. Raises UserError if ``log_file`` cannot be written.
    """
    handlers: list[logging.Handler] = [_ConsoleHandler()]
    handlers[0].setFormatter(_ConsoleFormatter())
    if log_file is not None:
        handlers.append(_open_log(log_file))
    package_logger = logging.getLogger("summarizer")
    for handler in package_logger.handlers[:]:
        package_logger.removeHandler(handler)
        handler.close()
    for handler in handlers:
        package_logger.addHandler(handler)
    package_logger.setLevel(logging.ERROR if is_quiet else logging.INFO)
    package_logger.propagate = False  # the root logger may have a console of its own: every line would come twice


def _choose_device(kind: DeviceKind, local_rank: int) -> torch.device:
    available = torch.cuda.is_available()
    if kind is DeviceKind.cuda and not available:
        raise UserError(
            "runtime.device (cuda) must be present, and PyTorch finds no CUDA device; "
            "use runtime=cpu, or install a CUDA build of PyTorch and a driver"
        )
    if not available or kind is DeviceKind.cpu:
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise UserError(
            f"runtime.device (cuda) must be one GPU for each process of a machine, and PyTorch finds "
            f"{torch.cuda.device_count()}: start so many with torchrun --nproc-per-node"
        )
    return torch.device("cuda", local_rank)


def _choose_precision(asked: Precision, device: torch.device) -> Precision:
    if asked is Precision.fp16 and device.type == "cpu":
        _refuse_fp16()
    if asked is Precision.int8 and device.type != "cpu":
        _refuse_int8()
    if asked is Precision.auto:
        return Precision.bf16 if _multiplies_bf16(device) else Precision.fp32
    if asked is Precision.bf16 and not _multiplies_bf16(device):
        logger.warning("bf16 is slow here, for the hardware lacks it; runtime.precision=fp32 is faster")
    return asked


def _multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware has instructions for it; without them bf16 is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # PyTorch keeps these questions private, and which of them there are differs between releases.
    questions = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, question, bool)() for question in questions)


def _refuse_fp16() -> None:
    raise UserError("runtime.precision (fp16) must run on a CUDA device; on a CPU use runtime.precision=bf16 or fp32")


def _refuse_int8() -> None:
    raise UserError("runtime.precision (int8) must run on a CPU; set runtime.device=cpu, or use bf16 on a CUDA device")


def _set_cuda_switches(config: RuntimeConfig) -> None:
    deterministic = config.deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    # A warning and no more: sums that only sampling and the coverage loss take have no deterministic kernel.
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    # Where there is no more than a warning, the backward passes of these kernels add in any order. What remains are
    # plain matrix products.
    torch.backends.cuda.enable_flash_sdp(config.flash_attention and not deterministic)
    torch.backends.cuda.enable_mem_efficient_sdp(not deterministic)
    torch.backends.cuda.enable_cudnn_sdp(not deterministic)


def _mix(value: int) -> int:
    """SplitMix64 (Steele, Lea and Flood 2014): 64 bits in which every bit of ``value`` has a say."""
    mask = 0xFFFF_FFFF_FFFF_FFFF
    value = (value + 0x9E37_79B9_7F4A_7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB) & mask
    return value ^ (value >> 31)


class _ConsoleHandler(logging.Handler):
    """Writes through tqdm, which lifts its progress bar out of the way."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


class _LogFile(logging.FileHandler):
    """A file that is written as long as that works. The first failure is told, and is the last try."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class calls it so
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.addFilter(lambda record: False)
        logger.warning("%s is no longer written: %s", self.baseFilename, error.strerror)

    def close(self) -> None:
        with suppress(OSError):  # of what was told before
            super().close()


class _ConsoleFormatter(logging.Formatter):
    """Plain text; the level in front only where it is a warning or worse."""

    def format(self, record: logging.LogRecord) -> str:
        text = printable(super().format(record))
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text


def _open_log(path: Path) -> logging.Handler:
    try:
        handler = _LogFile(path, encoding="utf-8")
    except OSError as reason:
        raise UserError(f"{path} cannot be written: {reason.strerror}; choose another run_dir") from reason
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler
