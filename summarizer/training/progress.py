"""How far the training is, on standard error: a bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 15.0
_BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix} [{elapsed}<{remaining}]"


class Progress:
    """Shows steps done, loss, speed and the time left."""

    def __init__(self, *, max_steps: int, start_step: int, stream: TextIO | None = None) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.max_steps = max_steps
        self.start_step = start_step
        self.started = time.monotonic()
        self.last_line = -float("inf")
        self.bar: tqdm[Any] | None = None
        if self.stream.isatty():
            self.bar = tqdm(
                total=max_steps,
                initial=start_step,
                desc="train",
                file=self.stream,
                dynamic_ncols=True,
                smoothing=0.05,  # a validation between two steps should not upset the time left
                bar_format=_BAR,
            )

    def update(self, step: int, *, loss: float, tokens_per_second: float) -> None:
        """``step`` updates are done now."""
        numbers = f"loss {loss:.3f}, {tokens_per_second:,.0f} tokens/s"
        if self.bar is not None:
            self.bar.set_postfix_str(numbers, refresh=False)
            self.bar.update(step - self.bar.n)
        elif time.monotonic() - self.last_line >= _SECONDS_BETWEEN_LINES or step == self.max_steps:
            self.last_line = time.monotonic()
            self.say(f"step {step}/{self.max_steps}, {numbers}, {self._time_left(step)} left")

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        tqdm.write(line, file=self.stream)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _time_left(self, step: int) -> str:
        seconds_a_step = (time.monotonic() - self.started) / (step - self.start_step)
        return str(tqdm.format_interval(seconds_a_step * (self.max_steps - step)))
