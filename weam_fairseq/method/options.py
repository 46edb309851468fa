"""The options of weam-train and of fairseq's task, criterion and model `weam`. Each option is declared here once.

This file imports neither fairseq nor torch, so that `weam-train --help` starts quickly.
"""

from dataclasses import Field, dataclass, field, fields
from typing import Any, Optional, get_args, get_type_hints

from weam_fairseq.encoder.sizes import OPTIONS, PUBLISHED
from weam_fairseq.method.objectives import OBJECTIVES

REQUIRED = "???"  # omegaconf.MISSING
PRECISIONS = ("fp32", "bf16", "fp16")
FREEZE = ("none", "embeddings", "encoder")


def option(default: Any, help: str, choices: tuple[str, ...] = (), metavar: str | None = None) -> Any:
    """A field of an option's default value, help text, choices (default: any) and placeholder in the help."""
    return field(default=default, metadata={"help": help, "choices": choices, "metavar": metavar})


@dataclass
class TaskOptions:
    """What to train on, and the method's choices in the data."""

    data: str = option(
        REQUIRED,
        "data-bin folder made by weam-preprocess; several folders, joined by colons, are shards: each epoch trains on "
        "the next one, and all validate on the first",
    )
    pairs: Optional[str] = option(  # noqa: UP045 -- fairseq reads typing.Optional, not "|"
        None, "language pairs to train on, as en-de,en-es (default: all pairs of the data-bin)"
    )
    objective: str = option(
        "weam", "; ".join(f"{each.name}: {each.help}" for each in OBJECTIVES.values()), tuple(OBJECTIVES)
    )
    mask_prob: float = option(0.3, "chance that a piece (or word) is masked (default 0.3)", metavar="P")
    mask_replace: str = option("bert", "bert: 80%% [MASK], 10%% random, 10%% kept; all: always [MASK]", ("bert", "all"))
    mask_unit: str = option(
        "piece", "mask single pieces, or all pieces of a word (as weam-preprocess split words)", ("piece", "word")
    )
    one_to_many: str = option(
        "mean",
        "a word linked to several words receives their mean, the first, none of them, or their mean weighted by link "
        "probability (if the aligner gives probabilities)",
        ("mean", "first", "one-to-one", "weighted"),
    )
    piece_policy: str = option(
        "all",
        "a linked word's pieces receive: the mean of all pieces of the other word, its first, or for the k-th piece "
        "the proportional one",
        ("all", "first", "monotone"),
    )
    cp_head: str = option(
        "shared",
        "head of the cross-lingual loss: the same as for the multilingual loss, or its own (which is not exported)",
        ("shared", "own"),
    )
    skip_identical: bool = option(False, "a piece linked to the same piece keeps its own state")
    segment_ids: str = option(
        "pair", "pair: as the tokenizer numbers the sentences of a pair (BERT: 0 and 1); zero: all 0", ("pair", "zero")
    )
    reset_positions: bool = option(False, "positions of the second sentence start at 0 again")
    shuffle_order: bool = option(False, "the target sentence comes first in half of the pairs, drawn in each epoch")
    sampling_temperature: float = option(
        1.0,
        "T: language pairs are drawn in proportion to (their sentence pairs)^(1/T). 1: as often as the data has them; "
        "larger: small pairs more often. The length of an epoch does not change (default 1)",
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
    """The losses and their arithmetic."""

    cp_weight: float = option(
        1.0, "λ: weight of the cross-lingual loss; the multilingual loss has weight 1 (default 1)", metavar="X"
    )
    precision: str = option(
        "fp32",
        "arithmetic of the forward pass, by autocast; the losses are in fp32. bf16: on CPU and GPU; fp16: on a GPU, "
        "with fairseq's --amp, which scales the loss",
        PRECISIONS,
    )


def _size(name: str) -> Any:
    return option(None, OPTIONS[name], metavar="N")


@dataclass
class ModelOptions:
    """The encoder, where it differs from --arch or from the checkpoint."""

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
        False, "recompute the activations inside a layer instead of keeping them: less memory, a third more time"
    )
    freeze: str = option(
        "none",
        "embeddings: the word embeddings, and a head tied to them, keep their values; encoder: only the head is "
        "trained, at about half of the cost",
        FREEZE,
    )
    head_first: int = option(
        0, "train only the head for the first N updates, as for a new head that cannot be fitted", metavar="N"
    )
    dropout: float | None = option(
        None, "probability of dropping a state (default: that of the model's config)", metavar="P"
    )
    attention_dropout: float | None = option(
        None, "probability of dropping an attention weight (default: that of the model's config)", metavar="P"
    )


def add_arguments(parser: Any, options: type) -> None:
    """Adds the options of one of the classes above to a parser of argparse, or to a group of it."""
    for each in fields(options):
        more: dict[str, Any] = {"default": each.default, "help": each.metadata["help"]}
        if each.default is False:
            more["action"] = "store_true"
        else:
            more |= {"type": _type_of(options, each), "metavar": each.metadata["metavar"]}
        if each.metadata["choices"]:
            more["choices"] = each.metadata["choices"]
        if each.default == REQUIRED:
            parser.add_argument(each.name, type=str, help=each.metadata["help"])
        else:
            parser.add_argument(f"--{each.name.replace('_', '-')}", **more)


def _type_of(options: type, declared: Field[Any]) -> type:
    hint = get_type_hints(options)[declared.name]
    return next(iter(get_args(hint)), hint)  # type: ignore[no-any-return]
