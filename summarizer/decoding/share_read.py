"""Summaries in, what to tell people of how much of their documents was read out."""

from __future__ import annotations

from collections.abc import Sequence

from summarizer.decoding.generator import Summary


def told_reading(summaries: Sequence[Summary]) -> str:
    """A line: how much of one document, or of several together, was read, and whether in parts."""
    read = sum(summary.tokens_read for summary in summaries)
    total = sum(summary.tokens_total for summary in summaries)
    share = f"all {total:,} tokens" if read == total else f"{read:,} of {total:,} tokens ({percent(read / total)})"
    if len(summaries) == 1:
        parts = summaries[0].parts
        return f"read {share}" + (f", in {parts} parts" if parts > 1 else "")
    in_parts = sum(summary.parts > 1 for summary in summaries)
    return f"read {share} of {len(summaries):,} texts" + (f", {in_parts:,} of them in parts" if in_parts else "")


def loss_of(summaries: Sequence[Summary]) -> str | None:
    """The same with the number of texts that were not read to their end, and the way out; None if there are none."""
    cut = [summary for summary in summaries if summary.tokens_read < summary.tokens_total]
    if not cut:
        return None
    most = max(summary.tokens_read for summary in cut)
    why = f"the model takes {most:,}" if len(summaries) == 1 else f"{len(cut):,} are longer than the {most:,} it takes"
    return f"{told_reading(summaries)}, for {why}; long_document=split reads everything, in parts"


def percent(share: float) -> str:
    """Never 100% of what is not all, nor 0% of what is something."""
    return f"{min(max(100 * share, 0.1), 99.9):.1f}%" if 0 < share < 1 else f"{100 * share:.0f}%"
