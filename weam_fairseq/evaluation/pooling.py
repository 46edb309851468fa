"""The pooling of a sentence-transformers folder: how its makers turn the last layer into one vector."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.documents import check_name, read_json
from weam_fairseq.evaluation.encode import Group, Pieces

MODULES = "modules.json"
# The poolings that a group of positions can express. The square root of the length changes no cosine.
_MODES = {"mean": "mean", "mean_tokens": "mean", "mean_sqrt_len_tokens": "mean", "cls": "cls", "cls_token": "cls"}
_MODES |= {"lasttoken": "last"}
# Modules that change no cosine after pooling.
_HARMLESS = ("Transformer", "Pooling", "Normalize")


class Pooling(NamedTuple):
    """`mode`: mean, cls or last, with special pieces. None: not supported, for the reason in `why`."""

    mode: str | None
    max_pieces: int | None = None
    why: str = ""

    def groups(self, pieces: Pieces) -> list[list[Group]]:
        """One group a text."""
        sizes = [len(row) for row in pieces.special]
        if self.mode == "mean":
            return [[[*range(size)]] for size in sizes]
        return [[[0 if self.mode == "cls" else size - 1]] for size in sizes]


def read_pooling(folder: Path) -> Pooling | None:
    """None if the folder is not of sentence-transformers."""
    path = folder / MODULES
    if not path.is_file():
        return None
    modules = [each for each in read_json(path, list) if isinstance(each, dict)]
    kinds = [str(each.get("type", "")).rpartition(".")[2] for each in modules]
    other = [kind for kind in kinds if kind not in _HARMLESS]
    if other:
        return Pooling(None, why=f"its {MODULES} has a module of the kind {other[0]}")
    names = [check_name(each.get("path"), path) for each, kind in zip(modules, kinds, strict=True) if kind == "Pooling"]
    if len(names) != 1 or not (folder / names[0] / "config.json").is_file():
        return Pooling(None, why=f"its {MODULES} names no pooling that has a config.json")
    modes = _modes(read_json(folder / names[0] / "config.json", dict))
    if len(modes) != 1 or modes[0] not in _MODES:
        return Pooling(None, why=f"its pooling is {' and '.join(modes) or 'empty'}")
    return Pooling(_MODES[modes[0]], _max_pieces(folder))


def _modes(config: dict[str, Any]) -> list[str]:
    """Newer files name the mode, older ones have a flag for each."""
    named = config.get("pooling_mode")
    if isinstance(named, str):
        return [named]
    prefix = "pooling_mode_"
    return [name.removeprefix(prefix) for name, value in config.items() if name.startswith(prefix) and value is True]


def _max_pieces(folder: Path) -> int | None:
    path = folder / "sentence_bert_config.json"
    value = read_json(path, dict).get("max_seq_length") if path.is_file() else None
    return value if isinstance(value, int) and value > 2 else None
