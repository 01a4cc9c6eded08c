"""What TensorBoard's Custom Scalars tab opens on: the charts that tell how a run does, before all others."""

from __future__ import annotations

from collections.abc import Sequence

_ROUGE = (("ROUGE-1", "rouge1"), ("ROUGE-2", "rouge2"), ("ROUGE-L", "rougeL"), ("ROUGE-Lsum", "rougeLsum"))

Layout = dict[str, dict[str, list[str | list[str]]]]  # category -> chart -> kind, tags


def _lines(*tags: str) -> list[str | list[str]]:
    """A line for each tag and run; tags are patterns."""
    return ["Multiline", [f"{tag}$" for tag in tags]]


def _band(tag: str) -> list[str | list[str]]:
    """A mean with its interval."""
    return ["Margin", [tag, f"{tag}_low", f"{tag}_high"]]


# A chart's title has room for about 48 characters; a longer one pushes its chart out of line with its neighbours.


def layout(splits: Sequence[str] = ("test", "validation")) -> Layout:
    """:param splits: whose evaluations have charts. The lines of lead-3 are those of the run lead3."""
    return {
        "Is it learning?": {
            "loss, training and validation": _lines("train/loss", "train/nll", "validation/loss"),
            **{f"validation {title}, beside lead-3": _lines(f"validation/{name}") for title, name in _ROUGE},
            "token accuracy": _lines("train/accuracy", "validation/accuracy"),
        },
        "How does it train?": {
            "learning rate": _lines("train/learning_rate"),
            "gradient norm": _lines("train/gradient_norm", "train/gradient_norm_max"),
            "real tokens per second": _lines("train/tokens_per_second"),
            "share of the machine that is used (MFU)": _lines("train/mfu"),
            "TFLOP/s, those for padding left out": _lines("train/tflops_per_second"),
            "most memory held so far, in GiB": _lines("train/peak_memory_gib"),
            "real tokens among positions; the rest is padding": _lines("train/real_token_share"),
            "share of the time spent waiting for data": _lines("train/data_wait_share"),
            "skipped updates": _lines("train/skipped_updates"),
        },
        "What does the pointer do?": {
            "p_gen, and probability of having copied": _lines(
                "train/p_gen", "validation/p_gen", "train/copy_rate", "validation/copy_rate"
            ),
            "coverage loss": _lines("train/coverage", "validation/coverage"),
        },
        **{f"Evaluation, {split} split": _evaluation(split) for split in splits},
    }


def _evaluation(split: str) -> dict[str, list[str | list[str]]]:
    with_interval = {f"{title}, 95% interval": _band(f"evaluation_{split}/{name}") for title, name in _ROUGE}
    with_extracts = {f"{title}, beside extracts": _lines(f"evaluation_{split}/{name}") for title, name in _ROUGE}
    return with_interval | with_extracts
