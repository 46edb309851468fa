"""The first of equal pairs is kept, by keys alone, however the corpus is cut into chunks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from weam_preprocess.corpus import SentencePair
from weam_preprocess.duplicates import first_occurrences, key, keys

SIDE = st.text(st.sampled_from(["a", "b", " ", "\t", "\u2028", "é"]), max_size=3)
# Few values, so that keys repeat; high ones, so that several parts of the key space occur.
HALF = st.sampled_from([0, 1, 2**63, 2**64 - 1])
# Without "\n", as lines are: keys may join sides with it.
PAIRS = st.lists(st.tuples(SIDE, SIDE), max_size=30)


@given(st.lists(st.lists(st.tuples(HALF, HALF), max_size=5), max_size=8))
def test_the_first_of_equal_keys_is_kept(chunks: list[list[tuple[int, int]]]) -> None:
    masks = first_occurrences([np.array(chunk, dtype=np.uint64).reshape(-1, 2) for chunk in chunks])
    seen: set[tuple[int, int]] = set()
    expected = [[not (pair in seen or seen.add(pair)) for pair in chunk] for chunk in chunks]
    assert [mask.tolist() for mask in masks] == expected


@given(PAIRS)
def test_two_pairs_share_a_key_when_their_stripped_sides_are_equal(pairs: list[tuple[str, str]]) -> None:
    rows = keys(SentencePair(line_idx, *pair) for line_idx, pair in enumerate(pairs))
    assert rows.shape == (len(pairs), 2)
    for (a, b), row in zip(pairs, rows.tolist(), strict=True):
        for (c, d), other in zip(pairs, rows.tolist(), strict=True):
            assert (row == other) == ((a.strip(), b.strip()) == (c.strip(), d.strip()))


def test_a_key_is_the_same_everywhere() -> None:
    """Worker processes and machines must agree: no hash that is seeded anew, no byte order of the machine."""
    golden = "73211162e8f31efe86ee08f9b9e500e3"  # b2sum -l 128 of "The house.\nDas Haus."
    assert key(" The house.", "Das Haus.\t").hex() == golden
    assert keys([SentencePair(0, "The house.", "Das Haus.")]).tobytes().hex() == golden
