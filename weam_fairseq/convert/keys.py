"""Between our parameter names and a family's, and between the two orders of the vocabulary's rows.

Rows over the vocabulary (word embeddings, output projection and bias) follow fairseq's ids here and the tokenizer's
there.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from .families import Family

# Ours, one row for each piece.
OVER_VOCABULARY = ("embeddings.word.weight", "head.decoder.weight", "head.bias")

# TensorFlow's names of LayerNorm's parameters, which old published files still have.
OLD_LEAVES = {"gamma": "weight", "beta": "bias"}


def their_names(family: Family, ours: Iterable[str]) -> dict[str, str]:
    """Our parameter name -> theirs, for every parameter of an encoder.

    Raises:
        KeyError: names that the table does not know, all of them.
    """
    names = list(ours)
    layers = {int(name.split(".")[1]) for name in names if name.startswith("layers.")}
    table = dict(family.parameters)
    for our_module, their_module in family.modules:
        for i in sorted(layers) if "{i}" in our_module else [0]:
            for leaf in ("weight", "bias"):
                table[f"{our_module.replace('{i}', str(i))}.{leaf}"] = f"{their_module.replace('{i}', str(i))}.{leaf}"
    if unknown := [name for name in names if name not in table]:
        raise KeyError(f"names without a counterpart: {', '.join(unknown)}")
    return {name: table[name] for name in names}


def canonical(family: Family, name: str, *, headless: bool) -> str:
    """Their name as transformers writes it today: gamma and beta renamed, the prefix of a bare encoder added."""
    stem, _, leaf = name.rpartition(".")
    if stem.endswith("LayerNorm"):
        leaf = OLD_LEAVES.get(leaf, leaf)
    full = f"{stem}.{leaf}" if stem else leaf
    return family.prefix + full if headless else full


def row_order(tokenizer_ids: Tensor, rows: int) -> Tensor:
    """(rows,) the tokenizer's id of each of our rows; rows beyond the tokenizer's pieces stay where they are."""
    return torch.cat([tokenizer_ids, torch.arange(len(tokenizer_ids), rows)])


def to_theirs(name: str, value: Tensor, order: Tensor) -> Tensor:
    """A parameter of ours with its rows in the tokenizer's order."""
    if name not in OVER_VOCABULARY:
        return value
    ordered = torch.empty_like(value)
    ordered[order] = value
    return ordered


def to_ours(name: str, value: Tensor, order: Tensor) -> Tensor:
    """A parameter of theirs with its rows in fairseq's order."""
    return value[order] if name in OVER_VOCABULARY else value
