"""Which layer a model that was not trained for retrieval is read at: a fixed one, never tuned on what is reported.

XTREME's scripts take entry 7 of the 12 layers above the embeddings of base models and entry 13 of the 24 of large
ones, counted from 0: layers 8 and 14 here, where 0 is the embeddings. awesome-align and simalign read layer 8 of mBERT
too. For other depths it is two thirds of the way up, rounded.
"""

from __future__ import annotations

from weam_fairseq.evaluation.hf_folder import Folder

_PUBLISHED = {12: 8, 24: 14}


def fixed_layer(depth: int) -> int:
    """The layer, 0 being the embeddings, for a model of `depth` layers."""
    return _PUBLISHED.get(depth, max(1, round(2 * depth / 3)))


def depth_of(folder: Folder) -> int:
    """How many layers the model has above its embeddings."""
    return int(folder.model.config.num_hidden_layers)


def layer_label(layer: int, depth: int) -> str:
    """What a signature says, such as `8of12`."""
    return f"{layer}of{depth}"
