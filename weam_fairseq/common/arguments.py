"""The parser of our commands, and options read from the list of arguments before fairseq parses it."""

import argparse
import difflib
import textwrap
from collections.abc import Iterable
from itertools import groupby
from typing import Any, NoReturn

from weam_fairseq.common.errors import InputError


class CommandParser(argparse.ArgumentParser):
    """argparse's parser, with errors in one sentence. An option must be written in full: no abbreviations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _HelpFormatter, "allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Raises InputError. argparse would print the usage first."""
        see = f" See {self.prog} --help."
        raise InputError(f"{message[:1].upper()}{message[1:]}.{suggest_options(message, self) or see}")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps indented lines of description and epilog, and wraps paragraphs of prose to the terminal's width."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled: list[str] = []
        lines = super()._fill_text(text, width, indent).splitlines()
        for is_prose, block in groupby(lines, key=lambda line: bool(line.strip()) and not line.startswith(" ")):
            paragraph = [*block]
            filled += textwrap.wrap(" ".join(paragraph), width) if is_prose else paragraph
        return "\n".join(filled)


def suggest_options(message: str, parser: argparse.ArgumentParser) -> str:
    """Returns " Did you mean ...?" for each unrecognized option that argparse's message names."""
    unknown = [word for word in message.split() if word.startswith("--")] if message.startswith("unrecognized") else []
    return "".join(suggest(word.split("=")[0], parser._option_string_actions) for word in unknown)


def take(arguments: list[str], option: str) -> tuple[list[str], str | None]:
    """Removes `option VALUE` or `option=VALUE`. Returns the other arguments and the last value given.

    Raises:
        InputError: the option has no value.
    """
    others, value, position = [], None, 0
    while position < len(arguments):
        if arguments[position] == option:
            if position + 1 == len(arguments) or arguments[position + 1].startswith("--"):
                raise InputError(f"{option} needs a value, but has none.")
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


_MOST = 2**31 - 1


def _is_whole(text: str) -> bool:
    """Whether a text has only digits, and few enough for int()."""
    return text.isascii() and text.isdigit() and len(text) <= 20


def positive(text: str) -> int:
    """Reads a whole number from 1, for argparse."""
    if not _is_whole(text) or not 0 < int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {_MOST:,}, but is {text!r}")
    return int(text)


def natural(text: str) -> int:
    """Reads a whole number from 0, for argparse."""
    if not _is_whole(text) or int(text) > _MOST:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {_MOST:,}, but is {text!r}")
    return int(text)
