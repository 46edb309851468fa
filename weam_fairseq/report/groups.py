"""Which scores belong in one table, and whether they may be compared: read from their signatures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.scores import Entry

TRANSLATED = "translations"
_SOURCE = "en"


class Group(NamedTuple):
    """What one table is of.

    Attributes:
        trained_on: the training data as the signature names it; empty for what is measured without fine-tuning. With
            a translation for each language, the hash of each is left out.
        pairs: whether the languages are pairs. MLQA has both kinds, and no average goes over both.
    """

    task: str
    metric: str
    split: str
    trained_on: str
    pairs: bool


def name_groups(groups: Iterable[Group]) -> dict[Group, str]:
    """A title for each: its task and metric, and what distinguishes it from the others."""
    names = {group: _named(group, 0) for group in groups}
    for detail in (1, 2):
        count = Counter(names.values())
        names = {group: _named(group, detail) if count[name] > 1 else name for group, name in names.items()}
    return names


def _named(group: Group, detail: int) -> str:
    parts = [f"{group.task}, {group.metric}"]
    parts += ["pairs of languages"] if group.pairs else []
    parts += [f"trained on {TRANSLATED}"] if TRANSLATED in group.trained_on else []
    parts += [group.split] if detail > 0 else []
    parts += [group.trained_on] if detail > 1 and group.trained_on else []
    return ", ".join(parts)


def group_scores(entries: Sequence[Entry]) -> dict[Group, list[Entry]]:
    """The groups in the order of their first scores.

    English figures are the same for training on English and on translations, so both tables have them.
    """
    groups: dict[Group, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_group(entry), []).append(entry)
    english_only = set()
    for group, rows in groups.items():
        if TRANSLATED not in group.trained_on:
            continue
        for other, candidates in groups.items():
            if _translated(other) == group:
                english = [entry for entry in candidates if _language(entry) == _SOURCE]
                rows.extend(english)
                if len(english) == len(candidates):
                    english_only.add(other)
    return {group: rows for group, rows in groups.items() if group not in english_only}


def _group(entry: Entry) -> Group:
    score = entry.score
    plain = Group(score.task, score.metric, score.split, score.trained_on, "-" in score.language)
    parts = score.trained_on.split(":")
    return plain if len(parts) < 3 or parts[1] == _SOURCE else _translated(plain)


def _translated(group: Group) -> Group:
    """`multinli:de:0123456789ab:2000` is `multinli:translations:2000`, whatever the language."""
    name, *rest = group.trained_on.split(":")
    return group._replace(trained_on=":".join([name, TRANSLATED, *rest[2:]]))


def _language(entry: Entry) -> str:
    return entry.score.language.split("-")[0]


# What is compared, so that it differs as a rule. `start` names a fine-tuned model by what it was made of.
COMPARED = {"ckpt", "seed", "start"}
# What may belong to a model (its depth, its own best recipe) or hardly matters. A note names the difference.
SAID = {"layer": "layer", "recipe": "recipe", "select": "epoch chosen by", "v": "weam-fairseq"}
SAID |= {"transformers": "transformers", "torch": "torch"}


def check_comparable(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Checks scores of one column. Returns the permitted differences, as the values by name.

    Raises:
        InputError: two scores differ in their data, split, scorer or another part that must be equal.
    """
    if not entries:
        return {}
    first = entries[0].score.parts
    allowed: dict[str, list[str]] = {}
    for entry in entries:
        parts = entry.score.parts
        for name in [*first, *(name for name in parts if name not in first)]:
            one, other = (each.get(name, "nothing") for each in (first, parts))
            if name in COMPARED or one == other:
                continue
            if name not in SAID:
                raise InputError(_refusal(entries[0], entry, name, one, other))
            values = allowed.setdefault(name, [one])
            values += [other] if other not in values else []
    return allowed


def _refusal(first: Entry, other: Entry, name: str, one: str, another: str) -> str:
    score = first.score
    return (
        f"{score.task} {score.language} of {score.model} and of {other.score.model} cannot be compared: their `{name}` "
        f"is {one} ({first.where}) and {another} ({other.where}). Evaluate both in the same way on the same files "
        "(with the same --languages), or leave one out."
    )
