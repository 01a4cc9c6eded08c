"""Numbers, samples and pictures in, TensorBoard event files out."""

from __future__ import annotations

import math
import string
import threading
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from summarizer.training.board_layout import layout
from summarizer.training.validation import Sample, Validation

_EXCERPT_LENGTH = 600  # characters
_ESCAPES = {ord(mark): f"&#{ord(mark)};" for mark in string.punctuation}


class Board:
    """Writes a run's event files: its own into ``folder``, those of its baselines into folders below.

    A baseline is to TensorBoard a run of its own, so the same chart shows its curve beside the model's.

    :param start_step: last finished update of a run that resumes. TensorBoard forgets later ones.
    """

    def __init__(self, folder: Path, *, start_step: int) -> None:
        self.folder = folder
        self.purge_step = start_step + 1 if start_step > 0 else 0
        leave_errors_to_main_thread()
        self._run = SummaryWriter(str(folder), purge_step=self.purge_step)
        self._run.add_custom_scalars(layout())
        self._baselines: dict[str, SummaryWriter] = {}

    def train(self, step: int, averages: Mapping[str, float]) -> None:
        _add_scalars(self._run, "train", step, averages)
        self._run.flush()

    def validation(self, step: int, validation: Validation) -> None:
        for baseline, metrics in by_baseline(validation.metrics).items():
            writer = self._baseline(baseline) if baseline else self._run
            _add_scalars(writer, "validation", step, metrics)
            writer.flush()
        for number, sample in enumerate(validation.samples, start=1):
            self._run.add_text(f"samples/{number}", as_markdown(sample), step)
        for title, image in validation.images.items():
            self._run.add_image(f"validation_images/{title}", image, step, dataformats="HWC")
        self._run.flush()

    def finish(
        self, step: int, hyperparameters: Mapping[str, str | int | float | bool], metrics: Mapping[str, float]
    ) -> None:
        """Show the hyper-parameters beside the final metrics, which also become scalars ``whole_run/...``."""
        values = {name: str(value) if isinstance(value, bool) else value for name, value in hyperparameters.items()}
        tags = {f"whole_run/{name}": value for name, value in metrics.items()}
        # SummaryWriter.add_hparams would start another run in a folder of its own; its parts go to this one.
        for summary in hparams(values, tags):  # type: ignore[no-untyped-call]
            self._run._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]
        _add_scalars(self._run, "whole_run", step, metrics)
        self._run.flush()

    def close(self) -> None:
        for writer in (self._run, *self._baselines.values()):
            writer.close()

    def _baseline(self, name: str) -> SummaryWriter:
        if name not in self._baselines:
            self._baselines[name] = SummaryWriter(str(self.folder / name), purge_step=self.purge_step)
        return self._baselines[name]


def by_baseline(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """``metrics`` by whose they are: those of ``lead3/rouge1`` under "lead3", the model's own under ""."""
    owners: dict[str, dict[str, float]] = {}
    for path, value in metrics.items():
        owner, _, name = path.rpartition("/")
        owners.setdefault(owner, {})[name] = value
    return owners


def leave_errors_to_main_thread() -> None:
    """No traceback of what TensorBoard's writing threads meet: the next call to it raises that, and it is told."""
    threading.excepthook = _pass_over_writers


def _pass_over_writers(arguments: threading.ExceptHookArgs) -> None:
    if not type(arguments.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(arguments)


def _add_scalars(writer: SummaryWriter, group: str, step: int, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if math.isfinite(value):
            writer.add_scalar(f"{group}/{name}", value, step)


def as_markdown(sample: Sample) -> str:
    """Prediction beside reference, above the beginning of their document. No character of theirs is markup.

    Labels are headings: TensorBoard squeezes a column of short words until they break.
    """
    excerpt = sample.document
    if len(excerpt) > _EXCERPT_LENGTH:
        excerpt = excerpt[:_EXCERPT_LENGTH].rsplit(None, 1)[0] + " …"
    return "\n".join(
        [
            "| prediction | reference |",
            "|---|---|",
            f"| {_escaped(sample.prediction)} | {_escaped(sample.reference)} |",
            "",
            f"{_escaped(sample.id)}: {_escaped(excerpt)}",
        ]
    )


def _escaped(text: str) -> str:
    """``text`` as one table cell that shows every character as it is, and line breaks as such."""
    return "<br>".join(line.translate(_ESCAPES) for line in text.splitlines() if line.strip())
