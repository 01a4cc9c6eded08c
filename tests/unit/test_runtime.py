"""The device and precision that settings lead to, random numbers that follow from a step, readable logs."""

from __future__ import annotations

import logging
import os
import random
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from summarizer import runtime
from summarizer.errors import UserError
from summarizer.runtime import (
    DeviceKind,
    Precision,
    Runtime,
    RuntimeConfig,
    Strategy,
    configure_logging,
    seed_step,
    set_up,
)

CONFIGS = Path(__file__).parents[2] / "configs" / "runtime"


@pytest.fixture(autouse=True)
def unchanged_globals() -> Iterator[None]:
    threads = torch.get_num_threads()
    package_logger = logging.getLogger("summarizer")
    saved = (package_logger.handlers[:], package_logger.level, package_logger.propagate)
    yield
    torch.set_num_threads(threads)
    package_logger.handlers[:], package_logger.level, package_logger.propagate = saved


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with a plain CPU and nothing else; tests add to it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    give_cpu_bf16(monkeypatch, amx=False, avx512=False)
    monkeypatch.setattr(runtime, "_set_cuda_switches", lambda config: None)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)
    return monkeypatch


def give_cpu_bf16(machine: pytest.MonkeyPatch, *, amx: bool, avx512: bool) -> None:
    machine.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    machine.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)


def give_cuda(machine: pytest.MonkeyPatch, *, bf16: bool) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: True)
    machine.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation)
    machine.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    machine.setattr(torch.cuda, "device_count", lambda: 2)
    machine.setattr(torch.cuda, "set_device", lambda device: None)


# Device and precision


@pytest.mark.parametrize(
    ("amx", "avx512", "expected"),
    [
        (False, False, Precision.fp32),
        (True, False, Precision.bf16),
        (False, True, Precision.bf16),
    ],
)
def test_a_cpu_gets_bf16_only_with_instructions_for_it(
    machine: pytest.MonkeyPatch, amx: bool, avx512: bool, expected: Precision
) -> None:
    give_cpu_bf16(machine, amx=amx, avx512=avx512)
    assert set_up(RuntimeConfig()) == Runtime(torch.device("cpu"), expected, cuda_graphs=False)


def test_a_release_that_cannot_tell_what_the_cpu_has_gets_fp32(machine: pytest.MonkeyPatch) -> None:
    for question in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        machine.delattr(torch.cpu, question)
    assert set_up(RuntimeConfig()).precision is Precision.fp32


@pytest.mark.parametrize(("bf16", "expected"), [(True, Precision.bf16), (False, Precision.fp32)])
def test_a_cuda_device_is_taken_and_gets_bf16_if_it_is_native(
    machine: pytest.MonkeyPatch, bf16: bool, expected: Precision
) -> None:
    give_cuda(machine, bf16=bf16)
    chosen = set_up(RuntimeConfig())
    assert chosen == Runtime(torch.device("cuda", 0), expected, cuda_graphs=True)
    assert not set_up(RuntimeConfig(cuda_graphs=False)).cuda_graphs
    assert chosen.describe() == f"NVIDIA H100, {expected.value}"
    assert set_up(RuntimeConfig(device=DeviceKind.cpu)).device.type == "cpu"


def test_each_process_of_a_machine_gets_a_gpu_of_its_own(machine: pytest.MonkeyPatch) -> None:
    give_cuda(machine, bf16=True)
    taken: list[int] = []
    machine.setattr(torch.cuda, "set_device", taken.append)
    assert [set_up(RuntimeConfig(), local_rank).device.index for local_rank in (0, 1)] == taken == [0, 1]
    with pytest.raises(UserError, match=r"runtime.device \(cuda\) .* finds 2: start so many"):
        set_up(RuntimeConfig(), local_rank=2)


@pytest.mark.parametrize(
    ("config", "flash", "others"),
    [
        (RuntimeConfig(), True, True),
        (RuntimeConfig(flash_attention=False), False, True),
        (RuntimeConfig(deterministic=True), False, False),
    ],
)
def test_a_deterministic_gpu_attends_with_matrix_products_alone(
    monkeypatch: pytest.MonkeyPatch, config: RuntimeConfig, flash: bool, others: bool
) -> None:
    give_cuda(monkeypatch, bf16=True)
    switches: dict[str, bool] = {}
    for name in ("flash", "mem_efficient", "cudnn"):
        monkeypatch.setattr(torch.backends.cuda, f"enable_{name}_sdp", partial(switches.__setitem__, name))
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode, warn_only: None)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that what is set below is undone
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    set_up(config)
    assert switches == {"flash": flash, "mem_efficient": others, "cudnn": others}
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) is config.deterministic


@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16, Precision.fp16])
def test_a_precision_asked_for_is_kept(machine: pytest.MonkeyPatch, precision: Precision) -> None:
    give_cuda(machine, bf16=True)
    assert set_up(RuntimeConfig(precision=precision)).precision is precision


def test_slow_bf16_is_allowed_with_a_warning(machine: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert set_up(RuntimeConfig(precision=Precision.bf16)).precision is Precision.bf16
    assert "runtime.precision=fp32" in caplog.text


@pytest.mark.parametrize(
    ("config", "value"),
    [
        (RuntimeConfig(device=DeviceKind.cuda), "(cuda)"),
        (RuntimeConfig(precision=Precision.fp16), "(fp16)"),
        (RuntimeConfig(device=DeviceKind.cpu, precision=Precision.fp16), "(fp16)"),
        (RuntimeConfig(num_threads=0), "(0)"),
        (RuntimeConfig(num_workers=-1), "(-1)"),
        (RuntimeConfig(strategy=Strategy.fsdp, precision=Precision.fp16), "runtime.strategy (fsdp)"),
        (RuntimeConfig(strategy=Strategy.fsdp, compile=True), "runtime.strategy (fsdp)"),
    ],
)
def test_what_the_machine_cannot_do_is_refused_in_one_line(
    machine: pytest.MonkeyPatch, config: RuntimeConfig, value: str
) -> None:
    with pytest.raises(UserError) as error:
        set_up(config)
    message = str(error.value)
    assert message.startswith("runtime.")
    assert value in message
    assert "\n" not in message


def test_settings_that_no_machine_can_meet_are_refused_without_looking_at_the_machine() -> None:
    with pytest.raises(UserError):
        RuntimeConfig(device=DeviceKind.cpu, precision=Precision.fp16).validate()
    RuntimeConfig(device=DeviceKind.cuda, precision=Precision.fp16).validate()


@pytest.mark.parametrize(("device", "kept"), [(DeviceKind.cpu, True), (DeviceKind.cpu, False), (DeviceKind.cuda, True)])
def test_freed_memory_is_kept_on_a_cpu_unless_the_user_will_not(
    machine: pytest.MonkeyPatch, device: DeviceKind, kept: bool
) -> None:
    asked: list[bool] = []
    give_cuda(machine, bf16=True)
    machine.setattr(runtime, "keep_freed_memory", lambda: asked.append(True))
    set_up(RuntimeConfig(device=device, keep_freed_memory=kept))
    assert asked == [True] * (kept and device is DeviceKind.cpu)


@pytest.mark.parametrize(("threads", "words"), [(1, "CPU (1 thread), fp32"), (2, "CPU (2 threads), fp32")])
def test_threads_are_set_and_described(machine: pytest.MonkeyPatch, threads: int, words: str) -> None:
    assert set_up(RuntimeConfig(num_threads=threads)).describe() == words
    assert torch.get_num_threads() == threads
    set_up(RuntimeConfig())
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("precision", "dtype"), [(Precision.fp32, torch.float32), (Precision.bf16, torch.bfloat16)])
def test_autocast_multiplies_in_the_precision(precision: Precision, dtype: torch.dtype) -> None:
    chosen = Runtime(torch.device("cpu"), precision)
    for _ in range(2):  # a context can be asked for again
        with chosen.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize("name", ["auto", "cpu", "gpu"])
def test_every_runtime_config_fits_the_schema(name: str) -> None:
    given = OmegaConf.load(CONFIGS / f"{name}.yaml")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RuntimeConfig), given))
    assert isinstance(config, RuntimeConfig)
    config.validate()
    assert given.keys() == vars(config).keys()
    assert config.device is {"auto": DeviceKind.auto, "cpu": DeviceKind.cpu, "gpu": DeviceKind.cuda}[name]


def test_the_default_config_says_what_the_schema_says() -> None:
    given = OmegaConf.load(CONFIGS / "auto.yaml")
    assert OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RuntimeConfig), given)) == RuntimeConfig()


# Seeds


def draw() -> tuple[float, ...]:
    return (random.random(), float(np.random.random()), float(torch.rand(())))


def draw_at(seed: int, step: int, rank: int = 0) -> tuple[float, ...]:
    seed_step(seed, step, rank)
    return draw()


def test_random_numbers_depend_on_seed_step_and_rank_alone() -> None:
    first = draw_at(1, 2, 3)
    draw()
    assert draw_at(1, 2, 3) == first


def test_no_two_steps_ranks_or_near_seeds_share_random_numbers() -> None:
    draws = [draw_at(seed, step, rank) for seed in range(8) for step in range(40) for rank in range(4)]
    for generator in zip(*draws, strict=True):
        assert len(set(generator)) > 0.999 * len(draws)  # torch.rand has only 2**24 values


def test_random_numbers_of_neighbouring_steps_look_independent() -> None:
    for values in zip(*(draw_at(0, step) for step in range(2000)), strict=True):
        assert abs(statistics.mean(values) - 0.5) < 0.03
        assert abs(float(np.corrcoef(values[:-1], values[1:])[0, 1])) < 0.1


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**80])
def test_every_integer_is_a_seed(seed: int) -> None:
    seed_step(seed, 10**12, 5)


def test_seeding_costs_nothing_beside_a_step() -> None:
    durations = []
    for step in range(200):
        start = time.perf_counter()
        seed_step(0, step)
        durations.append(time.perf_counter() - start)
    assert statistics.median(durations) < 100e-6


# Logs


def test_only_warnings_carry_their_level_on_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    package_logger = logging.getLogger("summarizer.training.trainer")
    package_logger.debug("unseen")
    package_logger.info("plain %d", 1)
    package_logger.warning("careful")
    package_logger.error("broken")
    captured = capsys.readouterr()
    assert captured.err == "plain 1\nwarning: careful\nerror: broken\n"
    assert captured.out == ""


def test_configuring_again_says_nothing_twice(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for _ in range(2):
        configure_logging(tmp_path / "train.log")
    logging.getLogger("summarizer").info("once")
    assert capsys.readouterr().err == "once\n"
    assert (tmp_path / "train.log").read_text().count("once") == 1


def test_the_log_file_has_times_and_goes_on_after_a_resume(tmp_path: Path) -> None:
    for word in ("first", "é"):
        configure_logging(tmp_path / "train.log")
        logging.getLogger("summarizer").warning(word)
    lines = (tmp_path / "train.log").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["WARNING first", "WARNING é"]
    assert all(line.startswith("2") and line[10] == " " for line in lines)


def test_a_log_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.log cannot be written"):
        configure_logging(tmp_path / "missing" / "train.log")
