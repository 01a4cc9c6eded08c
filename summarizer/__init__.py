"""Train encoder/decoder Transformers for summarization from scratch, and summarize with them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from summarizer.inference import Summarizer

__all__ = ["Summarizer"]


def __getattr__(name: str) -> Any:
    # On first use, because `import summarizer.errors` should not load PyTorch.
    if name == "Summarizer":
        from summarizer.inference import Summarizer

        return Summarizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
