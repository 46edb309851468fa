"""The parts of all chunks of a pair, joined to the data-bin's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import binarize, databin
from .binarize import PARTS, SPLITS
from .inputs import PairFiles
from .options import Options
from .work import Work


def merge(options: Options, pair: PairFiles, chunks: range, space: databin.IdSpace, folder: Path, work: Work) -> bool:
    """Writes the data-bin's files of one pair. Returns whether its links have probabilities."""
    source, target = pair.source_lang, pair.target_lang
    names = {
        "source": f"{pair.name}.{source}",
        "target": f"{pair.name}.{target}",
        "align": f"align.{pair.name}",
        "probs": f"probs.{pair.name}",
        "words.source": f"words.{pair.name}.{source}",
        "words.target": f"words.{pair.name}.{target}",
    }
    has_probabilities = False
    for split in SPLITS if options.valid_size else SPLITS[:1]:
        for part in PARTS:
            name = f"{split}.{part}"

            def parts(name: str = name) -> Iterator[tuple[np.ndarray, np.ndarray]]:
                return binarize.read_part(work, pair.name, chunks, name)

            if part == "probs" and next(parts(), None) is None:
                continue
            has_probabilities |= part == "probs"
            values = {"source": space.size, "target": space.size, "probs": databin.CERTAIN + 1}.get(part)
            if values is None:
                values = 1 + max(int(flat.max(initial=0)) for flat, _ in parts())
            databin.write_part(folder, f"{split}.{names[part]}", parts(), values)
    return has_probabilities
