"""Pure: the command line as a list of words, before fairseq parses it."""

import difflib
from collections.abc import Iterable


def take(arguments: list[str], option: str) -> tuple[list[str], str | None]:
    """Removes `option VALUE` or `option=VALUE`; the last one counts."""
    rest, value, place = [], None, 0
    while place < len(arguments):
        if arguments[place] == option and place + 1 < len(arguments):
            value, place = arguments[place + 1], place + 2
        elif arguments[place].startswith(f"{option}="):
            value, place = arguments[place].split("=", 1)[1], place + 1
        else:
            rest.append(arguments[place])
            place += 1
    return rest, value


def value_of(arguments: list[str], option: str) -> str | None:
    return take(arguments, option)[1]


def is_given(arguments: list[str], option: str) -> bool:
    """Whether an option, with a value or without, stands on the command line."""
    return any(argument == option or argument.startswith(f"{option}=") for argument in arguments)


def suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def positive(text: str) -> int:
    """A whole number from 1 up, for argparse. Raises ValueError for anything else."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number
