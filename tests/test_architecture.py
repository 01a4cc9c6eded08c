"""Who may import whom: the layers of the library, and the packages that only some of its files may know."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "summarizer"

# A unit may import those of earlier rows; never a neighbour of its own row, never one of a later row.
ROWS = [
    ["errors", "allocator", "terminal"],
    ["parallel"],
    ["tokenizer", "checkpoint", "runtime", "sharding", "measurement", "machine", "tables", "sentences"],
    ["model", "data"],
    ["training", "decoding", "presentation"],
    ["evaluation", "comparison"],
    ["benchmark", "planning"],
    ["config"],
    ["inference"],
    ["demo"],
    ["commands"],
    ["summarizer"],  # the package's own __init__.py: what users import, and therefore nobody inside
]
ROW_OF = {unit: row for row, units in enumerate(ROWS) for unit in units}


@dataclass(frozen=True)
class Reserved:
    """Packages for files whose path starts as ``allowed`` says, or does not start as ``forbidden``."""

    packages: frozenset[str]
    reason: str
    forbidden: tuple[str, ...] = ("",)
    allowed: tuple[str, ...] = ()

    def covers(self, file: str, module: str) -> bool:
        return (
            module.split(".")[0] in self.packages
            and file.startswith(self.forbidden)
            and not file.startswith(self.allowed)
        )


RESERVED = [
    Reserved(
        frozenset({"hydra", "omegaconf"}),
        "only config/, commands/entry.py, multirun.py and search.py know Hydra; the rest gets plain typed objects",
        allowed=("config/", "commands/entry.py", "commands/multirun.py", "commands/search.py"),
    ),
    Reserved(
        frozenset({"hydra", "omegaconf", "yaml", "sentencepiece", "datasets"}),
        "model/ knows no text, no files and no config library",
        forbidden=("model/",),
    ),
    Reserved(
        frozenset({"matplotlib"}),
        "only comparison/plots.py may need the optional matplotlib",
        allowed=("comparison/plots.py",),
    ),
    Reserved(
        frozenset({"optuna"}), "only commands/search.py may need the optional optuna", allowed=("commands/search.py",)
    ),
    Reserved(frozenset({"pickle", "cloudpickle", "dill", "shelve"}), "loading what somebody sent must run no code"),
]


@dataclass(frozen=True)
class Import:
    file: str  # relative to the package, as in "model/cache.py"
    line: int
    module: str  # in full: "summarizer.errors"

    def __str__(self) -> str:
        return f"summarizer/{self.file}:{self.line} imports {self.module}"


def imports_of(package: Path) -> Iterator[Import]:
    """All of them: also those inside functions and those for type checkers only."""
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for module in _modules(node, folder=["summarizer", *file.split("/")[:-1]]):
                yield Import(file, node.lineno, module)  # type: ignore[attr-defined]


def _modules(node: ast.AST, folder: list[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        start = folder[: len(folder) + 1 - node.level] if node.level else []
        module = ".".join([*start, *([node.module] if node.module else [])])
        if module == "summarizer":  # `from summarizer import errors` names a unit
            return [f"summarizer.{alias.name}" if alias.name in ROW_OF else module for alias in node.names]
        return [module]
    return []


def broken_rows(package: Path) -> list[str]:
    problems = []
    for found in imports_of(package):
        names = found.module.split(".")
        if names[0] != "summarizer":
            continue
        importer = _unit(found.file)
        imported = names[1] if len(names) > 1 else "summarizer"
        for unit in (importer, imported):
            if unit not in ROW_OF:
                problems.append(f"{found}: {unit} stands in no row; give it one in ROWS")
                break
        else:
            if importer != imported and ROW_OF[imported] >= ROW_OF[importer]:
                where = "the same row" if ROW_OF[imported] == ROW_OF[importer] else "a later row"
                problems.append(f"{found}: {imported} stands in {where}, and imports go to earlier rows only")
    return problems


def _unit(file: str) -> str:
    return "summarizer" if file == "__init__.py" else file.split("/")[0].removesuffix(".py")


def broken_reserves(package: Path) -> list[str]:
    return [
        f"{found}: {reserved.reason}"
        for found in imports_of(package)
        for reserved in RESERVED
        if reserved.covers(found.file, found.module)
    ]


def utils_modules(package: Path) -> list[str]:
    return [
        f"summarizer/{path.relative_to(package)}: name a file for what it does; a helper lives with its user"
        for path in sorted(package.rglob("*.py"))
        if "utils" in path.relative_to(package).with_suffix("").parts
    ]


def test_every_unit_of_the_package_stands_in_a_row() -> None:
    units = {_unit(path.relative_to(PACKAGE).as_posix()) for path in PACKAGE.rglob("*.py")}
    assert units == set(ROW_OF)


@pytest.mark.parametrize("check", [broken_rows, broken_reserves, utils_modules])
def test_the_package_keeps_the_rule(check: Callable[[Path], list[str]]) -> None:
    problems = check(PACKAGE)
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize(
    ("file", "code", "problem"),
    [
        ("errors.py", "import summarizer.tokenizer", "tokenizer stands in a later row"),
        ("model/a.py", "from summarizer.data.batch import Batch", "data stands in the same row"),
        ("decoding/a.py", "def f():\n    from summarizer import training", ":2 imports summarizer.training"),
        (
            "data/a.py",
            "if TYPE_CHECKING:\n    from ..evaluation import rouge",
            "evaluation stands in a later row",
        ),
        ("config/a.py", "from ..inference import Summarizer", "inference stands in a later row"),
        ("commands/a.py", "from summarizer import Summarizer", "summarizer stands in a later row"),
        ("extra/a.py", "from summarizer.errors import UserError", "extra stands in no row"),
        ("commands/train.py", "from hydra.utils import instantiate", "only config/, commands/entry.py"),
        ("model/a.py", "import numpy, sentencepiece as sp", "model/ knows no text"),
        ("checkpoint/a.py", "try:\n    import pickle\nexcept ImportError:\n    pass", "must run no code"),
        ("training/utils.py", "", "summarizer/training/utils.py: name a file for what it does"),
        ("utils/text.py", "", "summarizer/utils/text.py: name a file for what it does"),
    ],
)
def test_a_breach_is_found(tmp_path: Path, file: str, code: str, problem: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(code)
    problems = [*broken_rows(tmp_path), *broken_reserves(tmp_path), *utils_modules(tmp_path)]
    assert len(problems) == 1
    assert problem in problems[0]


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (
            "model/a.py",
            "from .cache import DecoderCache\nfrom . import layers\nfrom ..errors import UserError",
        ),
        (
            "config/composition.py",
            "import yaml\nfrom hydra.core.config_store import ConfigStore\nimport summarizer.model.config",
        ),
        ("__init__.py", "def f():\n    from summarizer.inference import Summarizer"),
        ("data/tokens_and_utils.py", "import datasets"),
    ],
)
def test_what_is_allowed_is_no_breach(tmp_path: Path, file: str, code: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(code)
    assert [*broken_rows(tmp_path), *broken_reserves(tmp_path), *utils_modules(tmp_path)] == []


def test_no_two_files_of_tests_have_one_name() -> None:
    """Tests are no packages: of two files of one name in one run pytest collects neither."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
