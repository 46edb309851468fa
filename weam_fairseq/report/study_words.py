"""What the report of a study says in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def introduction(baseline: str) -> str:
    """How its tables are to be read."""
    return (
        "Figures are 0–100: the mean over seeds ± their standard deviation (n − 1). A gain is a method's mean minus "
        f"that of {baseline} with the same pairs, architecture and options, turned so that above 0 is better in every "
        "task. In brackets stands its 95 % interval, by a paired bootstrap over the test items where each item's share "
        "is there, else (marked s) over seeds. A gain is bold (starred in a map, a full marker in a plot) where every "
        "interval there is leaves 0 out: that over items and, with two or more seeds, that over seeds. No correction "
        "is made for looking at many languages and tasks: one interval in twenty misses the truth by chance."
    )


SEEN = (
    "A language is seen where a training pair of the cell holds it; of a pair of languages (word alignment) both must "
    "be. Seen averages of different numbers of pairs go over different languages."
)

GROWTH = (
    "The gain with the most pairs minus the gain with the fewest, and in the largest architecture minus the smallest, "
    "over all languages, with the intervals of this difference: all four models are drawn on the same items, or run "
    "with the same seed."
)

NO_GROWTH = "No method has gains with two numbers of pairs, or in two architectures, so no growth can be worked out."

GAINS = (
    "Full marker: every 95 % interval leaves 0 out; hollow: at least one does not. Lines up and down: 95 % over items, "
    "else over seeds. Small points: seeds."
)

MAP = (
    "Points; purple is better, brown worse; a star: every 95 % interval leaves 0 out; a dot: the language is in the "
    "training pairs."
)

COSTS = (
    "Averages over all languages, ± sd over seeds. Seconds and pieces are those of the base model's training and of "
    "its continuation together. A line joins architectures of unlike cost; methods of the same cost stand side by side."
)

COST_TABLE = (
    "Means over seeds; in brackets how many times the baseline's of the same setting, where it is not the same. The "
    "base model that a cell went on from is shared by others, and counts once however many cells do."
)

LOSSES = {
    "mp_loss": ("Multilingual prediction (mp_loss), validation.", "Masked pieces from their own states."),
    "cp_loss": (
        "Cross-lingual prediction (cp_loss), validation.",
        "The same pieces after linked states were exchanged, through the right links whatever the objective.",
    ),
}
LOSS_LINES = (
    "Means over the cell's pairs. Thin lines: seeds; thick ones: their mean. Each panel has an axis of its own."
)

PLOT_SOURCES = "The numbers that all plots show stand in plots.json beside this page."


def usual(values: Mapping[str, str]) -> str:
    """On what names leave out; empty where nothing varies."""
    named = ", ".join(f"{name} {value}" for name, value in values.items())
    return f"Where a name says nothing else: {named}." if named else ""


def machines(names: Sequence[str]) -> str:
    if not names:
        return "The cells do not say on which machine they ran."
    if len(names) == 1:
        return f"All cells ran on {names[0]}."
    return f"The cells ran on several machines, so that their seconds and memory hardly compare: {'; '.join(names)}."
