"""A next-token function in, one random hypothesis per document out: temperature, top-k and top-p sampling.

B documents still sampled, T generated tokens so far, V vocabulary. The 1 in a shape is the single beam.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from summarizer.decoding.scores import TokenRules, length_normalized
from summarizer.decoding.search import DecodingConfig, Hypothesis, NextToken, SpecialIds


def sample(
    next_token: NextToken,
    *,
    seeds: Sequence[int],
    config: DecodingConfig,
    special: SpecialIds,
    device: torch.device,
) -> list[Hypothesis]:
    """One hypothesis per document, drawn with its own seed: its neighbours in the batch cannot change it.

    Score and log-probability are the model's, before temperature, top-k and top-p, as in beam search.
    """
    rules = TokenRules(config, special, device)
    uniform_BT = _uniform_numbers(seeds, config.max_tokens).to(device)
    history_BT = torch.empty((len(seeds), 0), dtype=torch.int64, device=device)
    log_probability_B = torch.zeros(len(seeds), device=device)
    document_B = torch.arange(len(seeds), device=device)
    token_B = torch.full((len(seeds),), special.start, device=device)
    results: dict[int, Hypothesis] = {}
    for step in range(config.max_tokens):
        logits_B1V = next_token(token_B[:, None], step)
        choice_BV = rules.log_probabilities(logits_B1V, history_BT[:, None])[:, 0]
        token_B = draw(*filtered(choice_BV, config), uniform_BT[document_B, step])
        log_probability_B = log_probability_B + choice_BV.gather(1, token_B[:, None])[:, 0]
        history_BT = torch.cat((history_BT, token_B[:, None]), dim=1)
        done_B = token_B == special.end if step + 1 < config.max_tokens else torch.ones_like(token_B).bool()
        if not bool(done_B.any()):
            continue
        finished = _hypotheses(history_BT[done_B], log_probability_B[done_B], config, special.end)
        results.update(zip(document_B[done_B].tolist(), finished, strict=True))
        staying_B = (~done_B).nonzero().squeeze(1)
        if len(staying_B) == 0:
            break
        next_token.keep(staying_B)
        token_B, history_BT = token_B[staying_B], history_BT[staying_B]
        log_probability_B, document_B = log_probability_B[staying_B], document_B[staying_B]
    return [results[document] for document in range(len(seeds))]


def filtered(log_probability_BV: Tensor, config: DecodingConfig) -> tuple[Tensor, Tensor]:
    """What to draw from: weights, which need not sum to 1, and the tokens they belong to, heaviest first.

    Temperature, then top-k, then top-p (nucleus sampling; Holtzman et al. 2020, https://arxiv.org/abs/1904.09751),
    each applied to what the one before it left. Ties go to the lower id.
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
    return weight_BV, token_BV


def draw(weight_BV: Tensor, token_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """The token of each row at which the running sum of its weights passes the row's share of their total."""
    cumulative_BV = weight_BV.cumsum(dim=-1)
    rank_B1 = torch.searchsorted(cumulative_BV, uniform_B[:, None] * cumulative_BV[:, -1:], right=True)
    # Rounding must not lead to what has no weight, which is all at the end.
    last_B1 = (weight_BV > 0).sum(dim=-1, keepdim=True) - 1
    return token_BV.gather(1, rank_B1.minimum(last_B1))[:, 0]


def _uniform_numbers(seeds: Sequence[int], count: int) -> Tensor:
    """``count`` numbers in [0, 1) per seed, made on the CPU so that every device draws the same."""
    generator = torch.Generator()
    return torch.stack([torch.rand(count, generator=generator.manual_seed(seed)) for seed in seeds])


def _hypotheses(history_BT: Tensor, log_probability_B: Tensor, config: DecodingConfig, end_id: int) -> list[Hypothesis]:
    score_B = length_normalized(log_probability_B, history_BT.shape[1], config.length_penalty)
    rows = zip(history_BT.tolist(), score_B.tolist(), log_probability_B.tolist(), strict=True)
    return [
        Hypothesis(ids[:-1] if ids[-1] == end_id else ids, score, log_probability)
        for ids, score, log_probability in rows
    ]
