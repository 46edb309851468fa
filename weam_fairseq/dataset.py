"""The data set: pairs of a data-bin -> masked batches with their exchange.

The files of the data-bin hold ids, links and words; what is drawn at random (masks, wrong links, order) is
drawn here from (seed, epoch, index), the same for every objective.

N sentence pairs in the data set. An epoch may hold a sentence pair several times (sampling.py): indices that fairseq
sees are virtual ones, index + repetition * N, and give each repetition random numbers of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fairseq.data import FairseqDataset

from .batch import Batch, validate
from .databin import Vocabulary
from .errors import InputError
from .indexed_file import IndexedFile
from .layout import Layout, Ragged, lay_out_pairs, lay_out_singles
from .masking import UNIFORMS, mask_pieces, unit_starts
from .one_buffer import OneBuffer
from .randomness import PairRandom, Stream
from .sampling import draw, drawn_per_epoch
from .word_exchange import (
    Exchange,
    LinkPolicy,
    choose_links,
    edges_between,
    edges_into,
    next_in_circle,
    number_words,
)

OBJECTIVES = ("weam", "tlm", "mlm", "identity", "shuffled")
CERTAIN = 10_000  # a link probability of 1, as data-bins write it


@dataclass(frozen=True)
class Policy:
    """Everything of the method that is chosen in training and not in preprocessing; plain values."""

    objective: str = "weam"
    mask_prob: float = 0.3
    mask_replace: str = "bert"
    mask_unit: str = "piece"
    links: LinkPolicy = field(default_factory=LinkPolicy)
    one_segment: bool = False
    reset_positions: bool = False
    shuffle_order: bool = False
    sampling_temperature: float = 1.0
    cp_head: str = "shared"  # of the model; named here so that checkpoints and logs tell the whole method

    def plain(self) -> dict[str, Any]:
        """Values that a checkpoint can hold; `Policy.of` reads them."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "links": self.links._asdict()}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Policy":
        """What `plain` wrote; an option that an older checkpoint does not name has its default, which was the rule."""
        return cls(**{**plain, "links": LinkPolicy(**plain["links"])})


class Split(NamedTuple):
    """One language pair of one split: files with the same number of items.

    probabilities: of each piece link, in parts per 10,000; None when they are not wanted.
    """

    name: str
    source: IndexedFile
    target: IndexedFile
    links: IndexedFile
    source_words: IndexedFile
    target_words: IndexedFile
    probabilities: IndexedFile | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One sentence pair as it stands in the data-bin; arrays are 1-D int64, links (L, 2).

    index: the virtual one.
    link_weights: (L,) the probability of each link in parts per 10,000; 1 everywhere when they are not wanted.
    """

    index: int
    language_pair: int
    source: np.ndarray
    target: np.ndarray
    links: np.ndarray
    source_words: np.ndarray
    target_words: np.ndarray
    link_weights: np.ndarray


def check_probabilities(manifest: dict[str, Any], data_bin: Path, policy: LinkPolicy) -> None:
    """Raises InputError when a policy wants link probabilities that a data-bin does not hold."""
    if policy.weighted and not manifest["aligner"].get("probabilities", False):
        raise InputError(
            f"--one-to-many weighted must have the probability of each link, but {data_bin} was aligned by "
            f"{manifest['aligner']['name']}, which gave none. Make the data-bin with --aligner hmm, or with --aligner "
            "precomputed and links written as i-j:p."
        )


def open_split(data_bin: Path, split: str, pair: str, weighted: bool = False) -> Split:
    """Opens the parts of one pair.

    Args:
        data_bin: folder.
        split: train or valid.
        pair: as en-de.
        weighted: open the link probabilities too.

    Raises:
        InputError: a part is missing or empty, or the parts do not have the same number of items.
    """
    source, target = pair.split("-")
    if split == "valid" and not _exists(data_bin / f"{split}.{pair}.{source}"):
        raise InputError(
            f"{data_bin} must hold a validation split of {pair}, but does not. Make it with weam-preprocess "
            "--valid-size N, or train with --disable-validation."
        )
    names = {
        "source": f"{split}.{pair}.{source}",
        "target": f"{split}.{pair}.{target}",
        "links": f"{split}.align.{pair}",
        "source_words": f"{split}.words.{pair}.{source}",
        "target_words": f"{split}.words.{pair}.{target}",
    }
    if weighted:
        names["probabilities"] = f"{split}.probs.{pair}"
    parts = {part: _open(data_bin / name) for part, name in names.items()}
    counts = {names[part]: len(opened) for part, opened in parts.items()}
    if len(set(counts.values())) != 1:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"All parts of {pair} in {data_bin} must have the same number of items, but: {found}.")
    if weighted and not np.array_equal(2 * parts["probabilities"].sizes, parts["links"].sizes):
        raise InputError(
            f"{names['probabilities']} in {data_bin} must hold one probability for each link of {names['links']}, but "
            "holds more or fewer for some pairs. Run weam-preprocess again."
        )
    return Split(pair, **parts)


def _exists(prefix: Path) -> bool:
    return all(Path(f"{prefix}.{suffix}").is_file() for suffix in ("bin", "idx"))


def _open(prefix: Path) -> IndexedFile:
    if not _exists(prefix):
        raise InputError(
            f"{prefix}.bin and {prefix}.idx must both be there, but at least one is missing: without it the pair "
            "cannot be trained on. Run weam-preprocess again."
        )
    if not Path(f"{prefix}.bin").stat().st_size:  # which cannot be mapped into memory
        raise InputError(
            f"{prefix}.bin must hold something, but is empty. Leave its pair out with --pairs, or run weam-preprocess "
            "on more sentence pairs."
        )
    return IndexedFile(prefix)


def _items(ragged: Ragged) -> Iterator[np.ndarray]:
    """The sequences one by one, as views."""
    ends = np.cumsum(ragged.sizes).tolist()
    return (ragged.flat[end - size : end] for end, size in zip(ends, ragged.sizes.tolist(), strict=True))


def _check_links(name: str, inside: np.ndarray, source: Ragged, target: Ragged, links: Ragged) -> None:
    owner = links.owner()
    outside = np.flatnonzero((links.flat[:, 0] >= source.sizes[owner]) | (links.flat[:, 1] >= target.sizes[owner]))
    if len(outside):
        pair = owner[outside[0]]
        raise InputError(
            f"Every link must lie inside its sentences, but a link of {name} pair {inside[pair]} points outside "
            f"({source.sizes[pair]} and {target.sizes[pair]} pieces). Run weam-preprocess again."
        )


def _check_weights(name: str, inside: np.ndarray, weights: Ragged) -> None:
    wrong = np.flatnonzero((weights.flat < 1) | (weights.flat > CERTAIN))
    if len(wrong):
        raise InputError(
            f"Every link probability must lie in 1..{CERTAIN:,} (parts per {CERTAIN:,}), but one of {name} pair "
            f"{inside[weights.owner()[wrong[0]]]} is {weights.flat[wrong[0]]:,}. Run weam-preprocess again."
        )


class WordExchangeDataset(FairseqDataset):
    """Pairs of one or more language pairs, end to end.

    Args:
        splits: the language pairs, in the order of --pairs.
        vocabulary: id spaces and templates of the data-bin.
        policy: what to draw and how to link.
        seed: of the run.
        fixed_epoch: draw as in this epoch whatever `set_epoch` says (validation); None in training.
    """

    def __init__(
        self,
        splits: list[Split],
        vocabulary: Vocabulary,
        policy: Policy,
        seed: int,
        fixed_epoch: int | None = None,
    ) -> None:
        super().__init__()
        assert policy.objective in OBJECTIVES, policy.objective
        self.splits = splits
        self.vocabulary = vocabulary
        self.policy = policy
        self.seed = seed
        self.fixed_epoch = fixed_epoch
        self.epoch = 1
        self._ordinary = vocabulary.ordinary()
        self.pair_sizes = np.asarray([len(split.source) for split in splits])
        # Validation holds every pair once, whatever the temperature.
        temperature = policy.sampling_temperature if fixed_epoch is None else 1.0
        self.drawn = drawn_per_epoch(self.pair_sizes, temperature)
        self._ends = np.cumsum(self.pair_sizes)
        specials = vocabulary.pair.special_count()
        self.sizes: np.ndarray = (
            np.concatenate([s.source.sizes.astype(np.int64) + s.target.sizes for s in splits]) + specials
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, virtual_index: int) -> Pair:
        return self.__getitems__([virtual_index])[0]

    def __getitems__(self, virtual_indices: Sequence[int]) -> list[Pair]:
        """The pairs of a batch, read together: what torch's data loader asks for."""
        virtual = np.asarray(virtual_indices, dtype=np.int64)
        index = virtual % len(self)
        which = np.searchsorted(self._ends, index, side="right")
        found: list[Pair | None] = [None] * len(virtual)
        for number in np.unique(which).tolist():
            places = np.flatnonzero(which == number)
            inside = index[places] - (int(self._ends[number - 1]) if number else 0)
            for place, pair in zip(places.tolist(), self._read(number, inside, virtual[places]), strict=True):
                found[place] = pair
        return [pair for pair in found if pair is not None]

    def _read(self, number: int, inside: np.ndarray, virtual: np.ndarray) -> Iterator[Pair]:
        """Pairs of one language pair, by their places in it."""
        split = self.splits[number]
        parts = (split.source, split.target, split.links, split.source_words, split.target_words)
        source, target, flat_links, source_words, target_words = (part.take(inside) for part in parts)
        links = Ragged(flat_links.flat.reshape(-1, 2), flat_links.sizes // 2)
        weights = Ragged(np.ones(len(links.flat), dtype=np.int64), links.sizes)
        if split.probabilities is not None:
            weights = split.probabilities.take(inside)
        _check_links(split.name, inside, source, target, links)
        _check_weights(split.name, inside, weights)
        columns = (source, target, links, source_words, target_words, weights)
        for index, *arrays in zip(virtual.tolist(), *(_items(column) for column in columns), strict=True):
            yield Pair(index, number, *arrays)

    def size(self, virtual_index: int) -> int:
        return int(self.sizes[virtual_index % len(self)])

    def num_tokens(self, virtual_index: int) -> int:
        return self.size(virtual_index)

    def num_tokens_vec(self, virtual_indices: np.ndarray) -> np.ndarray:
        sizes: np.ndarray = self.sizes[virtual_indices % len(self)]
        return sizes

    def filter_indices_by_size(self, virtual_indices: np.ndarray, max_sizes: int) -> tuple[np.ndarray, list[int]]:
        """fairseq's, which looks virtual indices up in `sizes`: those that fit, and those that are left out."""
        fits = self.num_tokens_vec(virtual_indices) <= max_sizes
        return virtual_indices[fits], virtual_indices[~fits].tolist()

    def batch_by_size(
        self,
        indices: np.ndarray,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> list[np.ndarray]:
        """fairseq's, with a multiple of 1: for any other fairseq drops a last batch that is none, without a word."""
        batches: list[np.ndarray] = super().batch_by_size(indices, max_tokens, max_sentences, 1)
        return batches

    def ordered_indices(self) -> np.ndarray:
        """Virtual indices of this epoch by size, equal sizes in random order.

        fairseq seeds NumPy with seed + epoch around this call.
        """
        drawn = self._draw_epoch()
        shuffled = drawn[np.random.permutation(len(drawn))] if self.fixed_epoch is None else drawn
        ordered: np.ndarray = shuffled[np.argsort(self.num_tokens_vec(shuffled), kind="stable")]
        return ordered

    def _draw_epoch(self) -> np.ndarray:
        """(N,) virtual indices, the language pairs one after the other."""
        random = PairRandom(self.seed)
        virtual = []
        for which, (size, count, end) in enumerate(zip(self.pair_sizes, self.drawn, self._ends, strict=True)):
            inside, repetition = draw(int(size), int(count), random.at(self.epoch, which, Stream.SAMPLE))
            virtual.append(end - size + inside + len(self) * repetition)
        return np.concatenate(virtual)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """False: batches, and the workers that know the epoch, are made anew for each epoch.

        Otherwise a resumed run would batch with the seed of the epoch it resumed in, and worker processes that
        outlive an epoch would go on drawing the masks of the old one.
        """
        return False

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.epoch = epoch

    def collater(self, samples: list[Pair]) -> Batch:
        """Draws masks and links and lays the pairs out; keys and shapes stand in batch.py."""
        if not samples:
            return {}
        source = Ragged.of([pair.source for pair in samples])
        target = Ragged.of([pair.target for pair in samples])
        masked_source, masked_target = self._mask(samples, source, target)
        layout = self._lay_out(samples, source._replace(flat=masked_source[0]), target._replace(flat=masked_target[0]))

        rows = np.concatenate([layout.source_rows[masked_source[1]], layout.target_rows[masked_target[1]]])
        pieces = np.concatenate([source.flat[masked_source[1]], target.flat[masked_target[1]]])
        language_pair = np.asarray([pair.language_pair for pair in samples])
        owner = np.concatenate([source.owner()[masked_source[1]], target.owner()[masked_target[1]]])
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        net_input: dict[str, Any] = {
            "tokens": torch.from_numpy(layout.tokens),
            "segments": torch.from_numpy(layout.segments),
            "positions": torch.from_numpy(layout.positions),
            "masked_rows": torch.from_numpy(rows),
        }
        if self.policy.objective not in ("mlm", "tlm"):
            net_input["exchange"] = self._exchange(samples, source, target, layout, rows)
        piece_counts = np.bincount(
            language_pair, weights=source.sizes + target.sizes, minlength=len(self.splits)
        ).astype(np.int64)
        batch = {
            "id": torch.as_tensor([pair.index for pair in samples], dtype=torch.int64),
            "net_input": net_input,
            "target": torch.from_numpy(pieces[order]),
            "row_pair": torch.from_numpy(language_pair[owner[order]]),
            "pair_pieces": torch.from_numpy(piece_counts),
            "nsentences": len(samples),
            "ntokens": int((layout.tokens != self.vocabulary.pad).sum()),
        }
        validate(batch, len(self.vocabulary))
        return OneBuffer(batch)

    def _draw(self, samples: list[Pair], stream: Stream, shape: list[tuple[int, ...]]) -> list[np.ndarray]:
        random = PairRandom(self.seed)
        epoch = self.epoch if self.fixed_epoch is None else self.fixed_epoch
        return [random.at(epoch, p.index, stream).random(size) for p, size in zip(samples, shape, strict=True)]

    def _mask(self, samples: list[Pair], source: Ragged, target: Ragged) -> tuple[Any, Any]:
        drawn = self._draw(samples, Stream.MASK, [(UNIFORMS, len(p.source) + len(p.target)) for p in samples])
        masked = []
        for side, uniforms, words in (
            (source, [u[:, : len(p.source)] for u, p in zip(drawn, samples, strict=True)], "source_words"),
            (target, [u[:, len(p.source) :] for u, p in zip(drawn, samples, strict=True)], "target_words"),
        ):
            unit_start = None
            if self.policy.mask_unit == "word":
                unit_start = unit_starts(number_words(Ragged.of([getattr(p, words) for p in samples])))
            masked.append(
                mask_pieces(
                    side.flat,
                    np.concatenate(uniforms, axis=1),
                    mask_prob=self.policy.mask_prob,
                    replace=self.policy.mask_replace,
                    mask=self.vocabulary.mask,
                    ordinary=self._ordinary,
                    unit_start=unit_start,
                )
            )
        return masked[0], masked[1]

    def _lay_out(self, samples: list[Pair], source: Ragged, target: Ragged) -> Layout:
        if self.policy.objective == "mlm":
            return lay_out_singles(source, target, self.vocabulary.single, self.vocabulary.pad)
        swapped = None
        if self.policy.shuffle_order:
            swapped = np.concatenate(self._draw(samples, Stream.ORDER, [(1,)] * len(samples))) < 0.5
        return lay_out_pairs(
            source,
            target,
            self.vocabulary.pair,
            self.vocabulary.pad,
            swapped=swapped,
            one_segment=self.policy.one_segment,
            reset_positions=self.policy.reset_positions,
        )

    def _exchange(
        self, samples: list[Pair], source: Ragged, target: Ragged, layout: Layout, masked_rows: np.ndarray
    ) -> Exchange:
        owner = np.repeat(np.arange(len(samples)), [len(p.links) for p in samples])
        links = np.concatenate([p.links for p in samples])
        links = links + np.stack([source.starts()[owner], target.starts()[owner]], axis=1)
        links = np.column_stack([links, np.concatenate([p.link_weights for p in samples])])
        if self.policy.objective == "identity":
            links = links[:0]
        if self.policy.links.skip_identical:
            links = links[source.flat[links[:, 0]] != target.flat[links[:, 1]]]
        source_words = number_words(Ragged.of([p.source_words for p in samples]))
        target_words = number_words(Ragged.of([p.target_words for p in samples]))
        into_source, into_target = choose_links(links, source_words, target_words, self.policy.links)
        if self.policy.objective == "shuffled":
            # After the policy, so that as many rows are linked, to as many and as strongly, as with the true links.
            numbers = self._draw(samples, Stream.LINKS, [(len(p.target),) for p in samples])
            renamed = next_in_circle(target, np.concatenate(numbers))
            into_source = np.column_stack([into_source[:, 0], renamed[into_source[:, 1]], into_source[:, 2]])
            into_target = np.column_stack([renamed[into_target[:, 0]], into_target[:, 1:]])
        return edges_into(edges_between(into_source, into_target, layout.source_rows, layout.target_rows), masked_rows)
