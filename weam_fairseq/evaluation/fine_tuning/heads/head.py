"""What all kinds of tasks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weam_fairseq.evaluation.fine_tuning.recipe import FineTuning, Recipe
from weam_fairseq.evaluation.fine_tuning.rows import Rows

if TYPE_CHECKING:
    import torch


class Head(ABC):
    """A kind of task.

    Attributes:
        name: for folders and signatures.
        auto_class: the class of transformers that puts this head on an encoder.
        labels: in the order of the head's outputs; empty where it has none.
        suffix: of prediction files.
    """

    name: str
    auto_class: str
    labels: tuple[str, ...] = ()
    suffix: str

    @property
    def method(self) -> dict[str, str]:
        """Parts of the signature that say how predictions are read out, where there is a choice."""
        return {}

    @property
    def unusual(self) -> str:
        """What names of prediction files say of a choice other than the default, such as `.pipeline`."""
        return ""

    def chosen(self, choice: FineTuning) -> Head:
        """This head as the user wants it."""
        return self

    @abstractmethod
    def rows(self, tokenizer: Any, examples: Sequence[Any], recipe: Recipe, for_training: bool) -> Rows:
        """Model inputs, with targets when training."""

    @abstractmethod
    def loss(self, output: Any, targets: Sequence[Any]) -> torch.Tensor:
        """The mean loss of one batch."""

    @abstractmethod
    def read_out(self, output: Any, rows: Rows, units: Sequence[int]) -> list[Any]:
        """What is kept of a batch's output, one entry a unit, on the CPU."""

    @abstractmethod
    def decode(self, examples: Sequence[Any], rows: Rows, found: Sequence[Any]) -> list[Any]:
        """One prediction an example, from what `read_out` gave for all units."""

    @abstractmethod
    def text_of(self, example: Any) -> tuple[str, ...]:
        """What must not be the same in training and evaluation."""

    @abstractmethod
    def group_of(self, example: Any) -> str:
        """Examples of one group are held out together: they share a premise or a context."""

    @abstractmethod
    def write(self, examples: Sequence[Any], answers: Sequence[Any]) -> str:
        """A prediction file in the format that weam-score reads."""

    @abstractmethod
    def gold(self, example: Any) -> Any:
        """The gold answer, in the form of a prediction."""

    def write_gold(self, examples: Sequence[Any]) -> str:
        """The gold answers in a format that weam-score reads."""
        return self.write(examples, [self.gold(example) for example in examples])

    def scorable(self, example: Any) -> bool:
        """Whether the gold answer is one that a prediction can be compared with; readers refuse most of what is not."""
        return True
