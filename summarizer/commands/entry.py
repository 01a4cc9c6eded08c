"""How every script starts and how it fails: one line for what the user can mend, a traceback for what we must."""

from __future__ import annotations

import difflib
import errno
import io
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import NoReturn, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from summarizer.commands.arguments import for_hydra, is_sweep
from summarizer.commands.jobs import Result, Sweep
from summarizer.commands.multirun import concluding, execute_job, is_job, require_one_process, sweep_arguments
from summarizer.commands.search import register_search
from summarizer.config import overruled_choices, to_object
from summarizer.errors import EXIT_USER_ERROR, UserError
from summarizer.parallel import is_spoken_for
from summarizer.terminal import printable

T = TypeVar("T")

# What the user can mend: names that are too long or go in circles, and what is closed to this user.
_OF_PATHS = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS}
_LONGEST_SHOWN = 200  # characters of a path
_OURS = "UserError raised while resolving interpolation: "


def run(main: Callable[[], None], sweep: Sweep[T] | None = None) -> None:
    """Run a function that ``hydra.main`` decorated and that calls :func:`execute`.

    :param sweep: what --multirun does; by default it is refused.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let exceptions come to us as they are
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter that a terminal lacks is no end of an hour's work
    if "--version" in sys.argv[1:]:
        print(f"summarizer {version('summarizer')}")
        return
    try:
        sys.argv[1:] = for_hydra(sys.argv[1:])
        if is_sweep(sys.argv[1:]):
            _sweep(main, sweep)
        else:
            main()
        sys.stdout.flush()
    except UserError as error:
        _refuse_settings(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _refuse_settings(explain(error))
    except ValueError as error:
        if not str(error).startswith("Config group override"):  # Hydra's own, for model=5
            raise
        _refuse_settings(f"{error}: name one of the options that --help lists")
    except KeyboardInterrupt:
        sys.exit(130)  # what a shell expects of Ctrl-C; a training run saves first and does not come here
    except BrokenPipeError:
        # The reader of our output has seen enough, like `| head` does; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _refuse_settings(_of_path(error))


def _sweep(main: Callable[[], None], sweep: Sweep[T] | None) -> None:
    if sweep is None:
        script = Path(sys.argv[0]).name
        raise UserError(
            f"--multirun is for train.py and evaluate.py, whose results a table can compare: start {script} once for "
            "each setting instead"
        )
    require_one_process()
    register_search()
    sys.argv[1:] = sweep_arguments(sys.argv[1:])
    with concluding(sweep):
        main()


def execute(
    command: Callable[[T], Result | None], composed: DictConfig, schema: type[T], sweep: Sweep[T] | None = None
) -> float | None:
    """Check what Hydra composed against ``schema`` and run ``command`` with it; its objective, if it has one.

    What the user gave wrong ends here, with one line on standard error and exit status 2: an exception that
    leaves a Hydra job is announced in words of its own. In a sweep it ends one job.
    """
    _tell_overruled(composed)
    if is_job() and sweep is not None:
        return execute_job(sweep, command, composed, partial(to_object, schema=schema), explain)
    try:
        config = to_object(composed, schema)
    except UserError as error:
        _refuse_settings(str(error))
    except OmegaConfBaseException as error:
        _refuse_settings(explain(error))
    try:
        result = command(config)
        return None if result is None else result.value
    except UserError as error:
        _refuse(str(error))
    except OmegaConfBaseException as error:
        _refuse(explain(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        _refuse(_of_path(error))


def _tell_overruled(composed: DictConfig) -> None:
    if HydraConfig.initialized() and not is_spoken_for():
        for line in overruled_choices(composed):
            print(f"note: {printable(line)}", file=sys.stderr)


def _of_path(error: OSError) -> str:
    """One line for a path that no command can use, whatever it was named for; other errors are raised again."""
    if error.errno not in _OF_PATHS or not isinstance(error.filename, str):
        raise error
    name = error.filename if len(error.filename) <= _LONGEST_SHOWN else f"{error.filename[:_LONGEST_SHOWN]}..."
    return f"{name} cannot be used: {error.strerror}; check the path, and whether you may read or write there"


def explain(error: Exception) -> str:
    """One line for an exception of Hydra or OmegaConf: the key or value, the rule, and the way out if known."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    if lines[0].startswith(_OURS):  # from a resolver of config/sweep.py
        return lines[0].removeprefix(_OURS)
    key = getattr(cause, "full_key", None)
    if isinstance(error, OverrideParseException):
        return f"{error.override} is not key=value as Hydra reads it; quote the value once more: \"key='value'\""
    if unknown := re.match(r"Key '(.+)' (?:is )?not in '(\w+)'", lines[0]):
        return f"{key or unknown[1]} is not a setting{_suggestion(unknown[1], cause)}"
    if missing := re.match(r"(?:In '.*': )?Could not find '(\w+)/(.+)'", lines[0]):
        options = list(takewhile(lambda line: "search path" not in line and "provider" not in line, lines[2:]))
        return f"{missing[1]} has no option {missing[2]}; the options are {', '.join(options)}"
    if key:
        return f"{key}: {lines[0]}"
    return "; ".join(line for line in lines if not line.startswith("See https")) + "; see --help"


def _suggestion(name: str, cause: Exception) -> str:
    known = [str(key) for key in getattr(cause, "parent_node", None) or () if key != "hydra"]
    close = difflib.get_close_matches(name.split(".")[-1], known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; the settings here are {', '.join(known)}" if known else "; see --help"


def _refuse_settings(message: str) -> NoReturn:
    """Processes that torchrun started have the same settings: the first one's line is enough."""
    if is_spoken_for():
        sys.exit(EXIT_USER_ERROR)
    _refuse(message)


def _refuse(message: str) -> NoReturn:
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)
