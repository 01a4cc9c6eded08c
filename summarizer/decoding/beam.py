"""A next-token function in, the best hypotheses of every document out: beam search, all on the device.

B documents still searched, W beams, T generated tokens so far, V vocabulary, C candidates.
"""

from __future__ import annotations

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
    beams = _Beams.start(num_documents, config.beam_size, device)
    finished = _Finished.none(num_documents, config.beam_size, device)
    token_BW = torch.full((num_documents, config.beam_size), special.start, device=device)
    for step in range(config.max_tokens):
        log_probability_BWV = rules.log_probabilities(next_token(token_BW, step), beams.history_BWT)
        penalty_BW = next_token.penalty()
        if penalty_BW is not None:
            log_probability_BWV = log_probability_BWV - penalty_BW[..., None]
        candidates = _best_candidates(beams, log_probability_BWV)
        parent_BW, beams, finished = _advance(candidates, beams, finished, config, special.end)
        if observe is not None:
            standing = _hypotheses(_with_live(beams, finished, config), special.end)
            observe([Draft(row, found[0]) for row, found in zip(beams.document_B.tolist(), standing, strict=True)])
        if step + 1 == config.max_tokens:
            break
        done_B = _none_can_improve(beams, finished, config)
        if bool(done_B.any()):
            _collect(results, beams.document_B[done_B], finished.rows(done_B), special.end)
            staying_B = (~done_B).nonzero().squeeze(1)
            if len(staying_B) == 0:
                return results
            next_token.keep(staying_B)
            beams, finished, parent_BW = beams.rows(staying_B), finished.rows(staying_B), parent_BW[staying_B]
        next_token.reorder(parent_BW)
        token_BW = beams.history_BWT[..., -1]
    _collect(results, beams.document_B, _with_live(beams, finished, config), special.end)
    return results


@dataclass(frozen=True)
class _Beams:
    """The live hypotheses of the documents still searched, better ones first."""

    document_B: Tensor  # int64, where the result of this row goes
    history_BWT: Tensor  # int64
    log_probability_BW: Tensor  # float32, minus infinity where fewer than W hypotheses are possible

    @staticmethod
    def start(num_documents: int, beam_size: int, device: torch.device) -> _Beams:
        # One live beam: W copies of the empty hypothesis would stay copies for ever.
        log_probability_BW = torch.full((num_documents, beam_size), -torch.inf, device=device)
        log_probability_BW[:, 0] = 0.0
        history_BWT = torch.empty((num_documents, beam_size, 0), dtype=torch.int64, device=device)
        return _Beams(torch.arange(num_documents, device=device), history_BWT, log_probability_BW)

    def rows(self, index: Tensor) -> _Beams:
        return _Beams(self.document_B[index], self.history_BWT[index], self.log_probability_BW[index])


@dataclass(frozen=True)
class _Finished:
    """The best finished hypotheses of each document, best first."""

    history_BWT: Tensor  # int64, meaningless after the length
    length_BW: Tensor  # int64, the end token counted
    log_probability_BW: Tensor  # float32
    score_BW: Tensor  # float32, minus infinity where a place is still free

    @staticmethod
    def none(num_documents: int, beam_size: int, device: torch.device) -> _Finished:
        free_BW = torch.full((num_documents, beam_size), -torch.inf, device=device)
        nothing_BW = torch.zeros((num_documents, beam_size), dtype=torch.int64, device=device)
        return _Finished(nothing_BW[..., None][..., :0], nothing_BW, free_BW, free_BW)

    def rows(self, index: Tensor) -> _Finished:
        return _Finished(
            self.history_BWT[index],
            self.length_BW[index],
            self.log_probability_BW[index],
            self.score_BW[index],
        )

    def merged(self, history_BCT: Tensor, log_probability_BC: Tensor, score_BC: Tensor) -> _Finished:
        """With hypotheses that finish now, at length T; a score of minus infinity says that one does not."""
        num_beams, length = self.score_BW.shape[1], history_BCT.shape[-1]
        padded_BWT = torch.nn.functional.pad(self.history_BWT, (0, length - self.history_BWT.shape[-1]))
        length_BC = torch.full_like(history_BCT[..., 0], length)
        score_BA = torch.cat((self.score_BW, score_BC), dim=1)
        best_BW = score_BA.sort(dim=1, descending=True, stable=True).indices[:, :num_beams]
        return _Finished(
            _take(torch.cat((padded_BWT, history_BCT), dim=1), best_BW),
            torch.cat((self.length_BW, length_BC), dim=1).gather(1, best_BW),
            torch.cat((self.log_probability_BW, log_probability_BC), dim=1).gather(1, best_BW),
            score_BA.gather(1, best_BW),
        )


@dataclass(frozen=True)
class _Candidates:
    """The continuations of the live hypotheses worth looking at, best first."""

    parent_BC: Tensor  # int64, the beam each continues
    token_BC: Tensor  # int64
    log_probability_BC: Tensor  # float32, of the whole hypothesis


def _best_candidates(beams: _Beams, log_probability_BWV: Tensor) -> _Candidates:
    """The 2W best continuations of each document: a beam can end only once, so at least W of them go on."""
    _, num_beams, vocab_size = log_probability_BWV.shape
    per_beam = min(2 * num_beams, vocab_size)
    # Beam by beam first: sums with a large total round, and would tie tokens whose probabilities differ.
    token_BWC = _most_probable(log_probability_BWV, per_beam)
    total_BWC = beams.log_probability_BW[..., None] + log_probability_BWV.gather(-1, token_BWC)
    log_probability_BC, place_BC = total_BWC.flatten(1).sort(dim=1, descending=True, stable=True)
    place_BC = place_BC[:, : 2 * num_beams]
    return _Candidates(
        parent_BC=place_BC // per_beam,
        token_BC=token_BWC.flatten(1).gather(1, place_BC),
        log_probability_BC=log_probability_BC[:, : 2 * num_beams],
    )


def _most_probable(log_probability_BWV: Tensor, count: int) -> Tensor:
    """Ids of the ``count`` most probable tokens, best first, the lower id first among equals.

    ``topk`` leaves open which of equals it takes, and half-precision logits tie often.
    """
    more = min(count + 1, log_probability_BWV.shape[-1])
    value_BWC, token_BWC = log_probability_BWV.topk(more, dim=-1)
    if bool((value_BWC[..., count - 1 : count] == value_BWC[..., count:]).any()):
        return _most_probable_despite_ties(log_probability_BWV, count)
    token_BWC = token_BWC[..., :count].sort(dim=-1).values
    value_BWC = log_probability_BWV.gather(-1, token_BWC)
    return token_BWC.gather(-1, value_BWC.sort(dim=-1, descending=True, stable=True).indices)


def _most_probable_despite_ties(log_probability_BWV: Tensor, count: int) -> Tensor:
    """The same where equals compete for the last place: exact, but several times slower on a CPU.

    The bits of numbers that are not negative order as integers do, so magnitude and id make a unique key.
    """
    magnitude_BWV = log_probability_BWV.abs().view(torch.int32).to(torch.int64)
    token_V = torch.arange(log_probability_BWV.shape[-1], device=log_probability_BWV.device)
    key_BWC = ((magnitude_BWV << 32) | token_V).topk(count, dim=-1, largest=False, sorted=True).values
    return key_BWC & 0xFFFFFFFF


def _advance(
    candidates: _Candidates, beams: _Beams, finished: _Finished, config: DecodingConfig, end_id: int
) -> tuple[Tensor, _Beams, _Finished]:
    """The parent of each new live beam, the new live beams, and what is finished with those that end now.

    An end counts if it is among the W best candidates; what goes on are the W best of the others.
    """
    num_beams = config.beam_size
    history_BCT = torch.cat((_take(beams.history_BWT, candidates.parent_BC), candidates.token_BC[..., None]), dim=-1)
    ends_BC = candidates.token_BC == end_id
    log_probability_BW = candidates.log_probability_BC[:, :num_beams]
    score_BW = length_normalized(log_probability_BW, history_BCT.shape[-1], config.length_penalty)
    finished = finished.merged(
        history_BCT[:, :num_beams], log_probability_BW, score_BW.where(ends_BC[:, :num_beams], -torch.inf)
    )
    live_BW = ends_BC.to(torch.int8).sort(dim=1, stable=True).indices[:, :num_beams]
    beams = _Beams(beams.document_B, _take(history_BCT, live_BW), candidates.log_probability_BC.gather(1, live_BW))
    return candidates.parent_BC.gather(1, live_BW), beams, finished


def _none_can_improve(beams: _Beams, finished: _Finished, config: DecodingConfig) -> Tensor:
    """Per document: can no live beam become better than the worst of the W finished hypotheses kept?"""
    worst_B = finished.score_BW[:, -1]
    bound_B = best_attainable(beams.log_probability_BW[:, 0], config.max_tokens, config.length_penalty)
    done_B = bound_B <= worst_B
    if config.early_stop or config.beam_size == 1:  # greedy search ends with its first end
        done_B |= worst_B > -torch.inf
    return done_B


def _with_live(beams: _Beams, finished: _Finished, config: DecodingConfig) -> _Finished:
    """What is finished, and what is live as if it were cut off now."""
    score_BW = length_normalized(beams.log_probability_BW, beams.history_BWT.shape[-1], config.length_penalty)
    return finished.merged(beams.history_BWT, beams.log_probability_BW, score_BW)


def _take(history_BWT: Tensor, index_BC: Tensor) -> Tensor:
    """Whole histories by their beam."""
    return history_BWT.gather(1, index_BC[..., None].expand(-1, -1, history_BWT.shape[-1]))


def _collect(results: list[list[Hypothesis]], document_B: Tensor, finished: _Finished, end_id: int) -> None:
    """Put the hypotheses of each row where its document's result belongs."""
    for document, hypotheses in zip(document_B.tolist(), _hypotheses(finished, end_id), strict=True):
        results[document] = hypotheses


def _hypotheses(finished: _Finished, end_id: int) -> list[list[Hypothesis]]:
    """Those of each row, best first."""
    columns = (finished.history_BWT, finished.length_BW, finished.score_BW, finished.log_probability_BW)
    return [
        [
            hypothesis_of(history[:length], score, log_probability, end_id)
            for history, length, score, log_probability in zip(*row, strict=True)
            if score > -math.inf
        ]
        for row in zip(*(column.tolist() for column in columns), strict=True)
    ]
