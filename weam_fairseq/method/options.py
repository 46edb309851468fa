"""Declares the options of weam-train and of fairseq's task, criterion and model `weam`.

It imports neither fairseq nor torch, so that `weam-train --help` starts quickly.
"""

from dataclasses import Field, dataclass, field, fields
from typing import Any, Optional, get_args, get_type_hints

from weam_fairseq.encoder.sizes import OPTIONS, PUBLISHED
from weam_fairseq.method.objectives import OBJECTIVES

REQUIRED = "???"  # omegaconf.MISSING
PRECISIONS = ("fp32", "bf16", "fp16")
FREEZE = ("none", "embeddings", "encoder")
# They change nothing for an objective without a second loss, so a study trains it once for all their values.
LINK_OPTIONS = ("cp-weight", "one-to-many", "piece-policy", "skip-identical", "cp-head")


def option(default: Any, help: str, choices: tuple[str, ...] = (), metavar: str | None = None) -> Any:
    """Declares an option: default value, help text, allowed values (default: any), and placeholder in the help."""
    return field(default=default, metadata={"help": help, "choices": choices, "metavar": metavar})


@dataclass
class TaskOptions:
    """Options of the training data."""

    data: str = option(
        REQUIRED,
        "data-bin folder made by weam-preprocess; several folders joined by colons are shards: each epoch trains on "
        "the next shard, and validation always uses the first",
    )
    pairs: Optional[str] = option(  # noqa: UP045 -- fairseq reads typing.Optional, not "|"
        None, "language pairs to train on, for example en-de,en-es (default: all pairs of the data-bin)"
    )
    objective: str = option(
        "weam", "; ".join(f"{known.name}: {known.help}" for known in OBJECTIVES.values()), tuple(OBJECTIVES)
    )
    mask_prob: float = option(0.3, "probability that a piece (or word) is masked (default 0.3)", metavar="P")
    mask_replace: str = option("bert", "bert: 80%% [MASK], 10%% random, 10%% kept; all: always [MASK]", ("bert", "all"))
    mask_unit: str = option(
        "piece", "mask single pieces, or all pieces of a word (words as split by weam-preprocess)", ("piece", "word")
    )
    one_to_many: str = option(
        "mean",
        "words with several links: mean: the mean of all linked words; first: the first linked word; one-to-one: "
        "nothing is swapped; weighted: the mean weighted by link probability (if the aligner provides it)",
        ("mean", "first", "one-to-one", "weighted"),
    )
    piece_policy: str = option(
        "all",
        "what each piece of a linked word receives: all: the mean of all pieces of the other word; first: its first "
        "piece; monotone: the piece at the same relative position",
        ("all", "first", "monotone"),
    )
    cp_head: str = option(
        "shared",
        "head of the cross-lingual loss: shared with the multilingual loss, or its own (not exported)",
        ("shared", "own"),
    )
    skip_identical: bool = option(False, "a piece linked to the same piece keeps its own state")
    segment_ids: str = option(
        "pair", "pair: the tokenizer's segment ids (BERT: 0 and 1); zero: all 0", ("pair", "zero")
    )
    reset_positions: bool = option(False, "positions of the second sentence start at 0 again")
    shuffle_order: bool = option(False, "the target sentence comes first in half of the pairs, drawn in each epoch")
    sampling_temperature: float = option(
        1.0,
        "T: draw language pairs in proportion to (their sentence pairs)^(1/T). 1: as in the data; larger: small "
        "language pairs more often. The length of an epoch does not change (default 1)",
        metavar="T",
    )
    retrieval_pairs: int = option(
        500,
        "validation pairs on which sentence retrieval is measured at each validation and before the first update; 0: "
        "not measured, and no validation before the first update (default 500)",
        metavar="N",
    )


@dataclass
class LossOptions:
    """Options of the losses."""

    cp_weight: float = option(
        1.0, "λ: weight of the cross-lingual loss; the multilingual loss has weight 1 (default 1)", metavar="X"
    )
    precision: str = option(
        "fp32",
        "data type of the forward pass (autocast); losses are in fp32. bf16: on CPU and GPU; fp16: on a GPU with "
        "fairseq's --amp, which scales the loss",
        PRECISIONS,
    )


def _size(name: str) -> Any:
    return option(None, OPTIONS[name], metavar="N")


@dataclass
class ModelOptions:
    """Options of the encoder. They override --arch and the checkpoint."""

    layers: int | None = _size("layers")
    width: int | None = _size("width")
    heads: int | None = _size("heads")
    feed_forward: int | None = _size("feed_forward")
    positions: int | None = _size("positions")
    encoder_config: str | None = option(
        None,
        f"config.json of any masked LM of transformers, for --arch {PUBLISHED}: a new encoder of that shape",
        metavar="FILE",
    )
    checkpoint_activations: bool = option(
        False, "recompute the activations inside a layer instead of storing them: less memory, a third more time"
    )
    freeze: str = option(
        "none",
        "embeddings: do not train the word embeddings and a head tied to them; encoder: train only the head, at about "
        "half the cost",
        FREEZE,
    )
    head_first: int = option(
        0,
        "train only the head for the first N updates (one process only); useful if weam-train warns that it could fit "
        "a new head only partly",
        metavar="N",
    )
    dropout: float | None = option(
        None, "probability of dropping a state (default: that of the model's config)", metavar="P"
    )
    attention_dropout: float | None = option(
        None, "probability of dropping an attention weight (default: that of the model's config)", metavar="P"
    )


def add_arguments(parser: Any, options: type) -> None:
    """Adds the options of one of the classes above to a parser or an argument group of argparse."""
    for declared in fields(options):
        settings: dict[str, Any] = {"default": declared.default, "help": declared.metadata["help"]}
        if declared.default is False:
            settings["action"] = "store_true"
        else:
            settings |= {"type": _type_of(options, declared), "metavar": declared.metadata["metavar"]}
        if declared.metadata["choices"]:
            settings["choices"] = declared.metadata["choices"]
        if declared.default == REQUIRED:
            parser.add_argument(declared.name, type=str, help=declared.metadata["help"])
        else:
            parser.add_argument(f"--{declared.name.replace('_', '-')}", **settings)


def _type_of(options: type, declared: Field[Any]) -> type:
    hint = get_type_hints(options)[declared.name]
    return next(iter(get_args(hint)), hint)  # type: ignore[no-any-return]
