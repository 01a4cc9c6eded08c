"""A model's size in; the same Transformer as other libraries build it, with random weights, out.

Everything here is optional: ``pip install -e ".[peers]"`` brings it. Each is set up as its documentation recommends for
speed (fused attention, fused optimizer), and to do the same work: sizes, dropout after embeddings and sub-layers and
nowhere else, cross-entropy over real target tokens.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from summarizer.data.batch import Batch
from summarizer.model.config import TransformerConfig
from summarizer.model.masks import length_mask
from summarizer.tokenizer import END_ID, PAD_ID, START_ID

_NOT_A_TARGET = -100  # what all of them leave out of the loss

Loss = Callable[[Batch], Tensor]


@dataclass(frozen=True)
class Peer:
    """Somebody else's Transformer that can be trained."""

    name: str
    package: str | None  # that has to be installed beside PyTorch
    build: Callable[[TransformerConfig, int], tuple[nn.Module, Loss]]  # of a size and a vocabulary
    note: str = ""  # what is not quite the same, for people


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def training_loop(
    model: nn.Module, loss: Loss, autocast: Callable[[], AbstractContextManager[object]], device: torch.device
) -> Callable[[Batch], float]:
    """One update of a batch, as every tutorial writes it, with PyTorch's fused AdamW."""
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def update(batch: Batch) -> float:
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            value = loss(batch.to(device))
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return value.item()

    return update


def bart(config: TransformerConfig, vocab_size: int) -> Any:
    """BartForConditionalGeneration of Hugging Face transformers, which normalises after each sub-layer."""
    from transformers import BartConfig, BartForConditionalGeneration

    return BartForConditionalGeneration(
        BartConfig(
            vocab_size=vocab_size,
            d_model=config.width,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            encoder_attention_heads=config.num_heads,
            decoder_attention_heads=config.num_heads,
            encoder_ffn_dim=config.feed_forward_size,
            decoder_ffn_dim=config.feed_forward_size,
            dropout=config.dropout,
            attention_dropout=0.0,
            activation_dropout=0.0,
            activation_function="relu",
            max_position_embeddings=config.max_positions,
            pad_token_id=PAD_ID,
            bos_token_id=START_ID,
            eos_token_id=END_ID,
            decoder_start_token_id=START_ID,
            forced_eos_token_id=None,
        )
    )


def bart_loss(model: Any) -> Loss:
    def loss(batch: Batch) -> Tensor:
        value: Tensor = model(
            input_ids=batch.source_BS,
            attention_mask=_source_mask(batch).long(),
            decoder_input_ids=batch.decoder_input_BT,
            labels=_labels(batch),
            use_cache=False,
        ).loss
        return value

    return loss


class TorchTransformer(nn.Module):
    """torch.nn.Transformer with the embeddings and the projection that it leaves to its user."""

    def __init__(self, config: TransformerConfig, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.width)
        self.positions = nn.Embedding(config.max_positions, config.width)
        self.dropout = nn.Dropout(config.dropout)
        # It tells everybody that normalising first rules nested tensors out, which padding masks of training do too.
        warnings.filterwarnings("ignore", message="enable_nested_tensor is True")
        self.transformer = nn.Transformer(
            config.width,
            config.num_heads,
            config.encoder_layers,
            config.decoder_layers,
            config.feed_forward_size,
            config.dropout,
            batch_first=True,
            norm_first=True,
        )
        for layer in (*self.transformer.encoder.layers, *self.transformer.decoder.layers):
            for module in layer.modules():
                if isinstance(module, nn.MultiheadAttention):
                    module.dropout = 0.0
            layer.dropout.p = 0.0  # within the feed-forward network

    def forward(self, batch: Batch) -> Tensor:
        """The mean cross-entropy of the real target tokens."""
        padding_BS = ~_source_mask(batch)
        length = batch.target_BT.shape[1]
        hidden_BTD = self.transformer(
            self._embed(batch.source_BS),
            self._embed(batch.decoder_input_BT),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(length, device=batch.target_BT.device),
            tgt_is_causal=True,
            src_key_padding_mask=padding_BS,
            memory_key_padding_mask=padding_BS,
        )
        logits_BTV = F.linear(hidden_BTD, self.embedding.weight)
        return F.cross_entropy(logits_BTV.flatten(0, 1).float(), _labels(batch).flatten(), ignore_index=_NOT_A_TARGET)

    def _embed(self, token_BT: Tensor) -> Tensor:
        positions_T = torch.arange(token_BT.shape[1], device=token_BT.device)
        embedded_BTD = self.embedding(token_BT) * math.sqrt(self.embedding.embedding_dim) + self.positions(positions_T)
        dropped_BTD: Tensor = self.dropout(embedded_BTD)
        return dropped_BTD


def x_transformer(config: TransformerConfig, vocab_size: int) -> Any:
    """XTransformer of x-transformers; both sides share an embedding, the projection has weights of its own."""
    from x_transformers import XTransformer

    sides = {
        f"{side}_{name}": value
        for side, layers in (("enc", config.encoder_layers), ("dec", config.decoder_layers))
        for name, value in {
            "num_tokens": vocab_size,
            "depth": layers,
            "heads": config.num_heads,
            "max_seq_len": config.max_positions,
            "attn_flash": True,
            "attn_dim_head": config.width // config.num_heads,
            "emb_dropout": config.dropout,
            "ff_dropout": config.dropout,
            "ff_mult": config.feed_forward_size / config.width,
        }.items()
    }
    return XTransformer(dim=config.width, **sides, tie_token_emb=True, ignore_index=_NOT_A_TARGET, pad_value=PAD_ID)


def x_transformer_loss(model: Any) -> Loss:
    def loss(batch: Batch) -> Tensor:
        whole_BU = torch.cat((batch.decoder_input_BT[:, :1], _labels(batch)), dim=1)
        value: Tensor = model(batch.source_BS, whole_BU, mask=_source_mask(batch))
        return value

    return loss


def _bart_with_loss(config: TransformerConfig, vocab_size: int) -> tuple[nn.Module, Loss]:
    model = bart(config, vocab_size)
    return model, bart_loss(model)


def _torch_transformer_with_loss(config: TransformerConfig, vocab_size: int) -> tuple[nn.Module, Loss]:
    model = TorchTransformer(config, vocab_size)
    return model, model


def _x_transformer_with_loss(config: TransformerConfig, vocab_size: int) -> tuple[nn.Module, Loss]:
    model = x_transformer(config, vocab_size)
    return model, x_transformer_loss(model)


PEERS = (
    Peer("Hugging Face BART", "transformers", _bart_with_loss),
    Peer("torch.nn.Transformer", None, _torch_transformer_with_loss),
    Peer("x-transformers", "x_transformers", _x_transformer_with_loss, "dropout within feed-forward networks"),
)


def _source_mask(batch: Batch) -> Tensor:
    return length_mask(batch.source_lengths_B, batch.source_BS.shape[1])


def _labels(batch: Batch) -> Tensor:
    mask_BT = length_mask(batch.target_lengths_B, batch.target_BT.shape[1])
    return batch.target_BT.masked_fill(~mask_BT, _NOT_A_TARGET)
