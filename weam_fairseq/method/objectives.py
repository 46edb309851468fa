"""Pure: the training objectives. All lists of objectives and all facts about them come from this file;
word_exchange.py computes the exchange of each.

It does not import torch, so that commands that only name objectives start quickly.
"""

from typing import Literal, NamedTuple


class Objective(NamedTuple):
    """Facts about an objective, used by the data set (dataset.py) and the losses.

    Attributes:
        name: value of --objective.
        description: describes a model trained with it, for reports. Continues "The model ...".
        help: a short description for `--help`.
        exchange: what the rows that have links receive in the second loss: states along the `true` links, along
            `shuffled` (wrong) links, from the whole other `sentence`, from another pair of the batch (`stranger`), or
            `none` (each masked row keeps its own state). None: the objective has no second loss and reads no links.
        single_sentences: each sentence is its own sequence; otherwise a sequence is a sentence pair.
    """

    name: str
    description: str
    help: str
    exchange: Literal["true", "shuffled", "sentence", "stranger", "none"] | None = None
    single_sentences: bool = False

    @property
    def has_second_loss(self) -> bool:
        """Whether it has the cross-lingual loss L_cp, so that links, aligner and link policies matter."""
        return self.exchange is not None

    @property
    def predicts_twice(self) -> bool:
        """Whether the head predicts linked rows a second time. Without an exchange both predictions are equal."""
        return self.exchange not in (None, "none")


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective(
            "weam",
            "reads each pair as one sequence; predicts masked pieces, and again after exchanging aligned words' states",
            "both losses; the states of linked words are swapped",
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
            "control: both losses, but no states are swapped",
            exchange="none",
        ),
        Objective(
            "shuffled",
            "control: has both losses, with as many links as weam, but wrong ones",
            "control: both losses; states of words that are not linked are swapped",
            exchange="shuffled",
        ),
        Objective(
            "sentence",
            "control: has both losses; rows that weam would exchange receive the mean of the other sentence's states",
            "control: both losses; a linked masked piece receives the mean of the other sentence's states",
            exchange="sentence",
        ),
        Objective(
            "stranger",
            "control: has both losses; rows that weam would exchange receive states of another pair of the batch",
            "control: both losses; a linked masked piece receives states of another pair of the batch",
            exchange="stranger",
        ),
    )
}
