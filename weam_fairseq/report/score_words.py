"""What a report on scores says in words."""

from __future__ import annotations

INTRODUCTION = (
    "Figures are 0–100: the mean over seeds ± their standard deviation (n − 1). What follows a difference in brackets "
    "is its 95 % interval, by a paired bootstrap over the test items where each item's share is there, else (marked s) "
    "over seeds. It is bold where every interval there is leaves 0 out: that over items and, with two or more seeds, "
    "that over seeds. No correction is made for looking at many languages and tasks: one interval in twenty misses the "
    "truth by chance."
)

READING = (
    "An interval over items says how much a difference hangs on these test items, for these trained models; one over "
    "seeds says how much it hangs on the run. A claim about a method needs both."
)

PLOT = "Lines are 95 % intervals over items; where the items are not there, ± sd over seeds."
HEAT_MAP = "Purple is better than the baseline, brown worse; a star: every 95 % interval there is leaves 0 out."


def repeated(count: int) -> str:
    """On lines that are in the files more than once; empty for none."""
    lines = (
        "line stood twice, word for word, and counts" if count == 1 else "lines stood twice, word for word, and count"
    )
    return f"{count:,} {lines} once." if count else ""


def procedure(resamples: int) -> list[str]:
    """How differences are tested, step by step."""
    return [
        f"Over items (paired bootstrap: Koehn 2004). In each of {resamples:,} resamples "
        "as many items as the test set has are drawn from it with replacement. All models and all seeds are scored on "
        "the same drawn items; a metric that is no mean over items (F1 over entities) is worked out from the summed "
        "counts. A model's figure is the mean over its seeds, and the interval holds the middle 95 % of the "
        "differences.",
        "p is two-sided and comes from the same resamples: twice the share of resampled differences on the rarer side "
        "of 0 (Efron and Tibshirani 1993). So p is below 0.05 exactly where the interval excludes 0.",
        "An item that several languages share (a translated question) is drawn for all of them together: the question "
        "is the unit, not the question in one language. The interval of an average is that of the resampled averages.",
        "Over seeds: Student's interval of the mean difference between runs of the same seed, where two or more seeds "
        "are common to both models. It takes the test items as given. With two or three seeds it is wide, and rightly.",
        "Only scores are compared whose signatures agree in all but checkpoint, seed, layer, hyper-parameters, choice "
        "of the epoch, and versions; what differs of these, beyond checkpoint and seed, is said below the table.",
    ]
