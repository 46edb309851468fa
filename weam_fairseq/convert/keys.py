"""One ordered, reversible table between our parameter names and transformers' BertForMaskedLM.

Rows over the vocabulary (word embeddings, output bias) are also reordered: ours follow fairseq's ids, theirs the
tokenizer's.
"""

import re
from typing import NamedTuple

import torch
from torch import Tensor

# (ours, theirs); {i} stands for the layer's number. The last part, weight or bias, is the same on both sides.
MODULES: tuple[tuple[str, str], ...] = (
    ("embeddings.word", "bert.embeddings.word_embeddings"),
    ("embeddings.position", "bert.embeddings.position_embeddings"),
    ("embeddings.segment", "bert.embeddings.token_type_embeddings"),
    ("embeddings.norm", "bert.embeddings.LayerNorm"),
    ("layers.{i}.attention.query", "bert.encoder.layer.{i}.attention.self.query"),
    ("layers.{i}.attention.key", "bert.encoder.layer.{i}.attention.self.key"),
    ("layers.{i}.attention.value", "bert.encoder.layer.{i}.attention.self.value"),
    ("layers.{i}.attention.output", "bert.encoder.layer.{i}.attention.output.dense"),
    ("layers.{i}.attention.norm", "bert.encoder.layer.{i}.attention.output.LayerNorm"),
    ("layers.{i}.feed_forward.up", "bert.encoder.layer.{i}.intermediate.dense"),
    ("layers.{i}.feed_forward.down", "bert.encoder.layer.{i}.output.dense"),
    ("layers.{i}.feed_forward.norm", "bert.encoder.layer.{i}.output.LayerNorm"),
    ("head.dense", "cls.predictions.transform.dense"),
    ("head.norm", "cls.predictions.transform.LayerNorm"),
    ("head", "cls.predictions"),  # its own parameter: the bias over the vocabulary
)

# Ours, indexed by piece.
OVER_VOCABULARY = ("embeddings.word.weight", "head.bias")

# Theirs, not written: the decoder is tied to the word embeddings, its bias to cls.predictions.bias.
TIED = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")


class Renaming(NamedTuple):
    ours: re.Pattern[str]
    theirs: str


def _pattern(name: str) -> re.Pattern[str]:
    escaped = re.escape(name).replace(r"\{i\}", r"(?P<i>\d+)")
    return re.compile(rf"{escaped}\.(?P<leaf>weight|bias)")


_TO_THEIRS = [Renaming(_pattern(ours), theirs) for ours, theirs in MODULES]


def to_theirs(state: dict[str, Tensor], tokenizer_ids: Tensor) -> dict[str, Tensor]:
    """Our encoder's parameters under transformers' names, rows in the tokenizer's order.

    Args:
        state: of `encoder.Encoder`, complete.
        tokenizer_ids: (V,) tokenizer id of each fairseq id.

    Raises:
        KeyError: names that the table does not know, all of them.
    """
    renamed: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, value in state.items():
        found = [(row.ours.fullmatch(name), row.theirs) for row in _TO_THEIRS]
        matches = [(match, theirs) for match, theirs in found if match is not None]
        if not matches:
            unknown.append(name)
            continue
        match, theirs = matches[0]
        parts = match.groupdict()
        key = f"{theirs.replace('{i}', parts.get('i') or '')}.{parts['leaf']}"
        renamed[key] = _to_tokenizer_order(value, tokenizer_ids) if name in OVER_VOCABULARY else value
    if unknown:
        raise KeyError(f"names without a counterpart: {', '.join(unknown)}")
    return renamed


def _to_tokenizer_order(rows: Tensor, tokenizer_ids: Tensor) -> Tensor:
    ordered = torch.empty_like(rows)
    ordered[tokenizer_ids] = rows
    return ordered
