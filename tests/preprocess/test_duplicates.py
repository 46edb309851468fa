"""The first of equal pairs is kept, by keys alone, however the corpus is cut into chunks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import GERMAN, write_tsv
from hypothesis import given
from hypothesis import strategies as st
from small_runs import options
from weam_preprocess import pipeline
from weam_preprocess.corpus import SentencePair, key, keys, parse_pair_files
from weam_preprocess.errors import InputError
from weam_preprocess.kept_pairs import first_occurrences

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


TEXT = [(f"{a[:-1]} {n}.", f"{b[:-1]} {n}.") for n in range(5) for a, b in GERMAN]


def both_orders(tmp_path: Path, **more: object) -> pipeline.Options:
    """en-de, and its lines in another order as de-en with white space around them."""
    tsv = write_tsv(tmp_path / "en-de.tsv", TEXT)
    reverse = write_tsv(tmp_path / "de-en.tsv", [(f" {b}", f"{a} ") for a, b in reversed(TEXT)])
    pairs = tuple(parse_pair_files([f"en-de={tsv}", f"de-en={reverse}"]))
    common: dict[str, object] = {"valid_size": 6, "aligner": "fast_align", "chunk": 7}
    return replace(options(tsv, tmp_path / "bin", **(common | more)), pairs=pairs)


def test_held_out_pairs_are_not_trained_on_in_the_other_order(tmp_path: Path) -> None:
    from weam_fairseq.data.indexed_file import IndexedFile

    report = pipeline.run(both_orders(tmp_path))

    def rows(split: str, pair: str) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        sides = [IndexedFile(tmp_path / "bin" / f"{split}.{pair}.{lang}") for lang in ("en", "de")]
        return [tuple(tuple(side.take(np.array([row])).flat) for side in sides) for row in range(len(sides[0]))]  # type: ignore[misc]

    held_out = {pair: rows("valid", pair) for pair in ("en-de", "de-en")}
    for of_pair, pair, other in zip(report.pairs, ("en-de", "de-en"), ("de-en", "en-de"), strict=True):
        trained = rows("train", pair)
        assert not set(trained) & set(held_out[other])
        # Nothing but those is missing, and they are counted.
        assert len(set(trained) | set(held_out[other]) | set(held_out[pair])) == len(TEXT)
        dropped = len(set(held_out[other]) - set(held_out[pair]))
        assert of_pair.account.dropped == {f"held out in {other}": dropped}
        assert (of_pair.train, of_pair.valid) == (len(trained), len(held_out[pair])) == (len(TEXT) - 6 - dropped, 6)
    line = int((tmp_path / "bin" / "dropped.tsv").read_text(encoding="utf-8").split("\n")[1].split("\t")[2])
    explained = pipeline.run(both_orders(tmp_path, explain=line, overwrite=True)).explained[0]
    assert explained.startswith(f"en-de line {line} was dropped: held out in de-en\n")


def test_a_corpus_that_is_held_out_in_the_other_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"-valid-size 39 leaves nothing to train on, because all other pairs"):
        pipeline.run(both_orders(tmp_path, valid_size=39, seed=2))
