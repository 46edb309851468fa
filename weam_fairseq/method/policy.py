"""Pure: the method's training options, as plain values that a checkpoint can hold."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.method.objectives import OBJECTIVES, Objective
from weam_fairseq.method.word_exchange import LinkPolicy


@dataclass(frozen=True)
class Policy:
    """The method's options for training (not for preprocessing)."""

    objective: str = "weam"
    mask_prob: float = 0.3
    mask_replace: str = "bert"
    mask_unit: str = "piece"
    links: LinkPolicy = field(default_factory=LinkPolicy)
    one_segment: bool = False
    reset_positions: bool = False
    shuffle_order: bool = False
    sampling_temperature: float = 1.0
    cp_head: str = "shared"  # an option of the model, here so that checkpoints and logs describe the complete method

    @property
    def trains(self) -> Objective:
        """The facts about the objective."""
        return OBJECTIVES[self.objective]

    def plain(self) -> dict[str, Any]:
        """Returns plain values for a checkpoint. `Policy.of` reads them."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "links": self.links._asdict()}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Policy":
        """Reads the values of `plain`. Options that an older checkpoint lacks get their defaults."""
        return cls(**{**plain, "links": LinkPolicy(**plain["links"])})


def check_probabilities(manifest: dict[str, Any], data_bin: Path, policy: LinkPolicy) -> None:
    """Raises InputError if a policy needs link probabilities that a data-bin does not have."""
    if policy.weighted and not manifest["aligner"].get("probabilities", False):
        raise InputError(
            f"--one-to-many weighted needs the probability of each link, but {data_bin} was aligned by "
            f"{manifest['aligner']['name']} without probabilities. Make the data-bin with --aligner fast_align, "
            "or with --aligner precomputed and links written as i-j:p."
        )
