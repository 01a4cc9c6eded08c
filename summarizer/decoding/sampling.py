"""A next-token function in, random hypotheses of every document out: temperature, top-k and top-p sampling.

B documents still sampled, W samples of each, T generated tokens so far, V vocabulary, N = B * W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.scores import TokenRules, length_normalized
from summarizer.decoding.search import Draft, Hypothesis, NextToken, Observer, SpecialIds, hypothesis_of


def sample(
    next_token: NextToken,
    *,
    seeds: Sequence[Sequence[int]],
    config: DecodingConfig,
    special: SpecialIds,
    device: torch.device,
    prefix: Sequence[int] = (),
    observe: Observer | None = None,
) -> list[list[Hypothesis]]:
    """As many hypotheses of each document as it has seeds, in their order; ``observe`` is told about the first.

    Each is drawn with its own seed: what is drawn beside it cannot change it. Score and log-probability are the
    model's, before temperature, top-k and top-p, as in beam search.

    :param seeds: of each document, equally many.
    :param prefix: ids that every hypothesis begins with, fewer than ``config.max_tokens``.
    """
    rules = TokenRules(config, special, device, prefix)
    uniform_BWT = _uniform_numbers(seeds, config.max_tokens).to(device)
    samples = _Samples.start(len(seeds), uniform_BWT.shape[1], special.end, device)
    token_BW = torch.full_like(samples.length_BW, special.start)
    results: list[list[Hypothesis]] = [[] for _ in seeds]
    for step in range(config.max_tokens):
        choice_BWV = rules.log_probabilities(next_token(token_BW, step), samples.history_BWT)
        weight_NV, token_NV = filtered(choice_BWV.flatten(0, 1), config)
        uniform_BW = uniform_BWT[samples.document_B, :, step]
        token_BW = draw(weight_NV, token_NV, uniform_BW.flatten()).view_as(token_BW)
        samples = samples.extended(token_BW, choice_BWV.gather(-1, token_BW[..., None])[..., 0])
        if observe is not None:
            rows = zip(samples.document_B.tolist(), samples.hypotheses(config), strict=True)
            observe([Draft(document, found[0]) for document, found in rows])
        done_B = samples.ended_BW.all(dim=1) | (step + 1 == config.max_tokens)
        if not bool(done_B.any()):
            continue
        finished = samples.rows(done_B)
        for document, found in zip(finished.document_B.tolist(), finished.hypotheses(config), strict=True):
            results[document] = found
        staying_B = (~done_B).nonzero().squeeze(1)
        if len(staying_B) == 0:
            break
        next_token.keep(staying_B)
        samples = samples.rows(staying_B)
        token_BW = samples.history_BWT[..., -1]
    return results


@dataclass(frozen=True)
class _Samples:
    """The samples of the documents that still have an unfinished one."""

    document_B: Tensor  # int64, where the results of this row go
    history_BWT: Tensor  # int64, nothing but ends after the first end
    length_BW: Tensor  # int64, the end token counted
    log_probability_BW: Tensor  # float32
    ended_BW: Tensor  # bool
    end_id: int

    @staticmethod
    def start(num_documents: int, num_samples: int, end_id: int, device: torch.device) -> _Samples:
        zero_BW = torch.zeros((num_documents, num_samples), dtype=torch.int64, device=device)
        document_B = torch.arange(num_documents, device=device)
        return _Samples(document_B, zero_BW[..., None][..., :0], zero_BW, zero_BW.float(), zero_BW.bool(), end_id)

    def extended(self, token_BW: Tensor, log_probability_BW: Tensor) -> _Samples:
        """With one more token each, which those that have ended do not take."""
        token_BW = token_BW.where(~self.ended_BW, self.end_id)
        return replace(
            self,
            history_BWT=torch.cat((self.history_BWT, token_BW[..., None]), dim=-1),
            length_BW=self.length_BW + ~self.ended_BW,
            log_probability_BW=self.log_probability_BW + log_probability_BW.where(~self.ended_BW, 0.0),
            ended_BW=token_BW == self.end_id,
        )

    def rows(self, index: Tensor) -> _Samples:
        return _Samples(
            self.document_B[index],
            self.history_BWT[index],
            self.length_BW[index],
            self.log_probability_BW[index],
            self.ended_BW[index],
            self.end_id,
        )

    def hypotheses(self, config: DecodingConfig) -> list[list[Hypothesis]]:
        """Those of each row."""
        score_BW = length_normalized(self.log_probability_BW, self.length_BW, config)
        columns = (self.history_BWT, self.length_BW, score_BW, self.log_probability_BW)
        return [
            [
                hypothesis_of(history[:length], score, log_probability, self.end_id)
                for history, length, score, log_probability in zip(*row, strict=True)
            ]
            for row in zip(*(column.tolist() for column in columns), strict=True)
        ]


def filtered(log_probability_BV: Tensor, config: DecodingConfig) -> tuple[Tensor, Tensor]:
    """What to draw from: weights, which need not sum to 1, and the tokens they belong to, heaviest first.

    Temperature, then top-k, then top-p (nucleus sampling; Holtzman et al. 2020, https://arxiv.org/abs/1904.09751), then
    min-p, each applied to what the one before it left. Ties go to the lower id.
    """
    probability_BV = (log_probability_BV / config.temperature).softmax(dim=-1)
    weight_BV, token_BV = probability_BV.sort(dim=-1, descending=True, stable=True)
    if config.top_k > 0:
        weight_BV[:, config.top_k :] = 0.0
    if config.top_p < 1:
        mass_before_BV = weight_BV.cumsum(dim=-1) - weight_BV
        # The most probable token always stays: nothing comes before it.
        beyond_BV = mass_before_BV >= config.top_p * weight_BV.sum(dim=-1, keepdim=True)
        weight_BV = weight_BV.masked_fill(beyond_BV, 0.0)
    if config.min_p > 0:
        weight_BV = weight_BV.masked_fill(weight_BV < config.min_p * weight_BV[:, :1], 0.0)
    return weight_BV, token_BV


def draw(weight_BV: Tensor, token_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """The token of each row at which the running sum of its weights passes the row's share of their total."""
    cumulative_BV = weight_BV.cumsum(dim=-1)
    rank_B1 = torch.searchsorted(cumulative_BV, uniform_B[:, None] * cumulative_BV[:, -1:], right=True)
    # Rounding must not lead to what has no weight, which is all at the end.
    last_B1 = (weight_BV > 0).sum(dim=-1, keepdim=True) - 1
    return token_BV.gather(1, rank_B1.minimum(last_B1))[:, 0]


def _uniform_numbers(seeds: Sequence[Sequence[int]], count: int) -> Tensor:
    """``count`` numbers in [0, 1) per seed, made on the CPU so that every device draws the same."""
    generator = torch.Generator()
    rows = [[torch.rand(count, generator=generator.manual_seed(seed)) for seed in own] for own in seeds]
    return torch.stack([torch.stack(row) for row in rows])
