"""Pure: the data set. It turns sentence pairs of a data-bin into masked batches with their exchange.

The data-bin contains ids, links and words. Masks, wrong links and the order of sentences are drawn here from (seed,
epoch, index), in the same way for every objective.

The data set has N sentence pairs. An epoch may contain a sentence pair several times (sampling.py). So it uses virtual
indices, index + repetition * N, and each repetition gets its own random numbers.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch.utils.data import Dataset

from weam_fairseq.data.databin import Vocabulary
from weam_fairseq.data.layout import Layout, Ragged, lay_out_pairs, lay_out_singles
from weam_fairseq.data.split import Pair, Split, open_split, read_pairs
from weam_fairseq.method.batch import Batch, validate
from weam_fairseq.method.masking import UNIFORMS, mask_pieces, unit_starts
from weam_fairseq.method.objectives import OBJECTIVES
from weam_fairseq.method.policy import Policy
from weam_fairseq.method.randomness import PairRandom, Stream
from weam_fairseq.method.sampling import draw, drawn_per_epoch
from weam_fairseq.method.word_exchange import (
    Exchange,
    choose_links,
    edges_between,
    edges_into,
    from_next_pair,
    from_whole_sentence,
    next_in_cycle,
    number_words,
    without_identical,
)

# Validation always draws the masks of this epoch, so that losses of different updates and objectives are comparable.
VALIDATION_EPOCH = 0


class WordExchangeDataset(Dataset[Pair]):
    """The sentence pairs of one or more language pairs, end to end.

    Args:
        splits: the language pairs, in the order of --pairs.
        vocabulary: id spaces and templates of the data-bin.
        policy: the method's options for masks, links and sampling.
        seed: seed of the run.
        fixed_epoch: always draw as in this epoch (validation); None: draw as in the current epoch (training).
    """

    def __init__(
        self,
        splits: list[Split],
        vocabulary: Vocabulary,
        policy: Policy,
        seed: int,
        fixed_epoch: int | None = None,
    ) -> None:
        assert policy.objective in OBJECTIVES, policy.objective
        self.splits = splits
        self.vocabulary = vocabulary
        self.policy = policy
        self.seed = seed
        self.fixed_epoch = fixed_epoch
        # In shared memory, so that data workers that outlive an epoch see the next one.
        self._epoch = torch.ones((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._ordinary = vocabulary.ordinary()
        self.pair_sizes = np.asarray([len(split.source) for split in splits])
        # Validation contains every pair once, whatever the temperature.
        temperature = policy.sampling_temperature if fixed_epoch is None else 1.0
        self.drawn = drawn_per_epoch(self.pair_sizes, temperature)
        self._ends = np.cumsum(self.pair_sizes)
        sides = [
            np.concatenate([side.sizes.astype(np.int64) for side in columns])
            for columns in ([split.source for split in splits], [split.target for split in splits])
        ]
        self.sizes: np.ndarray = sides[0] + sides[1] + vocabulary.pair.special_count()
        # Size of a pair in a batch where it is the longest. In `mlm` each of its sentences has its own row.
        rows = 2 * (np.maximum(*sides) + vocabulary.single.special_count())
        self._places: np.ndarray = rows if policy.trains.single_sentences else self.sizes

    @classmethod
    def open(
        cls, data_bin: Path, split: str, pairs: Sequence[str], vocabulary: Vocabulary, policy: Policy, seed: int
    ) -> Self:
        """Opens the training or the validation split of a data-bin.

        Validation measures both losses with the true links for every objective, so that its losses are comparable.

        Args:
            split: train or valid.
            pairs: names of language pairs.

        Raises:
            InputError: a file is missing or empty, or the files do not belong together.
        """
        training = split == "train"
        return cls(
            [open_split(data_bin, split, pair, policy.links.weighted) for pair in pairs],
            vocabulary,
            policy if training else replace(policy, objective="weam"),
            seed,
            fixed_epoch=None if training else VALIDATION_EPOCH,
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, virtual_index: int) -> Pair:
        return self.__getitems__([virtual_index])[0]

    def __getitems__(self, virtual_indices: Sequence[int]) -> list[Pair]:
        """Reads the pairs of a batch together. torch's data loader calls this."""
        virtual = np.asarray(virtual_indices, dtype=np.int64)
        index = virtual % len(self)
        pair_numbers = np.searchsorted(self._ends, index, side="right")
        pairs_in_order: list[Pair | None] = [None] * len(virtual)
        for number in np.unique(pair_numbers).tolist():
            places = np.flatnonzero(pair_numbers == number)
            inside = index[places] - (int(self._ends[number - 1]) if number else 0)
            pairs = read_pairs(self.splits[number], number, inside, virtual[places], self.vocabulary.tokenizer_ids)
            for place, pair in zip(places.tolist(), pairs, strict=True):
                pairs_in_order[place] = pair
        return [pair for pair in pairs_in_order if pair is not None]

    def places(self, virtual_indices: np.ndarray) -> np.ndarray:
        """Positions that each pair takes in a batch if it is the longest, (n,) -> (n,). max_tokens limits their sum."""
        counts: np.ndarray = self._places[virtual_indices % len(self)]
        return counts

    def longest(self) -> tuple[int, int]:
        """Returns the largest `places` of a pair, and the most pieces of a pair (`sizes`)."""
        return int(self._places.max()), int(self.sizes.max())

    def ordered_indices(self, random: np.random.RandomState | None = None) -> np.ndarray:
        """Returns the virtual indices of this epoch, sorted by size.

        Pairs of equal size are in random order; in validation they are in the order of the data-bin.

        Args:
            random: generator for the order; None: seeded with seed + epoch, as fairseq seeds NumPy.
        """
        drawn = self._draw_epoch()
        if self.fixed_epoch is None:
            random = random or np.random.RandomState(self.seed + self.epoch)
            drawn = drawn[random.permutation(len(drawn))]
        ordered: np.ndarray = drawn[np.argsort(self.sizes[drawn % len(self)], kind="stable")]
        return ordered

    def batches(
        self, ordered: np.ndarray, max_tokens: int | None = None, batch_size: int | None = None
    ) -> list[np.ndarray]:
        """Splits indices into batches, in order. Each batch is as large as the limits allow.

        Args:
            ordered: virtual indices.
            max_tokens: limit on rows times columns of a batch, at least the `places` of every pair; None: no limit.
            batch_size: limit on sentence pairs; None: no limit.
        """
        if not len(ordered):
            return []
        places = self.places(ordered)
        ends, start = [], 0
        while start < len(ordered):
            limit = len(ordered) - start if batch_size is None else batch_size
            if max_tokens is not None:
                # Every pair is at least as long as the first one, so no more than these can fit.
                window = places[start : start + min(limit, max_tokens // int(places[start]))]
                grid = np.maximum.accumulate(window) * np.arange(1, len(window) + 1)
                limit = int(np.searchsorted(grid, max_tokens, side="right"))
                assert limit, "max_tokens must be large enough for every pair"
            start += limit
            ends.append(start)
        return np.split(ordered, ends[:-1])

    def _draw_epoch(self) -> np.ndarray:
        """(N,) virtual indices of this epoch, language pair by language pair."""
        random = PairRandom(self.seed)
        virtual = []
        for which, (size, count, end) in enumerate(zip(self.pair_sizes, self.drawn, self._ends, strict=True)):
            inside, repetition = draw(int(size), int(count), random.at(self.epoch, which, Stream.SAMPLE))
            virtual.append(end - size + inside + len(self) * repetition)
        return np.concatenate(virtual)

    @property
    def epoch(self) -> int:
        """The epoch for which masks, links and order are drawn. fairseq counts from 1."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    def collater(self, samples: list[Pair]) -> Batch:
        """Draws masks and links, and lays the pairs out. batch.py describes the keys and shapes."""
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
            "attention_mask": torch.from_numpy(layout.attended),
            "segments": torch.from_numpy(layout.segments),
            "masked_rows": torch.from_numpy(rows),
        }
        if self.policy.reset_positions:
            net_input["positions"] = torch.from_numpy(layout.positions)
        if self.policy.trains.has_second_loss:
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
            "ntokens": int(layout.attended.sum()),
        }
        validate(batch, len(self.vocabulary))
        return batch

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
        if self.policy.trains.single_sentences:
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
        if self.policy.trains.exchange == "none":
            links = links[:0]
        source_words = number_words(Ragged.of([p.source_words for p in samples]))
        target_words = number_words(Ragged.of([p.target_words for p in samples]))
        into_source, into_target = choose_links(links, source_words, target_words, self.policy.links)
        if self.policy.links.skip_identical:
            same = links[source.flat[links[:, 0]] == target.flat[links[:, 1]]]
            into_source = without_identical(into_source, same[:, 0])
            into_target = without_identical(into_target, same[:, 1])
        # After the policy, so that the controls exchange as many rows as the true links do.
        match self.policy.trains.exchange:
            case "shuffled":
                numbers = self._draw(samples, Stream.LINKS, [(len(p.target),) for p in samples])
                renamed = next_in_cycle(target, np.concatenate(numbers))
                into_source = np.column_stack([into_source[:, 0], renamed[into_source[:, 1]], into_source[:, 2]])
                into_target = np.column_stack([renamed[into_target[:, 0]], into_target[:, 1:]])
            case "sentence":
                into_source = from_whole_sentence(into_source, source, target)
                into_target = from_whole_sentence(into_target, target, source)
            case "stranger":
                numbers = self._draw(samples, Stream.LINKS, [(1,)] * len(samples))
                into_source = from_next_pair(into_source, target, np.concatenate(numbers))
                into_target = from_next_pair(into_target, source, np.concatenate(numbers))
        return edges_into(edges_between(into_source, into_target, layout.source_rows, layout.target_rows), masked_rows)
