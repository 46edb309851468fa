"""How much of its batches weam-train fills with padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from texts import open_text


def padding_share(folders: list[Path], max_tokens: int) -> tuple[float, int, int]:
    """Share of padding in an epoch batched as --max-tokens does, with its pairs and batches."""
    data = open_text(folders, one_segment=False).data
    indices = np.random.default_rng(1).permutation(len(data))
    indices = indices[np.argsort(data.places(indices), kind="stable")]
    batches = data.batches(indices, max_tokens=max_tokens)
    sizes = [data.places(batch) for batch in batches]
    grid = sum(int(size.max()) * len(size) for size in sizes)
    real = sum(int(size.sum()) for size in sizes)
    return 1 - real / grid, len(indices), len(batches)
