"""Labels under the names and numbers that people use, to the names that are compared. An unknown one is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from weam_fairseq.common.errors import InputError

# transformers calls the classes of a model without names LABEL_0, LABEL_1 and so on.
_NUMBER = re.compile(r"(?:label_)?([0-9])", re.IGNORECASE)


class Labels(NamedTuple):
    """A task's labels.

    Attributes:
        numbers: the label for each number, from 0.
        names: spelling, in small letters, to label.
        described: what a label may be, for people.
    """

    numbers: tuple[str, ...]
    names: Mapping[str, str]
    described: str

    def known(self, text: str, where: str) -> str:
        """The label that `text` stands for; capital letters make no difference.

        Raises:
            InputError: it is no label of the task.
        """
        text = text.strip()
        number = _NUMBER.fullmatch(text)
        if number is not None and int(number[1]) < len(self.numbers):
            return self.numbers[int(number[1])]
        if text.lower() not in self.names:
            raise InputError(f"{where}: the label must be {self.described}, but is {text!r}.")
        return self.names[text.lower()]

    @property
    def named(self) -> bool:
        """Whether a number is not the label itself, so that an order of labels is taken for granted."""
        return self.numbers[0] != "0"

    @property
    def numbered(self) -> str:
        return ", ".join(f"{number} {label}" for number, label in enumerate(self.numbers))


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text.strip()) is not None


# Two-way sets know no more than this; as a target it is "contradiction or neutral".
NOT_ENTAILMENT = "not_entailment"

# SNLI's and MultiNLI's annotators did not agree: such pairs have no label (-1 in the Hub's copies).
NO_LABEL = "-"

_NLI_NAMES = {
    **{label: label for label in ("entailment", "neutral", "contradiction")},
    **{"contradictory": "contradiction", "contradicts": "contradiction", "entails": "entailment"},
    **{"e": "entailment", "n": "neutral", "c": "contradiction"},
}
_NLI_NUMBERS = ("entailment", "neutral", "contradiction")
_NLI_DESCRIBED = "entailment, neutral or contradiction (or 0, 1, 2 in this order, as published data sets have it)"

# What can be scored.
NLI = Labels(_NLI_NUMBERS, _NLI_NAMES, _NLI_DESCRIBED)

# What can also stand in training data.
TRAINING_NLI = Labels(
    _NLI_NUMBERS,
    {
        **_NLI_NAMES,
        **dict.fromkeys((NO_LABEL, "-1"), NO_LABEL),
        **dict.fromkeys(("yes", "true"), "entailment"),  # RTE 1-3
        **dict.fromkeys(("no", "false", NOT_ENTAILMENT), NOT_ENTAILMENT),
    },
    _NLI_DESCRIBED,
)

PARAPHRASE = Labels(
    ("0", "1"),
    {
        **dict.fromkeys(("paraphrase", "yes", "true"), "1"),
        **dict.fromkeys(("not_paraphrase", "not paraphrase", "non-paraphrase", "no", "false"), "0"),
    },
    "1 (paraphrase) or 0 (not_paraphrase)",
)

CHOICE = Labels(
    ("0", "1"),
    {"choice1": "0", "choice2": "1"},
    "0 (choice1) or 1 (choice2), counted from 0; subtract 1 if the file counts from 1",
)


def known_tag(text: str, tags: Sequence[str], where: str) -> str:
    """The tag; capital letters make no difference. Raises InputError: it is none of `tags`."""
    if text.upper() not in tags:
        raise InputError(f"{where}: the tag must be one of {', '.join(tags)}, but is {text!r}.")
    return text.upper()
