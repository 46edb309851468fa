"""Pure: the method's choices that are made in training, as plain values that a checkpoint can hold."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.method.objectives import OBJECTIVES, Objective
from weam_fairseq.method.word_exchange import LinkPolicy


@dataclass(frozen=True)
class Policy:
    """The options of the method that are chosen in training, not in preprocessing. Plain values."""

    objective: str = "weam"
    mask_prob: float = 0.3
    mask_replace: str = "bert"
    mask_unit: str = "piece"
    links: LinkPolicy = field(default_factory=LinkPolicy)
    one_segment: bool = False
    reset_positions: bool = False
    shuffle_order: bool = False
    sampling_temperature: float = 1.0
    cp_head: str = "shared"  # of the model; named here so that checkpoints and logs tell the whole method

    @property
    def trains(self) -> Objective:
        """The facts of its objective."""
        return OBJECTIVES[self.objective]

    def plain(self) -> dict[str, Any]:
        """Values that a checkpoint can hold; `Policy.of` reads them."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "links": self.links._asdict()}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Policy":
        """What `plain` wrote; an option that an older checkpoint does not name has its default, which was the rule."""
        return cls(**{**plain, "links": LinkPolicy(**plain["links"])})


def check_probabilities(manifest: dict[str, Any], data_bin: Path, policy: LinkPolicy) -> None:
    """Raises InputError when a policy wants link probabilities that a data-bin does not hold."""
    if policy.weighted and not manifest["aligner"].get("probabilities", False):
        raise InputError(
            f"--one-to-many weighted must have the probability of each link, but {data_bin} was aligned by "
            f"{manifest['aligner']['name']}, which gave none. Make the data-bin with --aligner hmm, or with --aligner "
            "precomputed and links written as i-j:p."
        )
