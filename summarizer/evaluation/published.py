"""The name of a data set in, scores that papers report on it out: for orientation, for no two tests are the same."""

from __future__ import annotations

from typing import NamedTuple


class PublishedScore(NamedTuple):
    """F1 x 100 on the whole test split."""

    system: str
    rouge1: float
    rouge2: float
    rougeLsum: float  # what papers call ROUGE-L of summaries of several sentences
    source: str


PUBLISHED = {
    "cnn_dailymail": [
        PublishedScore("lead-3", 40.34, 17.70, 36.57, "See et al. 2017"),
        PublishedScore("pointer-generator with coverage", 39.53, 17.28, 36.38, "See et al. 2017"),
        PublishedScore("Transformer from scratch (TransformerAbs)", 40.21, 17.76, 37.09, "Liu & Lapata 2019"),
        PublishedScore("Transformer from scratch (base)", 38.27, 15.03, 35.48, "Zhang et al. 2020"),
        PublishedScore("BART large, pretrained", 44.16, 21.28, 40.90, "Lewis et al. 2020"),
        PublishedScore("extractive oracle", 52.59, 31.24, 48.87, "Liu & Lapata 2019"),
    ],
    "xsum": [
        PublishedScore("first sentence", 16.30, 1.60, 11.95, "Narayan et al. 2018"),
        PublishedScore("pointer-generator", 29.70, 9.21, 23.24, "Narayan et al. 2018"),
        PublishedScore("convolutions with topics (T-ConvS2S)", 31.89, 11.54, 25.75, "Narayan et al. 2018"),
        PublishedScore("Transformer from scratch (TransformerAbs)", 29.41, 9.77, 23.01, "Liu & Lapata 2019"),
        PublishedScore("BART large, pretrained", 45.14, 22.27, 37.25, "Lewis et al. 2020"),
    ],
}
