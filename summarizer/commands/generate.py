"""Summarize texts of one's own: from the command line, a file, or standard input."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from summarizer.checkpoint import write_bytes_atomically, write_text_atomically
from summarizer.config import GenerateConfig
from summarizer.decoding.generator import Summary
from summarizer.errors import UserError
from summarizer.inference import Summarizer
from summarizer.presentation.attention_page import PageEntry, attention_page
from summarizer.presentation.pictures import attention_png
from summarizer.runtime import configure_logging

logger = logging.getLogger(__name__)

_MOST_ARTICLES = {".html": 10, ".png": 1}  # in one file that shows attention


@dataclass(frozen=True)
class Article:
    """A text to summarize, and what to call it in messages and in a .jsonl output."""

    id: str
    text: str


def generate(config: GenerateConfig) -> None:
    """Summaries go to standard output or ``config.output``; everything else goes to standard error."""
    configure_logging()
    for name, file in (("output", config.output), ("attention", config.attention)):
        if file is not None and Path(file).is_dir():
            raise UserError(f"{name} ({file}) is a folder and must be a file: add a name to it")
    articles = read_articles(config)
    if not articles:
        raise UserError(f"input ({config.input}) holds no text to summarize: give it at least one line")
    for article in articles:
        if not article.text.strip():
            raise UserError(f"{article.id} holds no text to summarize: give it some, or leave it out")
    _require_room_for_attention(config, articles)
    summarizer = Summarizer.from_run(
        config.run, checkpoint=config.checkpoint, decoding=config.decoding, runtime=config.runtime
    )
    found = summarizer.n_best(
        [article.text for article in articles], config.n_best, prefix=config.prefix, progress=len(articles) > 1
    )
    best = [summaries[0] for summaries in found]
    for article, summary in zip(articles, best, strict=True):
        if summary.tokens_read < summary.tokens_total:
            logger.warning(
                "%s: the model reads %d tokens, so the summary is of the first %d%% of the text (%d tokens)",
                article.id,
                summary.tokens_read,
                100 * summary.tokens_read // summary.tokens_total,
                summary.tokens_total,
            )
    _write(config, articles, found)
    if config.attention is not None:
        _write_attention(Path(config.attention), summarizer, articles, best)


def read_articles(config: GenerateConfig) -> list[Article]:
    """One article from ``text``, from a text file or from standard input; one per line of a .jsonl file."""
    if config.text is not None:
        return [Article("text", config.text)]
    if config.input is None:
        if sys.stdin.isatty():
            logger.info("type or paste a text, then end it with Ctrl-D")
        return [Article("standard input", _decode(sys.stdin.buffer.read(), "standard input"))]
    path = Path(config.input)
    try:
        text = _decode(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"input ({path}) cannot be read: {error.strerror}; check the path") from error
    if path.suffix != ".jsonl":
        return [Article(str(path), text)]
    lines = text.split("\n")
    return [_from_json(line, f"{path}:{n}", config.column) for n, line in enumerate(lines, 1) if line.strip()]


def _from_json(line: str, place: str, column: str) -> Article:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON ({error}): write one object a line") from error
    if not isinstance(row, dict) or not isinstance(row.get(column), str):
        keys = f"its keys are {', '.join(map(str, row))}" if isinstance(row, dict) else "it is no object"
        raise UserError(f"{place} must have a text under {column} but {keys}: set column=<key>")
    article = Article(str(row.get("id", place)), row[column])
    for name, value in (("id", article.id), (column, article.text)):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise UserError(f"{place} has a lone surrogate in {name}, which no text may hold: mend the line")
    return article


def _decode(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{place} is not UTF-8 text (byte {error.start}): convert it first") from error


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
    many = config.input is not None and config.input.endswith(".jsonl")
    if many or (config.output or "").endswith(".jsonl"):
        rows = [_row(article, summaries, config.n_best) for article, summaries in zip(articles, found, strict=True)]
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif config.n_best == 1:
        content = found[0][0].text + "\n"
    else:
        content = "\n".join(map(_with_score, found[0]))
    if config.output is None:
        sys.stdout.write(content)
        return
    output = Path(config.output)
    write_text_atomically(output, content)
    logger.info("written to %s", output)


def _row(article: Article, summaries: list[Summary], n_best: int) -> dict[str, object]:
    """A line of a .jsonl output."""
    best = summaries[0]
    row: dict[str, object] = {"id": article.id, "summary": best.text, "score": best.score}
    if n_best > 1:
        row["n_best"] = [
            {"summary": one.text, "score": one.score, "log_probability": one.log_probability} for one in summaries
        ]
    return row


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
