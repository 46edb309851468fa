"""Named sizes. A size is a row of this table; every value can be overridden on the command line."""

from typing import Any, NamedTuple


class Size(NamedTuple):
    """Shape of an encoder of the BERT family; the fields are those of `encoder.EncoderConfig`.

    vocabulary_rows: rows of the word embeddings, where a published model has more than its tokenizer has pieces; 0: as
    many as pieces.
    """

    layers: int
    width: int
    heads: int
    feed_forward: int
    positions: int = 512
    position_offset: int = 0
    segments: int = 2
    norm_eps: float = 1e-12
    activation: str = "gelu"
    head_activation: str = "gelu"
    untied_head: bool = False
    vocabulary_rows: int = 0


_ROBERTA = {"positions": 514, "position_offset": 2, "segments": 1, "norm_eps": 1e-5}

ARCHITECTURES: dict[str, Size] = {
    # Small sizes after Turc et al. 2019.
    "weam_tiny": Size(layers=2, width=128, heads=2, feed_forward=512),
    "weam_mini": Size(layers=4, width=256, heads=4, feed_forward=1024),
    "weam_small": Size(layers=6, width=384, heads=6, feed_forward=1536),
    "weam_base": Size(layers=12, width=768, heads=12, feed_forward=3072),
    # Shapes of published encoders, for weam-from-hf.
    "weam_mbert_base": Size(layers=12, width=768, heads=12, feed_forward=3072),
    "weam_distilmbert": Size(layers=6, width=768, heads=12, feed_forward=3072, segments=0),
    "weam_minilm": Size(layers=12, width=384, heads=12, feed_forward=1536),
    "weam_xlmr_base": Size(layers=12, width=768, heads=12, feed_forward=3072, **_ROBERTA),  # type: ignore[arg-type]
    "weam_xlmr_large": Size(layers=24, width=1024, heads=16, feed_forward=4096, **_ROBERTA),  # type: ignore[arg-type]
}


def fill_in(args: Any, size: Size) -> None:
    """Sets what the command line left open."""
    for name, value in size._asdict().items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)


def nearest(shape: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The named size that shares most values with a shape, and the values that it does not share.

    Published shapes come first among equals.
    """
    published_first = reversed(ARCHITECTURES.items())
    differences = {
        name: {key: shape[key] for key, value in size._asdict().items() if shape[key] != value}
        for name, size in published_first
    }
    name = min(differences, key=lambda name: len(differences[name]))
    return name, differences[name]
