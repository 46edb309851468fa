"""Which scores belong into one table: same task, metric, split and training data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from weam_fairseq.report.score_files import Entry

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
    """A title for each: its task and metric, and as much more as tells it from the others."""
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

    English figures are the same for training on English and on translations, and stand in both.
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
