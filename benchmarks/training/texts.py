"""Real text in the forms that are timed: rows without padding, and batches as each contestant makes them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from shapes import MASK_PROB

from weam_fairseq.data.databin import read_manifest, read_vocabulary
from weam_fairseq.data.split import Pair, open_split
from weam_fairseq.method.batch import Batch
from weam_fairseq.method.dataset import WordExchangeDataset
from weam_fairseq.method.policy import Policy


class Text(NamedTuple):
    """The training pairs of one data-bin or of several with the same tokenizer, as one data set."""

    data: WordExchangeDataset
    folders: list[Path]


def open_text(folders: list[Path], *, one_segment: bool) -> Text:
    """Every pair of every data-bin; masks are drawn with seed 1."""
    splits, vocabulary = [], None
    for folder in folders:
        manifest = read_manifest(folder)
        language = next(iter(manifest["pairs"])).split("-")[0]
        symbols = [line.split()[0] for line in (folder / f"dict.{language}.txt").read_text().splitlines()]
        found = read_vocabulary(manifest, symbols)
        if vocabulary is not None and not np.array_equal(vocabulary.tokenizer_ids, found.tokenizer_ids):
            raise SystemExit(f"All data-bins must number their pieces alike, but {folder} differs from {folders[0]}.")
        vocabulary = vocabulary or found
        splits += [open_split(folder, "train", pair) for pair in manifest["pairs"]]
    assert vocabulary is not None
    policy = Policy(mask_prob=MASK_PROB, one_segment=one_segment)
    return Text(WordExchangeDataset(splits, vocabulary, policy, seed=1), folders)


def some_pairs(data: WordExchangeDataset, count: int, longest: int) -> np.ndarray:
    """`count` indices drawn without order from the pairs of at most `longest` pieces; the same at every call."""
    fits = np.flatnonzero(data.sizes <= longest)
    return np.sort(np.random.default_rng(1).permutation(fits)[:count])


def full_rows(data: WordExchangeDataset, rows: int, length: int, batches: int) -> list[list[Pair]]:
    """Batches of `rows` pairs with exactly `length` pieces each, special ones included: real pairs joined end to end.

    The last pair of a row is cut to fit, and links across the cut are dropped; a row holds one language pair.
    """
    room = length - data.vocabulary.pair.special_count()
    order = np.random.default_rng(2).permutation(len(data))
    by_language = [order[np.searchsorted(data._ends, order, side="right") == n] for n in range(len(data.splits))]
    taken = [0] * len(by_language)
    made = []
    for number in range(rows * batches):
        language = number % len(by_language)
        row: Pair | None = None
        while row is None or len(row.source) + len(row.target) < room:
            index = by_language[language][taken[language] % len(by_language[language])]
            taken[language] += 1
            row = data[int(index)] if row is None else _joined(row, data[int(index)])
        made.append(_cut(row, room))
    return [made[start : start + rows] for start in range(0, len(made), rows)]


def _joined(first: Pair, second: Pair) -> Pair:
    def words(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.concatenate([one, other + one.max(initial=-1) + 1])

    return Pair(
        first.index,
        first.language_pair,
        np.concatenate([first.source, second.source]),
        np.concatenate([first.target, second.target]),
        np.concatenate([first.links, second.links + np.asarray([len(first.source), len(first.target)])]),
        words(first.source_words, second.source_words),
        words(first.target_words, second.target_words),
        np.concatenate([first.link_weights, second.link_weights]),
    )


def _cut(pair: Pair, room: int) -> Pair:
    source = round(room * len(pair.source) / (len(pair.source) + len(pair.target)))
    target = room - source
    kept = (pair.links[:, 0] < source) & (pair.links[:, 1] < target)
    return Pair(
        pair.index,
        pair.language_pair,
        pair.source[:source],
        pair.target[:target],
        pair.links[kept],
        pair.source_words[:source],
        pair.target_words[:target],
        pair.link_weights[kept],
    )


def evenly(batches: list[Any], sizes: np.ndarray, count: int) -> list[Any]:
    """`count` of the batches that stand for all: those in the middle of `count` equal parts of them by size."""
    order = np.argsort(sizes, kind="stable")
    places = (np.arange(count) + 0.5) * len(batches) / count
    return [batches[order[int(place)]] for place in places]


def without_exchange(batch: Batch) -> Batch:
    """The batch of the objective `tlm`."""
    net_input = {key: value for key, value in batch["net_input"].items() if key != "exchange"}
    return {**batch, "net_input": net_input}


def real_pieces(batch: Batch) -> int:
    return int(batch["ntokens"])
