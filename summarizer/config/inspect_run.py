"""The schema of scripts/inspect_run.py."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from summarizer.errors import UserError


@dataclass(kw_only=True)
class InspectRunConfig:
    """scripts/inspect_run.py."""

    run: str = MISSING
    """Run folder of a training run, finished, running or damaged."""

    json: bool = False
    """Print one JSON object, for programs, instead of text."""

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        if self.run == "":
            raise UserError("run () must name a folder: try run=outputs/mine")
