"""The coverage penalty: what a beam search pays for copying again is what the whole model's copying adds up to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from summarizer.decoding.beam import beam_search
from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.next_token import ModelNextToken
from summarizer.decoding.scores import CoveragePenalty
from summarizer.decoding.search import Hypothesis, SpecialIds
from summarizer.errors import UserError
from summarizer.model.config import PointerConfig, TransformerConfig
from summarizer.model.masks import length_mask
from summarizer.model.pointer import DistinctTokens, mixed_log_probabilities
from summarizer.model.transformer import Transformer

START, END, VOCABULARY = 2, 3, 12
SPECIAL = SpecialIds(start=START, end=END, never=(0, 1, START))
WEIGHT = 0.5


def test_charges_of_a_hypothesis_add_up_to_what_it_copied_beyond_once() -> None:
    generator = torch.Generator().manual_seed(0)
    coverage, documents, histories = CoveragePenalty(WEIGHT), [0, 1, 2], [[[]] * 2 for _ in range(3)]
    paid_BW = torch.zeros(3, 2)
    for step in range(6):
        copied_BWS = torch.rand(len(documents), 2, 4, generator=generator) ** 2
        paid_BW = paid_BW + coverage.charge(copied_BWS)
        rows = zip(histories, copied_BWS, strict=True)
        histories = [[[*past, now] for past, now in zip(*row, strict=True)] for row in rows]
        for paid_W, row in zip(paid_BW, histories, strict=True):
            for paid, history in zip(paid_W, row, strict=True):
                total_S: Tensor = sum(history, torch.zeros(4))
                expected = WEIGHT * sum(max(0.0, float(total) - 1) for total in total_S)
                assert float(paid) == pytest.approx(expected, abs=1e-5)
        if step == 3:
            coverage.keep(torch.tensor([2, 0]))
            documents, histories, paid_BW = documents[:2], [histories[2], histories[0]], paid_BW[[2, 0]]
        parent_BW = torch.randint(2, (len(documents), 2), generator=generator)
        coverage.reorder(parent_BW)
        histories = [[row[parent] for parent in parents] for row, parents in zip(histories, parent_BW, strict=True)]
        paid_BW = paid_BW.gather(1, parent_BW)
    assert paid_BW.min() > 0.1


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(1)
    config = TransformerConfig(
        width=16, num_heads=2, encoder_layers=1, decoder_layers=1, dropout=0.0, pointer=PointerConfig(enabled=True)
    )
    model = Transformer(config, VOCABULARY).double().eval().requires_grad_(False)
    assert model.pointer is not None
    for parameter in model.parameters():
        parameter.mul_(2)
    model.pointer.gate.bias.fill_(-6.0)  # copy most of the time
    return model


SOURCE_BS = torch.tensor([[5, 6, 5, 7, 3], [8, 3, 0, 0, 0], [9, 10, 11, 3, 0]])
MASK_BS = length_mask(torch.tensor([5, 2, 4]), 5)


def searched(model: Transformer, coverage_penalty: float) -> list[list[Hypothesis]]:
    config = DecodingConfig(beam_size=3, max_tokens=9, no_repeat_ngram_size=0, coverage_penalty=coverage_penalty)
    cache = model.start_cache(SOURCE_BS, model.encode(SOURCE_BS, MASK_BS), MASK_BS, num_beams=3, max_length=9)
    next_token = ModelNextToken(model, cache, coverage_penalty=coverage_penalty)
    return beam_search(next_token, num_documents=3, config=config, special=SPECIAL, device=torch.device("cpu"))


def charged(model: Transformer, document: int, ids: list[int], coverage_penalty: float) -> float:
    """Log-probability of a hypothesis less its penalty, from the whole model and without a cache."""
    target_1T = torch.tensor([[*ids, END][:9]])
    input_1T = torch.cat((torch.tensor([[START]]), target_1T[:, :-1]), dim=1)
    source_1S = SOURCE_BS[document, None]
    output = model(source_1S, MASK_BS[document, None], input_1T)
    assert output.copying is not None
    tokens = DistinctTokens.of(source_1S)
    log_probability_1TV = mixed_log_probabilities(model.project(output.hidden_BTD), output.copying, tokens)
    copied_S = output.copying.copied()[0].sum(dim=0)
    excess = (copied_S - 1).clamp_min(0).sum()
    return float(log_probability_1TV.gather(-1, target_1T[..., None]).sum() - coverage_penalty * excess)


@torch.no_grad()
def test_hypotheses_are_compared_by_log_probability_less_penalty(model: Transformer) -> None:
    plain, penalised = searched(model, 0.0), searched(model, 2.0)
    assert [found[0].ids for found in plain] != [found[0].ids for found in penalised]
    for coverage_penalty, results in ((0.0, plain), (2.0, penalised)):
        for document, found in enumerate(results):
            for one in found:
                expected = charged(model, document, one.ids, coverage_penalty)
                assert one.log_probability == pytest.approx(expected, rel=1e-4)
                assert one.score == pytest.approx(expected / min(9, len(one.ids) + 1), rel=1e-4)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_penalty_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(UserError, match="coverage_penalty"):
        DecodingConfig(coverage_penalty=value).validate()
