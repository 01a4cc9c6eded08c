"""An evaluation in, TensorBoard event files in the run's own log out."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from summarizer.evaluation.bootstrap import RougeSummary
from summarizer.evaluation.evaluator import Evaluation
from summarizer.training.board import as_markdown, leave_errors_to_main_thread
from summarizer.training.board_layout import layout
from summarizer.training.validation import Sample

_FOLDER = "evaluation"


def write_board(folder: Path, evaluation: Evaluation, *, split: str, step: int, samples: int) -> None:
    """Scalars ``evaluation_<split>/rouge1`` with their intervals, the same of each baseline, traits, and samples.

    They go below ``folder``, a run's log, as runs of their own: TensorBoard reads one growing file in each folder,
    and a training may still be writing there.

    Raises OSError if ``folder`` cannot be written.
    """
    leave_errors_to_main_thread()
    with SummaryWriter(str(folder / _FOLDER)) as writer:
        writer.add_custom_scalars(layout())
        _add_rouge(writer, split, step, evaluation.model)
        for name, value in evaluation.traits.items():
            writer.add_scalar(f"evaluation_{split}_traits/{name}", value, step)
        for number, record in enumerate(evaluation.records[:samples], start=1):
            sample = Sample(record.case.id, record.case.document, record.case.references[0], record.prediction)
            writer.add_text(f"evaluation_{split}_samples/{number}", as_markdown(sample), step)
    for name, summary in evaluation.baselines.items():
        with SummaryWriter(str(folder / _FOLDER / name)) as writer:
            _add_rouge(writer, split, step, summary)


def _add_rouge(writer: SummaryWriter, split: str, step: int, summary: RougeSummary) -> None:
    for rouge_type, measure in summary.items():
        for suffix, value in zip(("", "_low", "_high"), measure.f1, strict=True):
            writer.add_scalar(f"evaluation_{split}/{rouge_type}{suffix}", value, step)
