"""Options of a config as words of a command line."""

from __future__ import annotations

from weam_fairseq.study.yaml_file import Options


def words(options: Options, *, repeat: bool = False) -> list[str]:
    """true sets a flag; false and null leave an option out.

    Args:
        repeat: a list gives the option once for each value, else once with commas.
    """
    found: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        if value is True:
            found.append(f"--{name}")
        elif isinstance(value, list) and repeat:
            found += [word for each in value for word in (f"--{name}", str(each))]
        else:
            found += [f"--{name}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return found


def as_number(value: object) -> float | None:
    """The number that an option's value is; None for anything else."""
    try:
        return None if isinstance(value, bool) else float(str(value))
    except ValueError:
        return None


def named(name: str, value: object) -> str:
    """How a cell's name tells an option: `cp-weight 0.5`, `skip-identical`."""
    if value is None or value is False:
        return f"no {name}"
    return name if value is True else f"{name} {','.join(map(str, value)) if isinstance(value, list) else value}"
