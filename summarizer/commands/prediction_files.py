"""Names of runs, evaluations and files in; the cases they are of, the predictions in them and their language out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from summarizer.checkpoint import require_run_folder
from summarizer.checkpoint.files import read_small
from summarizer.commands.evaluation_bench import Bench
from summarizer.commands.hints import script_command
from summarizer.config import EvaluateConfig, from_yaml
from summarizer.errors import UserError
from summarizer.evaluation.cases import Case, Line, cases_of, in_order_of, read_predictions, read_references
from summarizer.evaluation.evaluator import METRICS_FILE, PREDICTIONS_FILE
from summarizer.evaluation.words import ENGLISH
from summarizer.inference import CONFIG_FILE

_MOST_METRICS = 1 << 20  # bytes; they are some thousands


def read_cases(config: EvaluateConfig, file: Path, bench: Bench) -> tuple[list[Case], list[str]]:
    """Predictions, and the cases they are of: from the named file, from the run's split, or from beside them."""
    lines = read_predictions(file, may_be_empty=config.empty_predictions or bool(config.compare))
    if config.references is not None:
        references = read_references(Path(config.references))
        cases, lines = cases_of(references), _as_named_as(references, lines)
        whose = f"references ({config.references})"
    elif config.run is not None and not config.compare:
        data = from_yaml(require_run_folder(Path(config.run)) / CONFIG_FILE).data
        cases = bench.cases(replace(config, limit=None), data)
        whose = f"the {config.split} split of {config.run}"
    else:
        lines = lines[: config.limit]
        return cases_of(lines), [line.text or "" for line in lines]
    if config.limit is not None:
        cases, lines = _first(config.limit, cases, lines)
        whose = f"the first {len(cases):,} of {whose}"
    return cases, in_order_of(cases, lines, whose)


def _as_named_as(references: Sequence[Line], lines: list[Line]) -> list[Line]:
    """Without their ids, where the references have none: then there is nothing but the order to match them by.

    Numbers from 1 on are a name for each line of any file.
    """
    numbers = {str(number) for number in range(1, len(references) + 1)}
    if any(line.id is not None for line in references) or {line.id for line in lines} == numbers:
        return lines
    return [replace(line, id=None) for line in lines]


def _first(count: int, cases: list[Case], lines: list[Line]) -> tuple[list[Case], list[Line]]:
    """The first cases, and the lines that are theirs: by id, where every line has one."""
    if any(line.id is None for line in lines):
        return cases[:count], lines[:count]
    left_out = {case.id for case in cases[count:]}
    return cases[:count], [line for line in lines if line.id not in left_out]


def predictions_file(path: Path, split: str) -> Path:
    """What to compare ``path`` by: itself if it is a file, else what an evaluation left in it."""
    if path.is_file():
        return path
    for candidate in (path / PREDICTIONS_FILE, path / "evaluation" / split / PREDICTIONS_FILE):
        if candidate.is_file():
            return candidate
    if (path / CONFIG_FILE).is_file():
        command = script_command("evaluate", f"run={path}", f"split={split}")
        raise UserError(f"compare ({path}) holds no predictions of the {split} split yet: first {command}")
    raise UserError(f"compare ({path}) is no run folder, evaluation folder or file of predictions: check the path")


def language_of(config: EvaluateConfig, files: Sequence[Path] = ()) -> str:
    """The one that was given; else that of the run, or the one that the predictions were scored by before, or English.

    :param files: of predictions.

    Raises UserError if they were scored by different ones.
    """
    if config.language is not None:
        return config.language
    if config.run is not None:
        return from_yaml(require_run_folder(Path(config.run)) / CONFIG_FILE).validation.language
    languages = [_scored_by(file) for file in files]
    if len(set(languages)) > 1:
        raise UserError(
            f"compare must be of one language, and {files[0]} was scored as {languages[0]}, {files[1]} as "
            f"{languages[1]}: say which with language=<code>"
        )
    return languages[0] if languages else ENGLISH


def _scored_by(file: Path) -> str:
    """What the metrics beside a file of ours say or, where they are too old for that, what its run has."""
    if file.name == PREDICTIONS_FILE:
        try:
            language = json.loads(read_small(file.with_name(METRICS_FILE), _MOST_METRICS))["language"]
        except (OSError, ValueError, TypeError, KeyError):
            language = None
        if isinstance(language, str):
            return language
        for folder in file.parents[2:3]:  # <run>/evaluation/<split>/predictions.jsonl
            if (folder / CONFIG_FILE).is_file():
                return from_yaml(folder / CONFIG_FILE).validation.language
    return ENGLISH
