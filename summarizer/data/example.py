"""What one summarization pair is, as text and as token ids."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Example:
    """A document and the summary a human wrote for it. Newlines in the summary separate its sentences."""

    id: str
    document: str
    summary: str


@dataclass(frozen=True)
class EncodedExample:
    """An example as token ids, truncated, ready to be padded into a batch."""

    id: str
    source: npt.NDArray[np.int32]  # (source tokens,), ends with the end-of-sentence id
    target: npt.NDArray[np.int32]  # (target tokens,), ends with the end-of-sentence id, has no start id
