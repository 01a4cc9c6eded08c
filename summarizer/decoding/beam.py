"""A next-token function in, the best hypotheses of every document out: beam search, all on the device.

B documents still searched, W beams, T generated tokens so far, V vocabulary, C candidates, R rows: a document, or each
group of its beams.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from summarizer.decoding.config import DecodingConfig
from summarizer.decoding.scores import TokenRules, best_attainable, length_normalized
from summarizer.decoding.search import Draft, Hypothesis, NextToken, Observer, SpecialIds, hypothesis_of


def beam_search(
    next_token: NextToken,
    *,
    num_documents: int,
    config: DecodingConfig,
    special: SpecialIds,
    device: torch.device,
    prefix: Sequence[int] = (),
    observe: Observer | None = None,
) -> list[list[Hypothesis]]:
    """The best hypotheses of each of one or more documents, at most ``config.beam_size``, best first.

    A beam of 1 takes the most probable token at each step (greedy search). Hypotheses still unfinished at
    ``config.max_tokens`` are cut off there and compete by the same score. On every device, ties go to what
    finished first, then to the better parent, then to the lower id.

    :param prefix: ids that every hypothesis begins with, fewer than ``config.max_tokens``.
    """
    results: list[list[Hypothesis]] = [[] for _ in range(num_documents)]
    rules = TokenRules(config, special, device, prefix)
    groups = config.beam_groups
    rows, width = num_documents * groups, config.beam_size // groups
    beams = _Beams.start(rows, width, device)
    finished = _Finished.none(rows, width, device)
    document_B = torch.arange(num_documents, device=device)
    token_BW = torch.full((num_documents, config.beam_size), special.start, device=device)
    for step in range(config.max_tokens):
        history_BWT = beams.history_RWT.view(*token_BW.shape, step)
        log_probability_BWV = rules.log_probabilities(next_token(token_BW, step), history_BWT)
        penalty_BW = next_token.penalty()
        if penalty_BW is not None:
            log_probability_BWV = log_probability_BWV - penalty_BW[..., None]
        log_probability_RWV = log_probability_BWV.view(-1, width, log_probability_BWV.shape[-1])
        candidates = _best_of_groups(log_probability_RWV, beams, config)
        parent_RW, beams, finished = _advance(candidates, beams, finished, config, special.end)
        if observe is not None:
            standing = _hypotheses(_with_live(beams, finished, config), groups, special.end)
            observe([Draft(row, found[0]) for row, found in zip(document_B.tolist(), standing, strict=True)])
        if step + 1 == config.max_tokens:
            break
        done_R = _none_can_improve(beams, finished, config)
        done_B = done_R.view(-1, groups).all(dim=1)
        if bool(done_B.any()):
            done_rows = done_B.repeat_interleave(groups)
            _collect(results, document_B[done_B], finished.rows(done_rows), groups, special.end)
            staying_B, staying_R = (~done_B).nonzero().squeeze(1), (~done_rows).nonzero().squeeze(1)
            if len(staying_B) == 0:
                return results
            next_token.keep(staying_B)
            document_B, parent_RW = document_B[staying_B], parent_RW[staying_R]
            beams, finished = beams.rows(staying_R), finished.rows(staying_R)
        first_beam_G1 = torch.arange(0, config.beam_size, width, device=device)[:, None]
        next_token.reorder((parent_RW.view(-1, groups, width) + first_beam_G1).flatten(1))
        token_BW = beams.history_RWT[..., -1].view(-1, config.beam_size)
    _collect(results, document_B, _with_live(beams, finished, config), groups, special.end)
    return results


@dataclass(frozen=True)
class _Beams:
    """The live hypotheses of each row, in the order in which they were chosen."""

    history_RWT: Tensor  # int64
    log_probability_RW: Tensor  # float32, minus infinity where fewer than W hypotheses are possible

    @staticmethod
    def start(rows: int, width: int, device: torch.device) -> _Beams:
        # One live beam: W copies of the empty hypothesis would stay copies for ever.
        log_probability_RW = torch.full((rows, width), -torch.inf, device=device)
        log_probability_RW[:, 0] = 0.0
        return _Beams(torch.empty((rows, width, 0), dtype=torch.int64, device=device), log_probability_RW)

    def rows(self, index: Tensor) -> _Beams:
        return _Beams(self.history_RWT[index], self.log_probability_RW[index])


@dataclass(frozen=True)
class _Finished:
    """The best finished hypotheses of each row, best first."""

    history_RWT: Tensor  # int64, meaningless after the length
    length_RW: Tensor  # int64, the end token counted
    log_probability_RW: Tensor  # float32
    score_RW: Tensor  # float32, minus infinity where a place is still free
    count_R: Tensor  # int64, how many have ended, those that are no longer among the best counted too

    @staticmethod
    def none(rows: int, width: int, device: torch.device) -> _Finished:
        free_RW = torch.full((rows, width), -torch.inf, device=device)
        nothing_RW = torch.zeros((rows, width), dtype=torch.int64, device=device)
        return _Finished(nothing_RW[..., None][..., :0], nothing_RW, free_RW, free_RW, nothing_RW[:, 0])

    def rows(self, index: Tensor) -> _Finished:
        return _Finished(
            self.history_RWT[index],
            self.length_RW[index],
            self.log_probability_RW[index],
            self.score_RW[index],
            self.count_R[index],
        )

    def merged(self, history_RCT: Tensor, log_probability_RC: Tensor, score_RC: Tensor) -> _Finished:
        """With hypotheses that finish now, at length T; a score of minus infinity says that one does not."""
        num_beams, length = self.score_RW.shape[1], history_RCT.shape[-1]
        padded_RWT = torch.nn.functional.pad(self.history_RWT, (0, length - self.history_RWT.shape[-1]))
        length_RC = torch.full_like(history_RCT[..., 0], length)
        score_RA = torch.cat((self.score_RW, score_RC), dim=1)
        best_RW = score_RA.sort(dim=1, descending=True, stable=True).indices[:, :num_beams]
        return _Finished(
            _take(torch.cat((padded_RWT, history_RCT), dim=1), best_RW),
            torch.cat((self.length_RW, length_RC), dim=1).gather(1, best_RW),
            torch.cat((self.log_probability_RW, log_probability_RC), dim=1).gather(1, best_RW),
            score_RA.gather(1, best_RW),
            self.count_R + (score_RC > -torch.inf).sum(dim=1),
        )

    def enough(self, config: DecodingConfig) -> Tensor:
        """bool_R: whether the search of a row is over, whatever else it could find."""
        width = self.score_RW.shape[1]
        if not config.early_stop and width > 1:  # greedy search ends with its first end
            return torch.zeros_like(self.count_R, dtype=torch.bool)
        return self.count_R >= math.ceil(config.patience * width)


@dataclass(frozen=True)
class _Candidates:
    """The continuations of the live hypotheses worth looking at, best first."""

    parent_RC: Tensor  # int64, the beam each continues
    token_RC: Tensor  # int64
    log_probability_RC: Tensor  # float32, of the whole hypothesis


def _best_of_groups(log_probability_RWV: Tensor, beams: _Beams, config: DecodingConfig) -> _Candidates:
    """Of each row. A group is kept from the tokens that beams of earlier groups of its document go on with."""
    if config.beam_groups == 1:
        return _best_candidates(beams, log_probability_RWV)
    width = log_probability_RWV.shape[1]
    taken_BV = torch.zeros_like(log_probability_RWV[:: config.beam_groups, 0])
    found: list[_Candidates] = []
    for group in range(config.beam_groups):
        rows = torch.arange(group, len(log_probability_RWV), config.beam_groups, device=taken_BV.device)
        own = _best_candidates(beams.rows(rows), log_probability_RWV[rows], config.diversity_penalty * taken_BV)
        chosen_BW = own.token_RC[:, :width]
        taken_BV.scatter_add_(1, chosen_BW, torch.ones_like(chosen_BW, dtype=taken_BV.dtype))
        found.append(own)
    return _Candidates(
        *(
            torch.stack(columns, dim=1).flatten(0, 1)
            for columns in (
                [own.parent_RC for own in found],
                [own.token_RC for own in found],
                [own.log_probability_RC for own in found],
            )
        )
    )


def _best_candidates(beams: _Beams, log_probability_RWV: Tensor, penalty_RV: Tensor | None = None) -> _Candidates:
    """The 2W best continuations of each row: a beam can end only once, so at least W of them go on.

    :param penalty_RV: what each token loses in this choice alone.
    """
    _, num_beams, vocab_size = log_probability_RWV.shape
    per_beam = min(2 * num_beams, vocab_size)
    worth_RWV = log_probability_RWV if penalty_RV is None else log_probability_RWV - penalty_RV[:, None]
    # Beam by beam first: sums with a large total round, and would tie tokens whose probabilities differ.
    token_RWC = _most_probable(worth_RWV, per_beam)
    total_RWC = beams.log_probability_RW[..., None] + log_probability_RWV.gather(-1, token_RWC)
    worth_RWC = beams.log_probability_RW[..., None] + worth_RWV.gather(-1, token_RWC)
    place_RC = worth_RWC.flatten(1).sort(dim=1, descending=True, stable=True).indices[:, : 2 * num_beams]
    return _Candidates(
        parent_RC=place_RC // per_beam,
        token_RC=token_RWC.flatten(1).gather(1, place_RC),
        log_probability_RC=total_RWC.flatten(1).gather(1, place_RC),
    )


def _most_probable(log_probability_RWV: Tensor, count: int) -> Tensor:
    """Ids of the ``count`` most probable tokens, best first, the lower id first among equals.

    ``topk`` leaves open which of equals it takes, and half-precision logits tie often. A GPU is not asked whether they
    do: to wait for the answer takes it longer than to be exact.
    """
    if log_probability_RWV.device.type != "cpu":
        return _most_probable_despite_ties(log_probability_RWV, count)
    more = min(count + 1, log_probability_RWV.shape[-1])
    value_RWC, token_RWC = log_probability_RWV.topk(more, dim=-1)
    if bool((value_RWC[..., count - 1 : count] == value_RWC[..., count:]).any()):
        return _most_probable_despite_ties(log_probability_RWV, count)
    token_RWC = token_RWC[..., :count].sort(dim=-1).values
    value_RWC = log_probability_RWV.gather(-1, token_RWC)
    return token_RWC.gather(-1, value_RWC.sort(dim=-1, descending=True, stable=True).indices)


def _most_probable_despite_ties(log_probability_RWV: Tensor, count: int) -> Tensor:
    """The same where equals compete for the last place: exact, but several times slower on a CPU.

    The bits of numbers that are not negative order as integers do, so magnitude and id make a unique key.
    """
    magnitude_RWV = log_probability_RWV.abs().view(torch.int32).to(torch.int64)
    token_V = torch.arange(log_probability_RWV.shape[-1], device=log_probability_RWV.device)
    key_RWC = ((magnitude_RWV << 32) | token_V).topk(count, dim=-1, largest=False, sorted=True).values
    return key_RWC & 0xFFFFFFFF


def _advance(
    candidates: _Candidates, beams: _Beams, finished: _Finished, config: DecodingConfig, end_id: int
) -> tuple[Tensor, _Beams, _Finished]:
    """The parent of each new live beam, the new live beams, and what is finished with those that end now.

    An end counts if it is among the W best candidates; what goes on are the W best of the others.
    """
    num_beams = beams.log_probability_RW.shape[1]
    history_RCT = torch.cat((_take(beams.history_RWT, candidates.parent_RC), candidates.token_RC[..., None]), dim=-1)
    ends_RC = candidates.token_RC == end_id
    log_probability_RW = candidates.log_probability_RC[:, :num_beams]
    score_RW = length_normalized(log_probability_RW, history_RCT.shape[-1], config)
    counts_RW = ends_RC[:, :num_beams] & ~finished.enough(config)[:, None]
    finished = finished.merged(history_RCT[:, :num_beams], log_probability_RW, score_RW.where(counts_RW, -torch.inf))
    live_RW = ends_RC.to(torch.int8).sort(dim=1, stable=True).indices[:, :num_beams]
    beams = _Beams(_take(history_RCT, live_RW), candidates.log_probability_RC.gather(1, live_RW))
    return candidates.parent_RC.gather(1, live_RW), beams, finished


def _none_can_improve(beams: _Beams, finished: _Finished, config: DecodingConfig) -> Tensor:
    """Per row: can no live beam become better than the worst of the W finished hypotheses kept, or need none?"""
    bound_R = best_attainable(beams.log_probability_RW.amax(dim=1), config)
    return (bound_R <= finished.score_RW[:, -1]) | finished.enough(config)


def _with_live(beams: _Beams, finished: _Finished, config: DecodingConfig) -> _Finished:
    """What is finished, and what is live as if it were cut off now."""
    score_RW = length_normalized(beams.log_probability_RW, beams.history_RWT.shape[-1], config)
    score_RW = score_RW.where(~finished.enough(config)[:, None], -torch.inf)
    return finished.merged(beams.history_RWT, beams.log_probability_RW, score_RW)


def _take(history_RWT: Tensor, index_RC: Tensor) -> Tensor:
    """Whole histories by their beam."""
    return history_RWT.gather(1, index_RC[..., None].expand(-1, -1, history_RWT.shape[-1]))


def _collect(
    results: list[list[Hypothesis]], document_B: Tensor, finished: _Finished, groups: int, end_id: int
) -> None:
    """Put the hypotheses of each document where its result belongs."""
    for document, hypotheses in zip(document_B.tolist(), _hypotheses(finished, groups, end_id), strict=True):
        results[document] = hypotheses


def _hypotheses(finished: _Finished, groups: int, end_id: int) -> list[list[Hypothesis]]:
    """Those of each document, best first; what several groups found is there once."""
    columns = (finished.history_RWT, finished.length_RW, finished.score_RW, finished.log_probability_RW)
    rows = [
        [
            hypothesis_of(history[:length], score, log_probability, end_id)
            for history, length, score, log_probability in zip(*row, strict=True)
            if score > -math.inf
        ]
        for row in zip(*(column.tolist() for column in columns), strict=True)
    ]
    if groups == 1:
        return rows
    documents = [itertools.chain(*rows[first : first + groups]) for first in range(0, len(rows), groups)]
    return [
        sorted({(*one.ids, one.ended): one for one in found}.values(), key=lambda one: -one.score)
        for found in documents
    ]
