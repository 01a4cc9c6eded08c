"""How often a search makes the host wait for what the device has computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from summarizer.decoding import beam
from summarizer.decoding.beam import beam_search
from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.sampling import sample
from summarizer.decoding.search import SpecialIds

STEPS, DOCUMENTS, VOCABULARY = 12, 3, 40
SPECIAL = SpecialIds(start=0, end=1, never=(0,))
ANSWERS = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero"}  # operations that a host waits for


class Questions(TorchDispatchMode):
    """Counts such operations."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function.overloadpacket.__name__ in ANSWERS
        return function(*args, **(kwargs or {}))


class Endless:
    """A next-token function without memory, whose end is out of reach. It notes the questions before each step."""

    def __init__(self, questions: Questions) -> None:
        self.questions, self.before = questions, [0]

    def __call__(self, token_BW: Tensor, step: int) -> Tensor:
        self.before.append(self.questions.count)
        logits_BWV = torch.randn(*token_BW.shape, VOCABULARY, generator=torch.Generator().manual_seed(step))
        logits_BWV[..., SPECIAL.end] = -1e4
        return logits_BWV

    def penalty(self) -> None:
        return None

    def reorder(self, parent_BW: Tensor) -> None: ...

    def keep(self, documents_B: Tensor) -> None:
        raise AssertionError("nobody leaves before the last step")


def searched(next_token: Endless, config: DecodingConfig) -> None:
    beam_search(next_token, num_documents=DOCUMENTS, config=config, special=SPECIAL, device=torch.device("cpu"))


def sampled(next_token: Endless, config: DecodingConfig) -> None:
    seeds = [[document, 9] for document in range(DOCUMENTS)]
    sample(next_token, seeds=seeds, config=config, special=SPECIAL, device=torch.device("cpu"))


@pytest.mark.parametrize("search", [searched, sampled])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_step_waits_once_for_the_device(
    search: Callable[[Endless, DecodingConfig], None], groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beam, "_most_probable", beam._most_probable_despite_ties)  # as anywhere but on a CPU
    config = DecodingConfig(beam_size=4, beam_groups=groups, max_tokens=STEPS, min_tokens=2, no_repeat_ngram_size=3)
    with Questions() as questions:
        next_token = Endless(questions)
        search(next_token, config)
    waits = [after - before for before, after in zip(next_token.before[1:], next_token.before[2:], strict=False)]
    assert waits == [1] * (STEPS - 1)
