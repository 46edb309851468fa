"""What the plugin reads of a data-bin besides the binaries: the manifest and the two id spaces.

Format: preprocess/README.md. Ids in the binaries are fairseq's (0 <s>, 1 <pad>, 2 </s>, 3 <unk>, then the lines of
dict.XX.txt); each symbol is a tokenizer id in decimal, so the dictionary is a recorded permutation.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .common.errors import InputError
from .common.special_pieces import first_ids

FORMAT = "weam-data-bin/1"
SOURCE, TARGET = "A", "B"


@dataclass(frozen=True)
class Template:
    """Special pieces around one or two sentences, as fairseq ids, with their segment ids.

    `before`, `between`, `after` hold (id, segment) for each special piece; `segments` the ids of the sentences.
    """

    before: tuple[tuple[int, int], ...]
    between: tuple[tuple[int, int], ...]
    after: tuple[tuple[int, int], ...]
    segments: tuple[int, int]

    def special_count(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


@dataclass(frozen=True)
class Vocabulary:
    """The id spaces of one data-bin.

    Attributes:
        tokenizer_ids: (V,) int64, position = fairseq id, value = tokenizer id: a permutation of 0..V-1.
        pieces_sha256: hexadecimal digest of the tokenizer's pieces in the order of their ids.
        behaviour_sha256: hexadecimal digest of how the tokenizer writes a fixed list of sentences.
        pad, mask: fairseq ids.
        special: (S,) fairseq ids of all special pieces.
        pair, single: how one pair and one sentence are written.
    """

    tokenizer_ids: np.ndarray
    pieces_sha256: str
    behaviour_sha256: str
    pad: int
    mask: int
    special: np.ndarray
    pair: Template
    single: Template

    def __len__(self) -> int:
        return len(self.tokenizer_ids)

    def segments(self) -> int:
        """How many segment ids a pair is written with."""
        specials = (*self.pair.before, *self.pair.between, *self.pair.after)
        return 1 + max(*self.pair.segments, *(segment for _, segment in specials))

    def ordinary(self) -> np.ndarray:
        """Fairseq ids that a masked piece may be replaced by: all but the special ones."""
        keep = np.ones(len(self), dtype=bool)
        keep[self.special] = False
        return np.flatnonzero(keep)


def read_manifest(data_bin: Path) -> dict[str, Any]:
    """Reads DATA_BIN/manifest.json.

    Raises:
        InputError: no manifest (not a data-bin, or an unfinished one), not JSON, or another format.
    """
    path = data_bin / "manifest.json"
    if not data_bin.is_dir():
        raise InputError(f"{data_bin} must be a folder made by weam-preprocess, but there is no such folder.")
    if not path.is_file():
        raise InputError(
            f"{data_bin} must hold manifest.json, but it does not: it was not made by weam-preprocess, or its making "
            "was interrupted. Run weam-preprocess again."
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} must be JSON, but line {error.lineno} is not. Run weam-preprocess again.") from error
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{path} must say format {FORMAT!r}, but says {manifest.get('format')!r}. Run weam-preprocess again."
        )
    return manifest


def read_vocabulary(manifest: dict[str, Any], symbols: list[str]) -> Vocabulary:
    """The id spaces, from the manifest and the lines of a dictionary.

    Args:
        manifest: as `read_manifest` gives it.
        symbols: fairseq's dictionary without its first four symbols, in order; each a tokenizer id in decimal.

    Raises:
        InputError: the dictionary is not a permutation of the tokenizer's ids.
    """
    ids = manifest["tokenizer"]["special_ids"]
    if not all(symbol.isdecimal() for symbol in symbols):
        raise InputError("Every symbol of a WEAM dictionary must be a tokenizer id in decimal: it was made elsewhere.")
    size = int(manifest["tokenizer"]["vocab_size"])
    order = [*first_ids(ids, range(size)), *map(int, symbols)]
    tokenizer_ids = np.asarray(order, dtype=np.int64)
    if len(order) != size or not np.array_equal(np.sort(tokenizer_ids), np.arange(size)):
        raise InputError(
            f"The dictionary must hold each of the tokenizer's {size} ids once, but holds {len(set(order))} of them in "
            f"{len(order)} places. Run weam-preprocess again."
        )
    fairseq_ids = np.empty(size, dtype=np.int64)
    fairseq_ids[tokenizer_ids] = np.arange(size)
    templates = manifest["tokenizer"]["template"]
    return Vocabulary(
        tokenizer_ids=tokenizer_ids,
        pieces_sha256=manifest["tokenizer"]["pieces_sha256"],
        behaviour_sha256=manifest["tokenizer"]["behaviour_sha256"],
        pad=int(fairseq_ids[ids["pad"]]),
        mask=int(fairseq_ids[ids["mask"]]),
        special=np.sort(fairseq_ids[np.asarray(manifest["tokenizer"]["all_special_ids"])]),
        pair=_template(templates["pair"], fairseq_ids),
        single=_template(templates["single"], fairseq_ids),
    )


def _template(written: dict[str, Any], fairseq_ids: np.ndarray) -> Template:
    """Splits [cls, "A", sep, "B", sep] at its two sentences."""
    parts: list[list[tuple[int, int]]] = [[]]
    segments: list[int] = []
    for piece, segment in zip(written["ids"], written["segments"], strict=True):
        if piece in (SOURCE, TARGET):
            parts.append([])
            segments.append(int(segment))
        else:
            parts[-1].append((int(fairseq_ids[piece]), int(segment)))
    if len(segments) == 1:  # a single sentence has nothing between
        parts.insert(1, [])
        segments.append(segments[0])
    before, between, after = (tuple(part) for part in parts)
    return Template(before, between, after, (segments[0], segments[1]))
