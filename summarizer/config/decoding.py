"""Decoding as a run was trained with it, and as somebody wants it now."""

from __future__ import annotations

from dataclasses import field, fields, make_dataclass
from typing import TYPE_CHECKING, get_type_hints

from summarizer.decoding.config import DecodingConfig
from summarizer.errors import UserError
from summarizer.model.config import TransformerConfig

# Each decoding setting, or null for what the run was trained with.
if TYPE_CHECKING:
    DecodingOverrides = DecodingConfig
else:
    _hints = get_type_hints(DecodingConfig)
    DecodingOverrides = make_dataclass(
        "DecodingOverrides",
        [(each.name, _hints[each.name] | None, field(default=None)) for each in fields(DecodingConfig)],
        kw_only=True,
    )


def with_overrides(config: DecodingConfig, overrides: DecodingOverrides) -> DecodingConfig:
    """``config`` with each setting of ``overrides`` that is not null."""
    chosen = {each.name: getattr(overrides, each.name) for each in fields(DecodingConfig)}
    own = {each.name: getattr(config, each.name) for each in fields(DecodingConfig)}
    merged = DecodingConfig(**{name: own[name] if value is None else value for name, value in chosen.items()})
    merged.validate()
    return merged


def require_fitting_search(decoding: DecodingConfig, model: TransformerConfig) -> None:
    """Raise UserError if a model of this kind cannot be searched so."""
    model.require_positions(decoding.max_tokens, f"decoding.max_tokens ({decoding.max_tokens})")
    if decoding.coverage_penalty and not model.pointer.enabled:
        raise UserError(
            f"decoding.coverage_penalty ({decoding.coverage_penalty}) is about what a pointer copies, and the model "
            "has none: leave it at 0, or train one with model.pointer.enabled=true"
        )
