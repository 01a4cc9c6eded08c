"""Summarize texts of one's own: from the command line, a file, a folder of files, or standard input."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from summarizer.checkpoint import write_bytes_atomically, write_text_atomically
from summarizer.commands.articles import Article, is_folder, read_articles
from summarizer.config import GenerateConfig
from summarizer.decoding.generator import Summary
from summarizer.decoding.reading import LongDocument
from summarizer.decoding.share_read import loss_of, told_reading
from summarizer.errors import UserError
from summarizer.inference import Summarizer
from summarizer.presentation.attention_page import PageEntry, attention_page
from summarizer.presentation.pictures import attention_png
from summarizer.runtime import configure_logging
from summarizer.terminal import printable

logger = logging.getLogger(__name__)

_MOST_ARTICLES = {".html": 10, ".png": 1}  # in one file that shows attention


def generate(config: GenerateConfig) -> None:
    """Summaries go to standard output or ``config.output``; everything else goes to standard error."""
    configure_logging()
    _require_places(config)
    articles = read_articles(config)
    _require_room_for_attention(config, articles)
    summarizer = Summarizer.from_run(
        config.run, checkpoint=config.checkpoint, decoding=config.decoding, runtime=config.runtime
    )
    found = summarizer.n_best(
        [article.text for article in articles],
        config.n_best,
        long_document=config.long_document,
        prefix=config.prefix,
        progress=len(articles) > 1,
    )
    best = [summaries[0] for summaries in found]
    _tell_reading(config, articles, best)
    _write(config, articles, found)
    if config.attention is not None:
        _write_attention(Path(config.attention), summarizer, articles, best)


def _tell_reading(config: GenerateConfig, articles: list[Article], summaries: list[Summary]) -> None:
    """Nothing, where every text was read as a whole."""
    name = f"{articles[0].id}: " if len(articles) == 1 else ""
    if config.long_document is LongDocument.truncate:
        if loss := loss_of(summaries):
            logger.warning("%s%s", name, loss)
    elif any(one.parts > 1 or one.tokens_read < one.tokens_total for one in summaries):
        logger.info("%s%s", name, told_reading(summaries))


def _require_places(config: GenerateConfig) -> None:
    """What is written shall be a file, but for the summaries of a folder, which may be a folder."""
    for name, file in (("output", config.output), ("attention", config.attention)):
        if file is not None and Path(file).is_dir() and not (name == "output" and is_folder(config.input)):
            raise UserError(f"{name} ({file}) is a folder and must be a file: add a name to it")
    if config.input is None or config.output is None or not Path(config.input).exists():
        return
    output = Path(config.output)
    if output.exists() and output.samefile(config.input):
        raise UserError(f"input and output are one ({config.output}) and must be two: the texts would be lost")
    if is_folder(config.input) and output.is_file() and output.suffix != ".jsonl":
        raise UserError(f"output ({config.output}) is a file and must be a folder, or end in .jsonl, for input is one")


def _require_room_for_attention(config: GenerateConfig, articles: list[Article]) -> None:
    if config.attention is None:
        return
    most = _MOST_ARTICLES[Path(config.attention).suffix]
    if len(articles) > most:
        raise UserError(
            f"attention ({config.attention}) shows at most {most} article{'s' if most > 1 else ''} and input "
            f"({config.input}) holds {len(articles)}: give it fewer{'' if most > 1 else ', or make it an .html file'}"
        )


def _write(config: GenerateConfig, articles: list[Article], found: list[list[Summary]]) -> None:
    if is_folder(config.input) and config.output is not None and not config.output.endswith(".jsonl"):
        for article, summaries in zip(articles, found, strict=True):
            write_text_atomically(Path(config.output, article.id), _as_text(summaries))
        logger.info("%d summaries written to %s", len(articles), config.output)
        return
    many = is_folder(config.input) or (config.input or "").endswith(".jsonl")
    if many or (config.output or "").endswith(".jsonl"):
        rows = [_row(article, summaries, config) for article, summaries in zip(articles, found, strict=True)]
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        content = _as_text(found[0])
    if config.output is None:
        # A pointer copies what steers a terminal as it copies words; a pipe gets the text as it is.
        sys.stdout.write(printable(content) if sys.stdout.isatty() else content)
        return
    output = Path(config.output)
    write_text_atomically(output, content)
    logger.info("written to %s", output)


def _row(article: Article, summaries: list[Summary], config: GenerateConfig) -> dict[str, object]:
    """A line of a .jsonl output."""
    best = summaries[0]
    row: dict[str, object] = {"id": article.id, "summary": best.text, "score": best.score}
    row["share_read"] = round(best.share_read, 4)
    if config.long_document is LongDocument.split:
        row["parts"] = best.parts
    if config.n_best > 1:
        row["n_best"] = [
            {"summary": one.text, "score": one.score, "log_probability": one.log_probability} for one in summaries
        ]
    return row


def _as_text(summaries: list[Summary]) -> str:
    """The summaries of one text, for people."""
    return summaries[0].text + "\n" if len(summaries) == 1 else "\n".join(map(_with_score, summaries))


def _with_score(summary: Summary) -> str:
    """One of several summaries, for people."""
    return f"[score {summary.score:.3f}, log-probability {summary.log_probability:.2f}]\n{summary.text}\n"


def _write_attention(file: Path, summarizer: Summarizer, articles: list[Article], summaries: list[Summary]) -> None:
    if file.suffix == ".png":
        write_bytes_atomically(file, attention_png(summarizer.trace(summaries[0])))
    else:
        entries = (
            PageEntry(article.id, summarizer.trace(summary), unread=summary.tokens_total - summary.tokens_read)
            for article, summary in zip(articles, summaries, strict=True)
        )
        write_text_atomically(file, attention_page(entries))
    logger.info("attention written to %s", file)
