"""What README.md shows is there and works: commands, links, paths and the annotated tree."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

if TYPE_CHECKING:
    from tests.integration.conftest import Command

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
OURS = re.compile(r"^(\.ci|configs|data|scripts|summarizer|tests|docs)/")
FEWEST_COMMANDS = 5


@dataclass(frozen=True)
class Shown:
    """A command that runs one of our scripts."""

    script: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join([self.script, *self.arguments])

    def value_of(self, key: str) -> str | None:
        given = [argument.partition("=")[2] for argument in self.arguments if argument.startswith(f"{key}=")]
        return given[-1] if given else None


def bash_lines() -> list[str]:
    blocks = [content for language, content in BLOCKS if language in ("bash", "sh", "shell", "console")]
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.removeprefix("$ ").strip() for line in joined.splitlines() if line.strip()]


def shown_commands() -> list[Shown]:
    return [shown for line in bash_lines() for shown in _scripts_of(line)]


def _scripts_of(line: str) -> Iterator[Shown]:
    # A variable stands for a folder of the user's.
    words = shlex.split(re.sub(r"\$\{?(\w+)\}?", r"\1", line), comments=True)
    for place, word in enumerate(words):
        if found := re.fullmatch(r"(?:.*/)?scripts/(\w+)\.py", word):
            rest = words[place + 1 :]
            end = next((n for n, each in enumerate(rest) if each in ("|", "&&", ";", ">", "2>", "&")), len(rest))
            yield Shown(found[1], tuple(rest[:end]))


def test_the_readme_shows_commands() -> None:
    assert len(shown_commands()) >= FEWEST_COMMANDS, "README.md shows too few commands in ```bash blocks"
    assert {shown.script for shown in shown_commands()} >= {"train", "evaluate", "generate"}


@pytest.mark.slow
@pytest.mark.parametrize("shown", [shown for shown in shown_commands() if "--help" not in shown.arguments], ids=str)
def test_each_command_shown_is_accepted(shown: Shown, accepted: Callable[..., Any]) -> None:
    """Its settings exist, compose and are valid; whether the data is there only running it can tell."""
    assert (REPOSITORY / "scripts" / f"{shown.script}.py").is_file()
    accepted(shown.script, *(first_job(shown.arguments) if "--multirun" in shown.arguments else shown.arguments))


def first_job(arguments: Sequence[str]) -> list[str]:
    """Those of the first of several jobs."""
    overrides = OverridesParser.create().parse_overrides([each for each in arguments if each != "--multirun"])
    return [
        f"{each.key_or_group}={next(each.sweep_string_iterator())}" if each.is_sweep_override() else each.input_line
        for each in overrides
        if each.input_line is not None
    ]


@pytest.mark.slow
def test_the_commands_shown_for_the_smoke_run_and_for_help_work(command: Command) -> None:
    """In the order shown, in an empty folder."""
    runs = {shown.value_of("run_dir") for shown in shown_commands() if shown.value_of("experiment") == "smoke"} - {None}
    for shown in shown_commands():
        is_smoke = shown.value_of("experiment") == "smoke" or shown.value_of("run") in runs
        has_its_input = shown.value_of("input") is None
        if "--help" in shown.arguments or (is_smoke and has_its_input):
            outcome = command(shown.script, *shown.arguments, stdin=b"A text of some words.")
            assert outcome.status == 0, f"{shown}\n{outcome.err}"


def test_each_make_target_shown_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    shown = {word for line in bash_lines() for word in re.findall(r"^make ([\w-]+)", line)}
    shown |= set(re.findall(r"`make ([\w-]+)[^`]*`", README))
    assert {"train", "test"} <= shown, "README.md does not show `make train` and `make test`"
    assert shown <= targets


def test_each_file_linked_or_named_exists() -> None:
    links = {link for link in re.findall(r"\]\(([^)\s]+)\)", README) if not re.match(r"\w+:|#", link)}
    named = {word.strip(".,:;") for code in re.findall(r"`([^`\n]+)`", README) for word in code.split()}
    paths = {link.partition("#")[0] for link in links} | {word for word in named if OURS.match(word)}
    missing = sorted(path for path in paths if not _exists(path))
    assert not missing, f"README.md names what does not exist: {', '.join(missing)}"


def _exists(path: str) -> bool:
    path, _, test = path.partition("::")
    if test:
        return f"def {test}(" in (REPOSITORY / path).read_text(encoding="utf-8")
    return any(REPOSITORY.glob(path)) if re.search(r"[*?\[]", path) else (REPOSITORY / path).exists()


def test_the_annotated_tree_names_only_what_exists() -> None:
    trees = [content for _, content in BLOCKS if re.search(r"^\W*summarizer/(\s|$)", content, re.MULTILINE)]
    assert trees, "README.md has no annotated tree: a fenced block with a line `summarizer/`"
    missing = [path for tree in trees for path in tree_paths(tree) if not _exists(path)]
    assert not missing, f"the tree of README.md names what does not exist: {', '.join(missing)}"


def tree_paths(tree: str) -> Iterator[str]:
    """``folder/`` or files, indented below the folder they are in, then two spaces and what they are for."""
    above: list[tuple[int, str]] = []
    for line in tree.splitlines():
        plain = re.sub(r"[│├└─]", " ", line)
        indent = len(plain) - len(plain.lstrip())
        names = [name.rstrip(",") for name in re.split(r"\s{2,}|\s+#", plain.strip())[0].split()]
        if not names or not all(re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", name) for name in names):
            continue
        while above and above[-1][0] >= indent:
            above.pop()
        folder = above[-1][1] if above else ""
        yield from (folder + name for name in names if "." in name or name.endswith("/"))
        if names[0].endswith("/"):
            above.append((indent, folder + names[0]))


def test_the_tree_reader_finds_what_is_missing() -> None:
    tree = "summarizer/   the package\n  model/\n    attention.py, nothing.py   two\nscripts/\n  train.py\n"
    paths = list(tree_paths(tree))
    assert [path for path in paths if not _exists(path)] == ["summarizer/model/nothing.py"]
    assert "scripts/train.py" in paths
