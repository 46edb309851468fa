"""Pure: the objectives of a training. Every list of objectives and every question about one is answered here.

This file imports no torch, so that commands that only name objectives start quickly.
"""

from typing import Literal, NamedTuple


class Objective(NamedTuple):
    """What an objective trains on. The data set (dataset.py) and the losses read these facts.

    Attributes:
        name: value of --objective.
        description: what a model trained with it does, for reports: continues "The model ...".
        help: the same in one phrase, for `--help`.
        exchange: which rows the second loss exchanges: along the `true` links, along `shuffled` (wrong) links, or
            `none` (each masked row keeps its own state). None: the objective has no second loss and reads no links.
        single_sentences: each sentence has a sequence of its own; otherwise a sequence is a sentence pair.
    """

    name: str
    description: str
    help: str
    exchange: Literal["true", "shuffled", "none"] | None = None
    single_sentences: bool = False

    @property
    def has_second_loss(self) -> bool:
        """Whether it has the cross-lingual loss L_cp, so that links, aligner and link policies matter."""
        return self.exchange is not None


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective(
            "weam",
            "reads each pair as one sequence; predicts masked pieces, and again after exchanging aligned words' states",
            "both losses over the true links",
            exchange="true",
        ),
        Objective(
            "tlm",
            "reads each pair as one sequence and predicts masked pieces from their own states",
            "the multilingual loss only",
        ),
        Objective(
            "mlm",
            "reads the same sentences one by one, never paired",
            "the multilingual loss only, with each sentence on its own",
            single_sentences=True,
        ),
        Objective(
            "identity",
            "control: has both losses, but exchanges nothing",
            "control: both losses, but no row is exchanged",
            exchange="none",
        ),
        Objective(
            "shuffled",
            "control: has both losses, with as many links as weam, but wrong ones",
            "control: both losses over wrong links",
            exchange="shuffled",
        ),
    )
}
