"""Named sizes. A size is a row of this table; every value can be overridden on the command line."""

from typing import Any, NamedTuple


class Size(NamedTuple):
    """Shape of a BERT-style encoder (Devlin et al. 2019; small sizes after Turc et al. 2019)."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    positions: int = 512


ARCHITECTURES: dict[str, Size] = {
    "weam_tiny": Size(layers=2, width=128, heads=2, feed_forward=512),
    "weam_mini": Size(layers=4, width=256, heads=4, feed_forward=1024),
    "weam_small": Size(layers=6, width=384, heads=6, feed_forward=1536),
    "weam_base": Size(layers=12, width=768, heads=12, feed_forward=3072),
}


def fill_in(args: Any, size: Size) -> None:
    """Sets what the command line left open."""
    for name, value in size._asdict().items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
