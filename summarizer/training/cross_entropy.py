"""Decoder output and targets in; cross-entropy summed over tokens, and its gradient, out.

The logits of a batch are the largest tensor of a training step, and no two chunks of them exist at once. What is left
of a chunk is its share of the loss and of the gradients, which are computed while its logits are at hand: the backward
pass then has nothing to compute again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from summarizer.model.pointer import at_least_float32, raised_by_copying

MAX_LOGITS = 2**23  # elements of one chunk's logits: 32 MiB in float32


@dataclass(frozen=True)
class LossSums:
    """Sums over target tokens, to be divided by the number of tokens of the whole update. Scalars on the device."""

    loss: Tensor  # what training lowers, differentiable: label-smoothed cross-entropy, and coverage if asked for
    nll: Tensor  # -log p(target), whose mean's exponential is the perplexity
    correct: Tensor  # tokens that were the most probable one
    pointer: Mapping[str, Tensor] = field(default_factory=dict)  # what a model with a pointer can tell besides


class Pointing(NamedTuple):
    """What the pointer says of N target tokens."""

    log_weights_NS: Tensor
    gate_N: Tensor
    slot_NS: Tensor
    token_NU: Tensor


def chunked_cross_entropy(
    hidden_ND: Tensor,
    target_N: Tensor,
    vocabulary: nn.Linear,
    pointing: Pointing | None = None,
    *,
    label_smoothing: float,
) -> LossSums:
    """Cross-entropy summed over N tokens. Its backward pass can be taken once.

    :param vocabulary: projects to logits, without a bias.
    """
    if torch.is_grad_enabled():
        # Autograd sees tensors that are arguments, and none within a tuple.
        copied = (None, None) if pointing is None else (pointing.log_weights_NS, pointing.gate_N)
        arguments = (hidden_ND, vocabulary.weight, *copied, pointing, target_N, label_smoothing)
        sums: Tensor = _CrossEntropy.apply(*arguments)  # type: ignore[no-untyped-call]
    else:
        sums = _chunk_by_chunk(hidden_ND, vocabulary.weight, pointing, target_N, label_smoothing, gradient=False)[0]
    loss, nll, correct, p_gen, copy_rate = sums.unbind()
    details = {} if pointing is None else {"p_gen": p_gen.detach(), "copy_rate": copy_rate.detach()}
    return LossSums(loss, nll.detach(), correct.detach(), details)


class _CrossEntropy(torch.autograd.Function):
    """Has the gradients of the first sum, the loss, ready when the backward pass comes."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        log_weights_NS: Tensor | None,
        gate_N: Tensor | None,
        pointing: Pointing | None,
        target_N: Tensor,
        label_smoothing: float,
    ) -> Tensor:
        sums, ctx.gradients = _chunk_by_chunk(hidden_ND, weight_VD, pointing, target_N, label_smoothing, gradient=True)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sums: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradient of the cross-entropy was handed out already, and is not kept")
        gradients, ctx.gradients = ctx.gradients, None
        return (*(None if each is None else each.mul_(grad_sums[0]) for each in gradients), None, None, None)


def _chunk_by_chunk(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    pointing: Pointing | None,
    target_N: Tensor,
    label_smoothing: float,
    *,
    gradient: bool,
) -> tuple[Tensor, list[Tensor | None]]:
    """Loss, nll, correct, p_gen and copy rate, summed; and, if asked for, the gradients of the loss for the hidden
    vectors, the weights, and the pointer's weights and gates."""
    device = hidden_ND.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_ND.dtype
    low_weight_VD = weight_VD.detach().to(low)  # once for all chunks
    grad_weight_VD: Tensor | None = None
    rows = max(1, MAX_LOGITS // len(weight_VD))
    all_sums, all_gradients = [], []
    with torch.no_grad(), torch.autocast(device, enabled=False):
        # No token at all is a chunk too: its loss is 0 and has a gradient.
        for start in range(0, max(1, len(target_N)), rows):
            chunk = slice(start, start + rows)
            low_hidden_ND = hidden_ND[chunk].to(low)
            logits_NV = at_least_float32(F.linear(low_hidden_ND, low_weight_VD))
            pointing_of_chunk = None if pointing is None else Pointing(*(tensor[chunk] for tensor in pointing))
            tokens = _Chunk(logits_NV, target_N[chunk], pointing_of_chunk, label_smoothing)
            all_sums.append(tokens.sums())
            if gradient:
                grad_logits_NV, of_pointing = tokens.gradients()
                low_gradient_NV = grad_logits_NV.to(low)
                grad_weight_VD = _raised(grad_weight_VD, low_gradient_NV.t(), low_hidden_ND, weight_VD.dtype)
                all_gradients.append([(low_gradient_NV @ low_weight_VD).to(hidden_ND.dtype), *of_pointing])
                del grad_logits_NV, low_gradient_NV
            del logits_NV, tokens  # before the next chunk needs as much
    if not gradient:
        return torch.stack(all_sums).sum(dim=0), []
    grad_hidden_ND, *of_pointing = (torch.cat(parts) for parts in zip(*all_gradients, strict=True))
    return torch.stack(all_sums).sum(dim=0), [grad_hidden_ND, grad_weight_VD, *(of_pointing or (None, None))]


def _raised(total_VD: Tensor | None, grad_VN: Tensor, hidden_ND: Tensor, dtype: torch.dtype) -> Tensor:
    """``total_VD`` and the product; no second matrix of ``dtype`` exists meanwhile."""
    if total_VD is None:
        return (grad_VN @ hidden_ND).to(dtype)
    if grad_VN.dtype is dtype:
        return total_VD.addmm_(grad_VN, hidden_ND)
    return total_VD.add_(grad_VN @ hidden_ND)


class _Needed(NamedTuple):
    """All that the loss of N tokens asks of their logits and of the pointer."""

    log_normalizer_N: Tensor
    target_logit_N: Tensor
    mean_logit_N: Tensor
    logit_NU: Tensor | None = None  # of what the pointer could copy
    log_weights_NS: Tensor | None = None
    gate_N: Tensor | None = None

    def to_differentiate(self) -> _Needed:
        leaves = {name: each.detach().requires_grad_() for name, each in self._asdict().items() if each is not None}
        return _Needed(**leaves)


class _Chunk:
    """Some tokens. Their losses are functions of few numbers of each row of logits, by which autograd differentiates;
    the step from those to the logits themselves is taken by hand, in the memory of the logits, which are used up.
    """

    def __init__(self, logits_NV: Tensor, target_N: Tensor, pointing: Pointing | None, label_smoothing: float) -> None:
        self.target_N, self.pointing, self.label_smoothing = target_N, pointing, label_smoothing
        self.vocab_size = logits_NV.shape[-1]
        self.best_logit_N = logits_NV.amax(dim=-1)
        target_logit_N = logits_NV.gather(1, target_N[:, None]).squeeze(1)
        mean_logit_N = logits_NV.mean(dim=-1)
        logit_NU = None if pointing is None else logits_NV.gather(1, pointing.token_NU)
        self.softmax_NV = logits_NV.sub_(self.best_logit_N[:, None]).exp_()  # not yet divided by its sum
        self.sum_N = self.softmax_NV.sum(dim=-1)
        self.needed = _Needed(self.best_logit_N + self.sum_N.log(), target_logit_N, mean_logit_N, logit_NU)
        if pointing is not None:
            self.needed = self.needed._replace(log_weights_NS=pointing.log_weights_NS, gate_N=pointing.gate_N)

    def sums(self) -> Tensor:
        """Loss, nll, correct, p_gen and copy rate."""
        return self._values(self.needed).sum(dim=-1)

    def gradients(self) -> tuple[Tensor, list[Tensor]]:
        """Of the summed loss: for the logits, and for the pointer's weights and gates if there is one."""
        needed = self.needed.to_differentiate()
        leaves = [each for each in needed if each is not None]
        with torch.enable_grad():
            loss = self._values(needed)[0].sum()
        slopes = torch.autograd.grad(loss, leaves, materialize_grads=True)
        of_normalizer_N, of_target_N, of_mean_N, *of_pointer = slopes
        grad_logits_NV = self.softmax_NV.mul_((of_normalizer_N / self.sum_N)[:, None])
        if self.label_smoothing > 0:
            grad_logits_NV.add_((of_mean_N / self.vocab_size)[:, None])
        if self.pointing is not None:
            grad_logits_NV.scatter_add_(1, self.pointing.token_NU, of_pointer[0])
        grad_logits_NV.scatter_add_(1, self.target_N[:, None], of_target_N[:, None])
        return grad_logits_NV, list(of_pointer[1:])

    def _values(self, needed: _Needed) -> Tensor:
        """Loss, nll, correct, p_gen and copy rate of each token: (5, N).

        With a pointer, P(w) is what generating w gives, raised.
        """
        log_normalizer_N, target_logit_N, mean_logit_N, logit_NU, log_weights_NS, gate_N = needed
        best_logit_N = self.best_logit_N
        p_gen_N = copied_N = torch.zeros_like(target_logit_N)
        if self.pointing is not None:
            assert logit_NU is not None
            assert log_weights_NS is not None
            assert gate_N is not None
            token_NU, slot_NS = self.pointing.token_NU, self.pointing.slot_NS
            raise_NU = raised_by_copying(logit_NU - log_normalizer_N[:, None], log_weights_NS, gate_N, slot_NS)
            target_raise_N = (raise_NU * (token_NU == self.target_N[:, None])).sum(dim=-1)
            log_normalizer_N = log_normalizer_N - F.logsigmoid(gate_N)
            target_logit_N = target_logit_N + target_raise_N
            best_logit_N = torch.maximum(best_logit_N, (logit_NU + raise_NU).amax(dim=-1))
            mean_logit_N = mean_logit_N + raise_NU.sum(dim=-1) / self.vocab_size
            p_gen_N, copied_N = gate_N.sigmoid(), -torch.expm1(-target_raise_N)
        nll_N = log_normalizer_N - target_logit_N
        loss_N = nll_N
        if self.label_smoothing > 0:
            loss_N = torch.lerp(nll_N, log_normalizer_N - mean_logit_N, self.label_smoothing)
        correct_N = (target_logit_N >= best_logit_N).to(nll_N.dtype)
        return torch.stack((loss_N, nll_N, correct_N, p_gen_N, copied_N))
