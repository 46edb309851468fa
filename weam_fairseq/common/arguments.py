"""Pure: reads options from the list of command-line arguments, before fairseq parses it."""

import difflib
from collections.abc import Iterable


def take(arguments: list[str], option: str) -> tuple[list[str], str | None]:
    """Removes `option VALUE` or `option=VALUE`. Returns the other arguments and the last value given."""
    others, value, position = [], None, 0
    while position < len(arguments):
        if arguments[position] == option and position + 1 < len(arguments):
            value, position = arguments[position + 1], position + 2
        elif arguments[position].startswith(f"{option}="):
            value, position = arguments[position].split("=", 1)[1], position + 1
        else:
            others.append(arguments[position])
            position += 1
    return others, value


def value_of(arguments: list[str], option: str) -> str | None:
    return take(arguments, option)[1]


def is_given(arguments: list[str], option: str) -> bool:
    """Whether the command line has an option, with or without a value."""
    return any(argument == option or argument.startswith(f"{option}=") for argument in arguments)


def suggest(word: str, known: Iterable[str]) -> str:
    """Returns " Did you mean ...?" with the known name that is most like `word`, or an empty text."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def positive(text: str) -> int:
    """Reads an integer of 1 or more, for argparse. Raises ValueError for anything else."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number
