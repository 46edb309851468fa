"""Labels and tags: accepted spellings, accuracy, and F1 over entities.

Entities follow the rules of CoNLL-2000's `conlleval` (Tjong Kim Sang and Buchholz 2000) as seqeval 1.2.2 applies them
by default: a tag is its first character (B, I, E, S, O) and a type, and `I-PER` begins an entity unless it continues
one. The figures equal seqeval's. seqeval itself has no wheels and no longer builds on all systems.

XTREME also scores UDPOS with seqeval, on the bare tags. So `NOUN` is read as prefix `N` and type `OUN`, a run of
equal tags is one entity, and CCONJ and SCONJ have the same type (`CONJ`). This F1 differs from accuracy and is
usually lower. It is reported to allow comparison with published figures.
"""

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
        """The label that `text` means, ignoring case.

        Raises:
            InputError: `text` is not a label of the task.
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


def known_tag(text: str, tags: Sequence[str], where: str) -> str:
    """The tag, ignoring case. Raises InputError: it is not one of `tags`."""
    if text.upper() not in tags:
        raise InputError(f"{where}: the tag must be one of {', '.join(tags)}, but is {text!r}.")
    return text.upper()


def accuracy(gold: Sequence[str], predictions: Sequence[str]) -> float:
    """The share of equal labels, 0–100.

    Raises:
        InputError: the two differ in length, or are empty.
    """
    if len(gold) != len(predictions):
        raise InputError(
            f"there are {len(gold):,} gold labels but {len(predictions):,} predictions: "
            "label k of one must belong to label k of the other."
        )
    if not gold:
        raise InputError("the gold contains no label.")
    return 100.0 * sum(one == other for one, other in zip(gold, predictions, strict=True)) / len(gold)


# (type, first, last), counted over all sentences together with one position between two sentences.
Entity = tuple[str, int, int]
_ENDS = {("B", "B"), ("B", "S"), ("B", "O"), ("I", "B"), ("I", "S"), ("I", "O")}
_BEGINS = {("E", "E"), ("E", "I"), ("S", "E"), ("S", "I"), ("O", "E"), ("O", "I")}


class TaggingScore(NamedTuple):
    """All 0–100, over all entities together (micro average)."""

    f1: float
    precision: float
    recall: float


class PosScore(NamedTuple):
    """All 0–100: XTREME's F1 over runs of tags, and the share of words with the right tag."""

    f1: float
    accuracy: float


def entity_f1(gold: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> TaggingScore:
    """Scores one sequence of tags a sentence. An entity is right when its type, first and last word are.

    Raises:
        InputError: the two differ in their sentences or in a sentence's length, there is no word, or a tag is empty.
    """
    _check(gold, predictions)
    expected, found = entities(gold), entities(predictions)
    right = len(expected & found)
    precision = 100.0 * right / len(found) if found else 0.0
    recall = 100.0 * right / len(expected) if expected else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return TaggingScore(f1, precision, recall)


def pos_scores(gold: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> PosScore:
    """Scores bare tags such as NOUN.

    Raises:
        InputError: the two differ in their sentences or in a sentence's length, there is no word, or a tag is empty.
    """
    f1 = entity_f1(gold, predictions).f1
    pairs = [pair for row in zip(gold, predictions, strict=True) for pair in zip(*row, strict=True)]
    return PosScore(f1, 100.0 * sum(one == other for one, other in pairs) / len(pairs))


def entities(sentences: Sequence[Sequence[str]]) -> set[Entity]:
    """The entities of all sentences, as seqeval 1.2.2 reads them by default."""
    found = set()
    begin = 0
    last_prefix, last_type = "O", ""
    tags = [tag for sentence in sentences for tag in (*sentence, "O")]
    for place, tag in enumerate([*tags, "O"]):
        prefix, kind = tag[0], tag[1:].split("-", maxsplit=1)[-1] or "_"
        if _ends(last_prefix, prefix) or (last_prefix not in "O." and last_type != kind):
            found.add((last_type, begin, place - 1))
        if _begins(last_prefix, prefix) or (prefix not in "O." and last_type != kind):
            begin = place
        last_prefix, last_type = prefix, kind
    return found


def _ends(last: str, prefix: str) -> bool:
    return last in "ES" or (last, prefix) in _ENDS


def _begins(last: str, prefix: str) -> bool:
    return prefix in "BS" or (last, prefix) in _BEGINS


def _check(gold: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> None:
    if len(gold) != len(predictions):
        raise InputError(f"there are {len(gold):,} gold sentences but {len(predictions):,} predicted ones.")
    for number, (expected, found) in enumerate(zip(gold, predictions, strict=True), start=1):
        if len(expected) != len(found):
            raise InputError(
                f"sentence {number:,} has {len(expected)} gold tags but {len(found)} predicted ones: "
                "every word needs one tag."
            )
        if not all(expected) or not all(found):
            raise InputError(f"sentence {number:,} holds an empty tag.")
    if not any(gold):
        raise InputError("the gold contains no tag.")
