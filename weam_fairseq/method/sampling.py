"""Pure: decides how often each language pair is drawn in one epoch, and which of its sentence pairs.

p_k ∝ n_k^(1/T). T = 1 uses the data as they are. A larger T draws small language pairs more often and large ones less
often (Arivazhagan et al. 2019; Conneau & Lample 2019, section 3.1, with α = 1/T). The length of an epoch does not
change.

Index spaces: `index` counts the N sentence pairs of a data set. A `virtual index` = index + repetition * N
distinguishes repeated draws of a sentence pair in one epoch, so that each gets its own mask.
"""

import numpy as np


def drawn_per_epoch(sizes: np.ndarray, temperature: float) -> np.ndarray:
    """Returns how many sentence pairs of each language pair one epoch contains.

    Args:
        sizes: (K,) int64, number of sentence pairs of each language pair, at least 1.
        temperature: T > 0.

    Returns:
        (K,) int64, at least 1 each, with the same sum as `sizes`. Rounded by largest remainder; of equals the first.
    """
    if temperature == 1:
        return sizes.copy()  # exactly, whatever the size
    # Dividing by the maximum avoids overflow for a small T.
    weights = (sizes / sizes.max()) ** (1 / temperature)
    quotas = sizes.sum() * weights / weights.sum()
    counts = np.floor(quotas).astype(np.int64)
    missing = int(sizes.sum() - counts.sum())
    counts[np.argsort(counts - quotas, kind="stable")[:missing]] += 1
    for pair in np.flatnonzero(counts == 0):
        counts[np.argmax(counts)] -= 1
        counts[pair] = 1
    return counts


def draw(size: int, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws the sentence pairs of one language pair for one epoch: full passes, then distinct random ones.

    Args:
        size: number of sentence pairs of the language pair.
        count: number of draws.
        random: generator of this language pair and epoch.

    Returns:
        (count,) indices in 0..size-1, and (count,) the number of the repetition, from 0.
    """
    passes, rest = divmod(count, size)
    chosen = np.argsort(random.random(size), kind="stable")[:rest] if rest else np.empty(0, dtype=np.int64)
    return np.concatenate([np.tile(np.arange(size), passes), chosen]), np.arange(count) // size
