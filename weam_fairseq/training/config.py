"""--config FILE.yaml: a YAML mapping as words of the command line."""

import re
from pathlib import Path
from typing import Any

from weam_fairseq.common.arguments import is_given
from weam_fairseq.common.documents import read_yaml, shown
from weam_fairseq.common.errors import InputError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# A config may come with somebody's data-bin or paper. Such a file must not choose code or machines.
_NOT_IN_A_FILE = ("user-dir", "config", "distributed-init-method")


def read_config(path: Path, given: list[str]) -> list[str]:
    """Options of a YAML mapping as arguments, without those that the command line gives.

    true sets a flag, false and null leave an option out, a list is written with commas (as --lr, --update-freq,
    --adam-betas and --pairs take it), `data` is the data-bin.

    Raises:
        InputError: no such file, not YAML, not a mapping from options to values and lists of them, or an option that
            decides what code runs or with which machines it speaks.
    """
    if not path.is_file():
        raise InputError(f"--config must name a YAML file, but there is no {path}.")
    options = read_yaml(path)
    if not isinstance(options, dict):
        found = "nothing" if options is None else f"a {type(options).__name__}"
        raise InputError(f"{path} must be a mapping from options to values, but holds {found}.")
    arguments: list[str] = []
    for name, value in options.items():
        option = f"--{_checked_name(name, path)}"
        if is_given(given, option) or value is False or value is None:
            continue
        if name == "data":
            # The data-bin has no option's name: on the command line it stands first, as in all examples.
            data = _written(value, path, "data")
            if data.startswith("-"):
                raise InputError(f"{path} must give `data` the name of a data-bin, but gives {shown(value)}.")
            arguments = arguments if given and not given[0].startswith("-") else [data, *arguments]
        elif value is True:
            arguments.append(option)
        else:
            written = _written(value, path, option)
            # A value that looks like an option must not become one.
            arguments += [f"{option}={written}"] if written.startswith("-") else [option, written]
    return arguments


def _checked_name(name: Any, path: Path) -> str:
    """Raises InputError for what cannot be an option's name, and for what a file from elsewhere must not decide."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"{path} must be a mapping from options to values, but {shown(name)} is no option.")
    option = name.replace("_", "-")
    if option in _NOT_IN_A_FILE:
        raise InputError(
            f"{path} must hold settings of the training, but gives --{option}, which decides what code runs or with "
            "which machines it speaks. Give that option on the command line."
        )
    return option


def _written(value: Any, path: Path, option: str) -> str:
    parts = value if isinstance(value, list) else [value]
    if not parts or not all(isinstance(part, str | int | float) for part in parts):
        raise InputError(f"{path} must give {option} a value or a list of values, but gives {shown(value)}.")
    return ",".join(map(str, parts))
