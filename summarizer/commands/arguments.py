"""A command line as people write it in, as Hydra reads it out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from summarizer.errors import UserError

# Settings that are one piece of text whatever stands in it, and those that are too unless they are null.
_TEXTS = {"text", "prefix"}
_PATHS = {
    "attention", "data.cache_dir", "data.path", "data_path", "input", "output", "predictions", "references", "run",
    "run_dir", "tokenizer.path",
}  # fmt: skip
_LISTS = {"compare"}  # of paths
_QUOTED = re.compile(r"""'([^'\\]|\\.)*'|"([^"\\]|\\.)*\"""", re.DOTALL)

# Hydra's own options.
_SWEEP = {"-m", "--multirun"}
_WITH_VALUE = {
    "--cfg", "-c", "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--experimental-rerun",
    "--info", "-i", "--package", "-p",
}  # fmt: skip
_ALONE = {"--help", "-h", "--hydra-help", "--resolve", "--run", "-r", "--shell-completion", "-sc"}
_OPTIONS = _SWEEP | _WITH_VALUE | _ALONE


def for_hydra(arguments: Sequence[str]) -> list[str]:
    """The arguments with texts and paths quoted, and --multirun, after which Hydra reads no settings, in front.

    Raises UserError for what is no setting, and says how to write one.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument.startswith("-"):
            _require_option(argument)
        elif "=" not in argument and not argument.startswith("~") and before not in _WITH_VALUE:
            guess = argument if Path(argument, "config.yaml").is_file() else "outputs/sample"
            raise UserError(f"{argument} is not key=value, as in run={guess}: --help lists the settings")
    sweeping = is_sweep(arguments)
    settings = [_verbatim(argument, sweeping=sweeping) for argument in arguments if argument not in _SWEEP]
    return ["--multirun", *settings] if sweeping else settings


def is_sweep(arguments: Sequence[str]) -> bool:
    return not _SWEEP.isdisjoint(arguments)


def _require_option(argument: str) -> None:
    name, equals, value = argument.partition("=")
    if name not in _OPTIONS:
        setting = f"{name.lstrip('-') or 'key'}={value if equals else '...'}"
        raise UserError(f"{argument} is not an option; a setting has no dashes, as in {setting}: --help lists them")


def _verbatim(argument: str, *, sweeping: bool) -> str:
    """A text or a path as one string: the commas, quotes and brackets in it would be grammar to Hydra, 1_0 a number.

    Who knows that and quotes it for Hydra gets what the quotes hold. Paths keep what is of use in them: a reference
    ${...}, and the commas of a sweep or a list.
    """
    key, _, value = argument.partition("=")
    if key not in _TEXTS | _PATHS | _LISTS or _QUOTED.fullmatch(value):
        return argument
    if key not in _TEXTS and ("${" in value or value.lower() == "null"):
        return argument
    if key in _LISTS:
        listed = re.fullmatch(r"\[([^'\"]*)\]", value)
        return argument if listed is None else f"{key}=[{_each_quoted(listed[1])}]"
    if key in _PATHS and value.startswith("["):
        return argument
    if key in _PATHS - {"run_dir"} and sweeping:
        return argument if re.search(r"[('\"]", value) else f"{key}={_each_quoted(value)}"
    return f"{key}={quoted(value)}"


def _each_quoted(values: str) -> str:
    return ",".join(quoted(value.strip()) for value in values.split(","))


def quoted(value: str) -> str:
    """``value`` as Hydra reads it back to the letter."""
    # ${ is the start of a reference to OmegaConf.
    literal = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", value)
    # To Hydra a backslash is one of its own only before a quote.
    escaped = re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + found[2].replace("'", r"\'"), literal)
    return f"'{escaped}'"
