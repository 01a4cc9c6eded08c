"""A model's size and documents in; beam search of a fixed length, by us and by our peers, as a contest out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from summarizer.benchmark.contest import OURS, Contender, Contest, Work
from summarizer.benchmark.ctranslate2_model import can_export, export
from summarizer.benchmark.peers import bart, is_installed
from summarizer.benchmark.workload import random_sources, require_positive
from summarizer.decoding.beam import beam_search
from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.next_token import ModelNextToken
from summarizer.decoding.search import NextToken, SpecialIds
from summarizer.decoding.static_next_token import StaticNextToken, StaticSteps
from summarizer.decoding.twin import made_for_inference
from summarizer.model.config import TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.runtime import Precision, Runtime, RuntimeConfig, seed_step, set_up, set_up_plainly
from summarizer.tokenizer import END_ID, PAD_ID, START_ID, UNK_ID

_CTRANSLATE2_TYPES = {
    Precision.fp32: "float32",
    Precision.bf16: "bfloat16",
    Precision.fp16: "float16",
    Precision.int8: "int8",
}
_NEVER = (PAD_ID, UNK_ID, START_ID, END_ID)  # nobody ends before new_tokens


@dataclass(kw_only=True)
class DecodingWorkload:
    """What one timing of ``what=decode`` does: encode documents of one length, and write as much for each."""

    documents: int = 32
    source_tokens: int = 400
    new_tokens: int = 50
    beam_size: int = 4

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        require_positive(self, "decode", ("documents", "source_tokens", "new_tokens", "beam_size"))


@dataclass(frozen=True)
class Task:
    """What all contenders decode, and with what."""

    config: TransformerConfig
    vocab_size: int
    workload: DecodingWorkload
    seed: int
    runtime: RuntimeConfig

    def source_BS(self) -> Tensor:  # noqa: N802 - the shape of what it returns
        return random_sources(self.workload.documents, self.workload.source_tokens, self.vocab_size, seed=self.seed)

    def model(self, device: torch.device) -> Transformer:
        """The same in every process. Its weights may have gradients, as those of a run do: of others, autocast would
        keep no copies.
        """
        seed_step(self.seed, 0)
        return Transformer(self.config, self.vocab_size).to(device).eval()


def decoding_contest(
    config: TransformerConfig,
    vocab_size: int,
    workload: DecodingWorkload,
    *,
    seed: int,
    runtime: RuntimeConfig,
    peers: bool,
) -> Contest:
    """From tokens to tokens, encoder included. Weights are random; CTranslate2 gets ours, and has to say the same."""
    task = Task(config, vocab_size, workload, seed, runtime)
    contenders = [Contender(OURS, partial(_our_search, task))]
    if peers:
        contenders += _peers(task, set_up_plainly(runtime))
    return Contest(
        title=(
            f"Decoding, {workload.documents} documents of {workload.source_tokens} tokens, "
            f"{workload.new_tokens} new ones each, beam {workload.beam_size}, encoder included"
        ),
        unit="new tokens",
        amount=workload.documents * workload.new_tokens,
        contenders=contenders,
    )


def _our_search(task: Task) -> Work:
    runtime = set_up(task.runtime)
    return our_search(task.model(runtime.device), task.source_BS(), task.workload, runtime)


def our_search(
    model: Transformer, source_BS: Tensor, workload: DecodingWorkload, runtime: Runtime
) -> Callable[[], list[list[int]]]:
    """The best hypothesis of each document."""
    decoding = DecodingConfig(beam_size=workload.beam_size, max_tokens=workload.new_tokens, no_repeat_ngram_size=0)
    special = SpecialIds(start=START_ID, end=END_ID, never=_NEVER)
    source_BS = source_BS.to(runtime.device)
    mask_BS = torch.ones_like(source_BS, dtype=torch.bool)
    searched, context = made_for_inference(model, runtime)

    def run() -> list[list[int]]:
        with torch.inference_mode(), context():
            cache = searched.start_cache(
                source_BS,
                searched.encode(source_BS, mask_BS),
                mask_BS,
                num_beams=workload.beam_size,
                max_length=workload.new_tokens,
            )
            next_token: NextToken = ModelNextToken(searched, cache)
            if runtime.cuda_graphs:
                next_token = StaticNextToken(StaticSteps(searched), cache)
            found = beam_search(
                next_token,
                num_documents=len(source_BS),
                config=decoding,
                special=special,
                device=runtime.device,
            )
        return [hypotheses[0].ids for hypotheses in found]

    return run


def _peers(task: Task, runtime: Runtime) -> Iterator[Contender]:
    if is_installed("transformers") and runtime.precision is not Precision.int8:
        yield Contender("Hugging Face BART", partial(_bart_search, task))
    if is_installed("ctranslate2") and can_export(task.config) and _ctranslate2_can(runtime):
        yield Contender("CTranslate2", partial(_ctranslate2_search, task))


def _bart_search(task: Task) -> Work:
    runtime, workload = set_up_plainly(task.runtime), task.workload
    seed_step(task.seed, 0)
    peer = bart(task.config, task.vocab_size).to(runtime.device).eval()
    source_BS = task.source_BS().to(runtime.device)

    def run() -> Any:
        with torch.inference_mode(), runtime.autocast():
            return peer.generate(
                input_ids=source_BS,
                attention_mask=torch.ones_like(source_BS),
                num_beams=workload.beam_size,
                max_new_tokens=workload.new_tokens,
                min_new_tokens=workload.new_tokens,
                do_sample=False,
            )

    return run


def _ctranslate2_can(runtime: Runtime) -> bool:
    """Whether it has the device, and there the precision: bf16 it has on few processors."""
    import ctranslate2

    kind = runtime.device.type
    if kind == "cuda" and ctranslate2.get_cuda_device_count() == 0:
        return False
    return _CTRANSLATE2_TYPES[runtime.precision] in ctranslate2.get_supported_compute_types(kind)


def _ctranslate2_search(task: Task) -> Work:
    import ctranslate2

    runtime, workload = set_up_plainly(task.runtime), task.workload
    with tempfile.TemporaryDirectory() as folder:
        export(task.model(torch.device("cpu")), f"{folder}/model")
        translator = ctranslate2.Translator(
            f"{folder}/model",
            device=runtime.device.type,
            intra_threads=torch.get_num_threads(),
            compute_type=_CTRANSLATE2_TYPES[runtime.precision],
        )
    tokens = [[str(token) for token in row] for row in task.source_BS().tolist()]

    def run() -> list[list[int]]:
        results = translator.translate_batch(
            tokens,
            beam_size=workload.beam_size,
            max_decoding_length=workload.new_tokens,
            min_decoding_length=workload.new_tokens,
            suppress_sequences=[[str(token)] for token in _NEVER],
            max_batch_size=len(tokens),
        )
        return [[int(token) for token in result.hypotheses[0]] for result in results]

    return run
