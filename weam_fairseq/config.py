"""--config FILE.yaml: a YAML mapping as words of the command line."""

from pathlib import Path
from typing import Any

from .common.arguments import is_given
from .common.errors import InputError


def read_config(path: Path, given: list[str]) -> list[str]:
    """Options of a YAML mapping as arguments, without those that the command line gives.

    true sets a flag, false and null leave an option out, a list is written with commas (as --lr, --update-freq,
    --adam-betas and --pairs take it), `data` is the data-bin.

    Raises:
        InputError: no such file, not YAML, or not a mapping from options to values and lists of them.
    """
    import yaml

    if not path.is_file():
        raise InputError(f"--config must name a YAML file, but there is no {path}.")
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} must be YAML, but is not: {str(error).splitlines()[0]}.") from error
    if not isinstance(options, dict):
        raise InputError(f"{path} must be a mapping from options to values, but holds a {type(options).__name__}.")
    arguments: list[str] = []
    for name, value in options.items():
        option = f"--{str(name).replace('_', '-')}"
        if is_given(given, option) or value is False or value is None:
            continue
        if name == "data":
            # The data-bin has no option's name: on the command line it stands first, as in all examples.
            arguments = arguments if given and not given[0].startswith("-") else [str(value), *arguments]
        elif value is True:
            arguments.append(option)
        else:
            arguments += [option, _written(value, path, option)]
    return arguments


def _written(value: Any, path: Path, option: str) -> str:
    parts = value if isinstance(value, list) else [value]
    if not parts or not all(isinstance(part, str | int | float) for part in parts):
        raise InputError(f"{path} must give {option} a value or a list of values, but gives {value!r}.")
    return ",".join(map(str, parts))
