"""Everybody decodes what they are asked to, and CTranslate2, which gets our weights, says what we say."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from summarizer.benchmark import decoding
from summarizer.benchmark.contest import OURS
from summarizer.benchmark.ctranslate2_model import can_export
from summarizer.benchmark.decoding import DecodingWorkload, decoding_contest, our_search
from summarizer.benchmark.workload import random_sources
from summarizer.model.config import PointerConfig, TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.runtime import DeviceKind, Precision, Runtime, RuntimeConfig

CONFIG = TransformerConfig(width=16, num_heads=2, encoder_layers=2, decoder_layers=2, dropout=0.0)
WORKLOAD = DecodingWorkload(documents=3, source_tokens=12, new_tokens=7, beam_size=2)
RUNTIME = RuntimeConfig(device=DeviceKind.cpu, precision=Precision.fp32, num_threads=1, keep_freed_memory=False)


def test_we_write_as_many_tokens_as_asked_and_never_end() -> None:
    contest = decoding_contest(CONFIG, 60, WORKLOAD, seed=1, runtime=RUNTIME, peers=False)
    (ours,) = contest.contenders
    run = ours.prepare()
    found = run()
    assert isinstance(found, list)
    assert (ours.name, contest.amount) == (OURS, 21)
    assert [len(ids) for ids in found] == [7, 7, 7]
    assert all(token > 3 for ids in found for token in ids)
    assert run() == found


def test_ctranslate2_says_the_same_with_the_same_weights() -> None:
    pytest.importorskip("ctranslate2")
    contest = decoding_contest(CONFIG, 60, WORKLOAD, seed=1, runtime=RUNTIME, peers=True)
    found = {
        contender.name: contender.prepare()()
        for contender in contest.contenders
        if contender.name != "Hugging Face BART"
    }
    assert found["CTranslate2"] == found[OURS]


@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16, Precision.int8])
def test_every_precision_of_a_cpu_is_timed(precision: Precision) -> None:
    torch.manual_seed(0)
    source_BS = random_sources(3, 12, 60, seed=1)
    run = our_search(Transformer(CONFIG, 60).eval(), source_BS, WORKLOAD, Runtime(torch.device("cpu"), precision))
    assert [len(ids) for ids in run()] == [7, 7, 7]


def test_models_that_ctranslate2_does_not_know_are_left_out() -> None:
    assert can_export(CONFIG)
    assert not can_export(TransformerConfig(pointer=PointerConfig(enabled=True)))


@pytest.mark.parametrize(
    ("kind", "precision", "expected"),
    [
        ("cpu", Precision.fp32, True),
        ("cpu", Precision.int8, True),
        ("cpu", Precision.bf16, False),
        ("cuda", Precision.fp32, False),
    ],
)
def test_ctranslate2_is_left_out_where_it_lacks_device_or_precision(
    monkeypatch: pytest.MonkeyPatch, kind: str, precision: Precision, expected: bool
) -> None:
    library = SimpleNamespace(
        get_cuda_device_count=lambda: 0, get_supported_compute_types=lambda kind: {"float32", "int8", "int8_float32"}
    )
    monkeypatch.setitem(sys.modules, "ctranslate2", library)
    assert decoding._ctranslate2_can(Runtime(torch.device(kind), precision)) == expected
