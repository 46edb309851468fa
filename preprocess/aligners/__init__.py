"""Word aligners behind one interface: `build(name).align(pairs, symmetrize).links` are word links."""

from __future__ import annotations

from ..errors import InputError
from .base import SYMMETRIZATIONS, Aligner, Alignments, Link, WordPair

NAMES = ("fast_align", "eflomal", "hmm", "precomputed")

__all__ = ["NAMES", "SYMMETRIZATIONS", "Aligner", "Alignments", "Link", "WordPair", "build"]


def build(name: str, seed: int = 1) -> Aligner:
    """An aligner that trains on what it aligns: fast_align, eflomal or hmm. Raises InputError for another name.

    fast_align is the program where `fast_align` and `atools` are on the PATH, else the same model from sil-thot.
    `seed` is for eflomal's sampler. Precomputed links belong to one file: see `precomputed.PrecomputedLinks`.
    """
    from . import fast_align, thot

    if name == "fast_align" and fast_align.on_path():
        return fast_align.FastAlignProgram()
    if name in ("fast_align", "eflomal", "hmm"):
        return thot.ThotAligner(name, seed)
    raise InputError(f"The aligner must be one of fast_align, eflomal, hmm, but is {name!r}.")
