"""What the schemas of the commands share: checking a config part by part."""

from __future__ import annotations

from dataclasses import fields, is_dataclass


def validate_parts(config: object) -> None:
    """Let each part of a schema that can do so refuse what it holds."""
    for each in fields(config):  # type: ignore[arg-type]
        part = getattr(config, each.name)
        if is_dataclass(part) and hasattr(part, "validate"):
            part.validate()
