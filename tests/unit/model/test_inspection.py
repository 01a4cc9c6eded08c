"""The weights we draw are those the model used."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.config import AttentionConfig, AttentionSites, ScoreKind, TransformerConfig
from summarizer.model.inspection import inspect
from summarizer.model.masks import length_mask
from summarizer.model.transformer import Transformer

SOURCE_BS = torch.tensor([[5, 6, 7, 8, 9], [6, 5, 4, 0, 0]])
MASK_BS = length_mask(torch.tensor([5, 3]), 5)
INPUT_BT = torch.tensor([[2, 7, 9, 4], [2, 5, 5, 0]])
TARGET_BT = torch.tensor([[7, 9, 4, 3], [5, 5, 3, 0]])


@pytest.fixture(params=[ScoreKind.scaled_dot, ScoreKind.additive], ids=lambda kind: kind.name)
def model(request: pytest.FixtureRequest) -> Transformer:
    """Once with an attention that is fused, once with one that never is."""
    torch.manual_seed(0)
    config = TransformerConfig(
        attention=AttentionSites(cross=AttentionConfig(score=request.param)),
        width=16,
        num_heads=2,
        encoder_layers=2,
        decoder_layers=3,
        value_dim=5,
        dropout=0.5,
        attention_dropout=0.5,
    )
    return Transformer(config, vocab_size=11)


def cross_attentions(model: Transformer) -> list[MultiHeadAttention]:
    return [module for name, module in model.named_modules() if name.endswith("cross_attention")]


def test_weights_mix_the_values_to_what_the_attention_gave(model: Transformer) -> None:
    given: list[Tensor] = []
    for attention in cross_attentions(model):
        attention.register_forward_hook(lambda module, inputs, output: given.append(output))
    weights_LBHTS = inspect(model, SOURCE_BS, MASK_BS, INPUT_BT, TARGET_BT).cross_LBHTS
    encoder_output_BSD = model.eval().encode(SOURCE_BS, MASK_BS)
    assert len(given) == len(weights_LBHTS) == 3
    for attention, weights_BHTS, output_BTD in zip(cross_attentions(model), weights_LBHTS, given, strict=True):
        mixed_BHTU = weights_BHTS @ attention.keys_values(encoder_output_BSD).value_BGSU
        torch.testing.assert_close(attention.output(mixed_BHTU.transpose(1, 2).flatten(2)), output_BTD)


def test_rows_share_out_all_attention_and_padding_gets_none(model: Transformer) -> None:
    weights_LBHTS = inspect(model, SOURCE_BS, MASK_BS, INPUT_BT, TARGET_BT).cross_LBHTS
    assert weights_LBHTS.shape == (3, 2, 2, 4, 5)
    assert weights_LBHTS.dtype == torch.float32
    torch.testing.assert_close(weights_LBHTS.sum(-1), torch.ones(3, 2, 2, 4))
    assert not weights_LBHTS[:, 1, :, :, 3:].any()
    assert weights_LBHTS[:, 0].all()


def test_a_model_without_pointer_tells_nothing_of_copying(model: Transformer) -> None:
    seen = inspect(model, SOURCE_BS, MASK_BS, INPUT_BT, TARGET_BT)
    assert seen.copy_BTS is seen.copied_BT is None


def test_looking_leaves_no_trace(model: Transformer) -> None:
    model.train()
    weights_LBHTS = inspect(model, SOURCE_BS, MASK_BS, INPUT_BT, TARGET_BT).cross_LBHTS
    assert not weights_LBHTS.requires_grad
    assert all(module.training for module in model.modules())
    assert not any(attention._forward_pre_hooks for attention in cross_attentions(model))
    model.eval()
    torch.testing.assert_close(inspect(model, SOURCE_BS, MASK_BS, INPUT_BT, TARGET_BT).cross_LBHTS, weights_LBHTS)
    assert not model.training


def test_a_failed_look_leaves_no_trace_either(model: Transformer) -> None:
    def fail(module: nn.Module, inputs: object, output: object) -> None:
        raise RuntimeError("broken")

    model.train()
    model.decoder_norm.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="broken"):
        inspect(model, SOURCE_BS, MASK_BS, INPUT_BT, TARGET_BT)
    assert model.training
    assert not any(attention._forward_pre_hooks for attention in cross_attentions(model))


def test_the_pointer_shows_what_it_copied_and_from_where() -> None:
    """By hand: of a token's probability, the part that came over each way."""
    torch.manual_seed(0)
    config = TransformerConfig(width=16, num_heads=2, encoder_layers=1, decoder_layers=1, dropout=0.5)
    config.pointer.enabled = True
    model = Transformer(config, vocab_size=11)
    seen = inspect(model, SOURCE_BS, MASK_BS, INPUT_BT, TARGET_BT)
    output = model.eval()(SOURCE_BS, MASK_BS, INPUT_BT)
    assert seen.copy_BTS is not None
    assert seen.copied_BT is not None
    torch.testing.assert_close(seen.copy_BTS.sum(-1), torch.ones(2, 4))
    p_gen_BT = output.copying.gate_BT.sigmoid().detach()
    vocabulary_BTV = model.project(output.hidden_BTD).softmax(-1).detach()
    for row, source in enumerate(SOURCE_BS.tolist()):
        for step, target in enumerate(TARGET_BT[row].tolist()[:3]):
            attention = sum(float(seen.copy_BTS[row, step, i]) for i, token in enumerate(source) if token == target)
            copied = (1 - float(p_gen_BT[row, step])) * attention
            generated = float(p_gen_BT[row, step] * vocabulary_BTV[row, step, target])
            assert float(seen.copied_BT[row, step]) == pytest.approx(copied / (copied + generated), abs=1e-5)
    assert (seen.copied_BT[0, :3] > 0).tolist() == [True, True, False]
