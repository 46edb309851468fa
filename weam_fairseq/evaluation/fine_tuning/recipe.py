"""How a model is fine-tuned: hyper-parameters, and the user's choices of training data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from weam_fairseq.common.errors import InputError

PRECISIONS = ("fp32", "bf16")
SELECTIONS = ("dev", "last")
TRAIN_ON = ("english", "translate-train")
ANSWER_DECODINGS = ("official", "pipeline")

# The longest warm-up, as a share of all updates: see Recipe.warmup_of.
_WARMUP_SHARE = 0.1


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters.

    AdamW (eps 1e-8, gradients clipped at norm 1), no weight decay on biases and LayerNorm, a linear schedule.

    Attributes:
        batch_size: examples an update (windows, where texts are split into windows).
        max_length: pieces of one input, special ones included.
        doc_stride: pieces between the starts of a long context's windows; 0 if unused.
        warmup: updates until the peak learning rate.
    """

    epochs: int
    learning_rate: float
    batch_size: int = 32
    max_length: int = 128
    doc_stride: int = 0
    warmup: int = 0
    weight_decay: float = 0.0
    precision: str = "fp32"

    @property
    def text(self) -> str:
        """For the signature."""
        stride = f",stride{self.doc_stride}" if self.doc_stride else ""
        return (
            f"lr{self.learning_rate:g},ep{self.epochs},bs{self.batch_size},len{self.max_length}{stride},"
            f"warm{self.warmup},wd{self.weight_decay:g},{self.precision}"
        )

    def warmup_of(self, updates: int) -> int:
        """The warm-up in a training of `updates` updates, of which it takes a tenth at most."""
        return min(self.warmup, int(_WARMUP_SHARE * updates))

    def fitted(self, chosen: dict[str, object], max_pieces: int) -> Recipe:
        """This recipe with the user's values, for a model that accepts `max_pieces`.

        The recipe's own length shrinks to the model's limit (the signature shows it).

        Raises:
            InputError: a value of the user is out of range.
        """
        unknown = sorted(set(chosen) - set(asdict(self)))
        assert not unknown, unknown
        recipe = replace(self, **{"max_length": min(self.max_length, max_pieces), **chosen})  # type: ignore[arg-type]
        recipe._check(max_pieces)
        return recipe

    def _check(self, max_pieces: int) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, but is {getattr(self, name)}.")
        for name in ("warmup", "doc_stride", "weight_decay"):
            if getattr(self, name) < 0:
                raise InputError(f"--{name.replace('_', '-')} must be 0 or more, but is {getattr(self, name)}.")
        if not 0 < self.learning_rate < 1:
            raise InputError(f"--learning-rate must be between 0 and 1, but is {self.learning_rate:g}.")
        if self.max_length > max_pieces:
            raise InputError(f"--max-length is {self.max_length}, but the model accepts at most {max_pieces} pieces.")
        if self.max_length < 8:
            raise InputError(f"--max-length must be at least 8 pieces, but is {self.max_length}.")


@dataclass(frozen=True)
class FineTuning:
    """The user's choices.

    Attributes:
        work: folder for fine-tuned models and predictions.
        train_on: the task's own English data, or its published translations, with one model a language.
        train_files: files that replace the task's own training data.
        dev_files: English files that select the epoch, replacing the task's own.
        hold_out: the number of training examples that are held out to select the epoch.
        train_examples: the number of training examples that are drawn; 0 uses all.
        select: `dev` keeps the epoch that is best on English dev, `last` the last; None means `dev` if available.
        oracle: whether `detail` holds the figure of the epoch that is best on the target language's dev.
        answer_decoding: how an answer is extracted from the logits (question answering).
        values: hyper-parameters that replace the task's own, by name.
        save_every: updates between two saves of an unfinished training.
    """

    work: Path
    train_on: str = "english"
    train_files: tuple[Path, ...] = ()
    dev_files: tuple[Path, ...] = ()
    hold_out: int = 0
    train_examples: int = 0
    select: str | None = None
    oracle: bool = False
    answer_decoding: str = ANSWER_DECODINGS[0]
    values: dict[str, object] = field(default_factory=dict)
    save_every: int = 500

    @property
    def english(self) -> tuple[str, ...]:
        """The needed splits of the task's own English data, which the user's files do not replace."""
        train = () if self.train_files else ("train",)
        dev = () if self.dev_files or self.hold_out or self.select == "last" else ("dev",)
        return train + dev

    def check(self) -> None:
        """Raises InputError: two choices contradict each other."""
        if self.train_files and self.train_on != "english":
            raise InputError("--train-file replaces the training data of --train-on. Give one of the two.")
        if self.dev_files and self.hold_out:
            raise InputError("--dev-file and --hold-out both select the epoch. Give one of the two.")
        if self.select == "last" and (self.dev_files or self.hold_out):
            raise InputError("--select last keeps the last epoch. Leave out --dev-file and --hold-out.")
        for name in ("hold_out", "train_examples"):
            if getattr(self, name) < 0:
                raise InputError(f"--{name.replace('_', '-')} must be 0 or more, but is {getattr(self, name)}.")


PAIR_RECIPE = Recipe(epochs=5, learning_rate=2e-5, batch_size=32, max_length=128)
TAG_RECIPE = Recipe(epochs=10, learning_rate=2e-5, batch_size=32, max_length=128)
QUESTION_RECIPE = Recipe(
    epochs=3, learning_rate=3e-5, batch_size=32, max_length=384, doc_stride=128, warmup=500, weight_decay=1e-4
)
