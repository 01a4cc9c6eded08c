"""The schema of scripts/generate.py."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from summarizer.config.decoding import DecodingOverrides
from summarizer.config.parts import validate_parts
from summarizer.decoding.reading import LongDocument
from summarizer.errors import UserError
from summarizer.runtime import RuntimeConfig

_LONGEST_NAME = 255  # bytes, on the usual file systems


@dataclass(kw_only=True)
class GenerateConfig:
    """scripts/generate.py."""

    run: str = MISSING
    """Run folder of a training run."""

    checkpoint: str = "best"
    """Which checkpoint: best, last, or the number of a step."""

    text: str | None = None
    """One text to summarize."""

    input: str | None = None
    """What to summarize: a text file, one JSON object a line with the text in ``column`` (.jsonl), or a folder with
    one text in each .txt file."""

    column: str = "document"
    """Key of the text in a .jsonl input."""

    output: str | None = None
    """File for the summaries; by default standard output. For a folder of texts, a .jsonl file or a folder."""

    n_best: int = 1
    """Summaries of each text, best first, with their scores. Beam search has up to decoding.beam_size of them."""

    long_document: LongDocument = LongDocument.truncate
    """What becomes of a text longer than the model reads: truncate summarizes its first tokens, lead its first whole
    sentences, split all of its parts, and then their summaries."""

    prefix: str = ""
    """What every summary begins with: whole words, of which the last may go on."""

    attention: str | None = None
    """File that shows where the model looked: .html for a page to explore, .png for one picture."""

    decoding: DecodingOverrides = field(default_factory=DecodingOverrides)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        validate_parts(self)
        if self.text is not None and self.input is not None:
            raise UserError(f"text and input ({self.input}) are both given and only one can be: leave one out")
        if (
            self.input is not None
            and max(map(len, map(os.fsencode, Path(self.input).parts)), default=0) > _LONGEST_NAME
        ):
            raise UserError(f"input ({self.input[:40]}...) must name a file or folder: a text itself goes into text=")
        if self.n_best < 1:
            raise UserError(f"n_best ({self.n_best}) must be at least 1")
        if self.attention is not None and Path(self.attention).suffix not in (".html", ".png"):
            raise UserError(f"attention ({self.attention}) must be a file that ends in .html or .png")
        if self.attention is not None and self.long_document is LongDocument.split:
            raise UserError(
                f"attention ({self.attention}) shows where the model looked in a text, and with long_document=split it "
                "looks at summaries of its parts: use truncate or lead"
            )
        if self.attention is not None and self.attention == self.output:
            raise UserError(f"attention and output are one file ({self.output}) and must be two: rename one")
