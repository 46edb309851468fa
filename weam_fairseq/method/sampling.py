"""Pure: how often each language pair is drawn in one epoch, and which of its sentence pairs.

p_k ∝ n_k^(1/T). T = 1 takes the text as it is; a larger T draws small language pairs more often and large ones less
(Arivazhagan et al. 2019; Conneau & Lample 2019, section 3.1, write α = 1/T). An epoch stays as long as it was.

Index spaces: `index` counts the N sentence pairs of a data set; a `virtual index` = index + repetition * N tells the
draws of one sentence pair in one epoch apart, so that each gets a mask of its own.
"""

import numpy as np


def drawn_per_epoch(sizes: np.ndarray, temperature: float) -> np.ndarray:
    """How many sentence pairs of each language pair one epoch holds.

    Args:
        sizes: (K,) int64, sentence pairs of each language pair, at least 1.
        temperature: T > 0.

    Returns:
        (K,) int64, at least 1 each, with the same sum as `sizes`: by largest remainder, the first of equals.
    """
    if temperature == 1:
        return sizes.copy()  # exactly, whatever the size
    weights = (sizes / sizes.max()) ** (1 / temperature)  # of shares, so that no power for a small T overflows
    quotas = sizes.sum() * weights / weights.sum()
    counts = np.floor(quotas).astype(np.int64)
    missing = int(sizes.sum() - counts.sum())
    counts[np.argsort(counts - quotas, kind="stable")[:missing]] += 1
    for pair in np.flatnonzero(counts == 0):
        counts[np.argmax(counts)] -= 1
        counts[pair] = 1
    return counts


def draw(size: int, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which sentence pairs of one language pair one epoch holds: whole passes, then distinct ones at random.

    Args:
        size: sentence pairs of the language pair.
        count: how many to draw.
        random: of this language pair and epoch.

    Returns:
        (count,) places in 0..size-1, and (count,) which repetition each is, from 0.
    """
    passes, rest = divmod(count, size)
    chosen = np.argsort(random.random(size), kind="stable")[:rest] if rest else np.empty(0, dtype=np.int64)
    return np.concatenate([np.tile(np.arange(size), passes), chosen]), np.arange(count) // size
