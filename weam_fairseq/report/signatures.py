"""What two scores must share before they stand in one table: read from their signatures."""

from __future__ import annotations

from collections.abc import Sequence

from weam_fairseq.common.errors import InputError
from weam_fairseq.report.score_files import Entry

# What is compared, so that it differs as a rule. `start` names a fine-tuned model by what it was made of.
COMPARED = {"ckpt", "seed", "start"}
# What may belong to a model (its depth, its own best recipe) or hardly matters, and is said.
SAID = {"layer": "layer", "recipe": "recipe", "select": "epoch chosen by", "v": "weam-fairseq"}
SAID |= {"transformers": "transformers", "torch": "torch"}
# What older signatures, which lack a part, were measured by.
_BEFORE = {"decoding": "pipeline", "encoder": "as-given", "repeated": "left-out"}


def read_signature(signature: str) -> dict[str, str]:
    """The parts by name; the task, which has none, is left out."""
    pairs = (part.partition(":") for part in signature.split("|")[1:])
    return {name: value for name, _, value in pairs}


def check_comparable(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Checks scores of one column. Returns what differs and may, as the values by name.

    Raises:
        InputError: two scores differ in their data, split, scorer or another part that must be equal.
    """
    if not entries:
        return {}
    first = read_signature(entries[0].score.signature)
    allowed: dict[str, list[str]] = {}
    for entry in entries:
        parts = read_signature(entry.score.signature)
        for name in [*first, *(name for name in parts if name not in first)]:
            one, other = (each.get(name, _BEFORE.get(name, "nothing")) for each in (first, parts))
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
