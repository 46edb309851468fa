"""Tagging: entity-level F1 for PANX, and for UDPOS the F1 that XTREME's scorer gives, with plain accuracy beside it.

Entities are read by the rules of CoNLL-2000's `conlleval` (Tjong Kim Sang and Buchholz 2000) as seqeval 1.2.2 applies
them in its default mode: a tag is its first character (B, I, E, S, O) and a type, and `I-PER` begins an entity where
none goes on. The figures equal seqeval's; seqeval itself is published without wheels and no longer builds everywhere.

XTREME scores UDPOS with seqeval too, over the bare tags. So `NOUN` reads as prefix `N` and type `OUN`, a run of equal
tags is one entity, and the types of CCONJ and SCONJ are the same (`CONJ`). That figure is no accuracy, and lower
than one as a rule; it is kept for comparison with published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from weam_fairseq.common.errors import InputError

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
        raise InputError("there is no gold tag to score against.")
