"""The source of all random numbers in the data: (seed, epoch, index, stream) -> a generator.

Philox is counter-based, so the numbers of a pair do not depend on the pairs drawn before it, on the worker, or on where
a run was resumed. Resetting a generator's state is five times faster than creating a generator.
"""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The purpose of the numbers. Different purposes never share numbers, even for the same pair and epoch."""

    MASK = 0
    LINKS = 1
    ORDER = 2
    SAMPLE = 3


class PairRandom:
    """Generators for single pairs.

    Args:
        seed: the run's seed, >= 0.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._philox = np.random.Philox(key=[0, 0])
        self._generator = np.random.Generator(self._philox)
        self._fresh = self._philox.state

    def at(self, epoch: int, index: int, stream: Stream) -> np.random.Generator:
        """Returns the generator for one pair in one epoch. It is valid until the next call.

        Args:
            epoch: from 0.
            index: below 2^64; a virtual index (sampling.py), or a language pair's number for `Stream.SAMPLE`.
            stream: the purpose of the numbers.
        """
        state = self._fresh
        state["state"]["key"][:] = (self.seed, epoch)
        state["state"]["counter"][:] = (0, 0, index, int(stream))
        self._philox.state = state
        return self._generator
