"""The files that make the page."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from summarizer import presentation

_HERE = Path(__file__).parent
_SHARED = Path(presentation.__file__).parent
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """What is sent as it is."""

    content_type: str
    content: bytes


def assets() -> dict[str, Asset]:
    """By path. Nothing else is ever read for a client."""
    files = {
        "/": _HERE / "page.html",
        **{
            f"/{name}": _HERE / name
            for name in ("page.css", "page.js", "reader.js", "result.js", "settings.js", "icon.svg")
        },
        "/house.css": _SHARED / "house.css",
        "/weights.js": _SHARED / "weights.js",
    }
    return {path: Asset(_TYPES[file.suffix], file.read_bytes()) for path, file in files.items()}
