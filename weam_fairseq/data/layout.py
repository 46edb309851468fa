"""Pure: puts each piece of a batch at its position. Only this file adds offsets for special pieces.

Index spaces: `piece_idx` counts the pieces of one sentence without special pieces. `position` is the column in the
padded (B, T) batch. `row` = b * T + position is an index into the flattened batch.
"""

from typing import NamedTuple

import numpy as np

from weam_fairseq.data.databin import Template


class Ragged(NamedTuple):
    """Sequences of different lengths, end to end: `flat` (sum of sizes,), `sizes` (B,), all int64."""

    flat: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, sequences: list[np.ndarray]) -> "Ragged":
        sizes = np.fromiter((len(s) for s in sequences), dtype=np.int64, count=len(sequences))
        flat = np.concatenate(sequences) if sequences else np.empty(0)
        return cls(flat.astype(np.int64), sizes)

    def starts(self) -> np.ndarray:
        """(B,) index in `flat` of the first element of each sequence."""
        return np.cumsum(self.sizes) - self.sizes

    def owner(self) -> np.ndarray:
        """(len(flat),) index of the sequence that each element belongs to."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def inside(self) -> np.ndarray:
        """(len(flat),) index of each element within its own sequence."""
        return np.arange(len(self.flat)) - np.repeat(self.starts(), self.sizes)


class Layout(NamedTuple):
    """The padded grid of a batch.

    Attributes:
        tokens, segments, positions: (B, T) int64.
        attended: (B, T) int64, 1 for pieces and 0 for padding.
        source_rows, target_rows: row of each piece of the ragged source and target.
    """

    tokens: np.ndarray
    segments: np.ndarray
    positions: np.ndarray
    source_rows: np.ndarray
    target_rows: np.ndarray
    attended: np.ndarray


def lay_out_pairs(
    source: Ragged,
    target: Ragged,
    template: Template,
    pad: int,
    *,
    swapped: np.ndarray | None = None,
    one_segment: bool = False,
    reset_positions: bool = False,
) -> Layout:
    """Lays out pairs as `before first between second after`, padded on the right.

    Args:
        swapped: (B,) bool, true if the target comes first.
        one_segment: use segment id 0 everywhere.
        reset_positions: restart positions at 0 at the first piece of the second sentence.
    """
    batch = len(source.sizes)
    is_swapped = np.zeros(batch, dtype=bool) if swapped is None else swapped
    first_sizes = np.where(is_swapped, target.sizes, source.sizes)
    second_sizes = np.where(is_swapped, source.sizes, target.sizes)
    first_start = np.full(batch, len(template.before))
    between_start = first_start + first_sizes
    second_start = between_start + len(template.between)
    after_start = second_start + second_sizes
    ends = after_start + len(template.after)
    width = int(ends.max())

    tokens = np.full((batch, width), pad, dtype=np.int64)
    segments = np.zeros((batch, width), dtype=np.int64)
    column = np.arange(width)[None, :]
    second = (column >= second_start[:, None]) & (column < after_start[:, None])
    first = (column >= first_start[:, None]) & (column < between_start[:, None])
    segments[first], segments[second] = template.segments
    for specials, start in (
        (template.before, np.zeros(batch, dtype=np.int64)),
        (template.between, between_start),
        (template.after, after_start),
    ):
        for offset, (piece, segment) in enumerate(specials):
            tokens[np.arange(batch), start + offset] = piece
            segments[np.arange(batch), start + offset] = segment

    source_start = np.where(is_swapped, second_start, first_start)
    target_start = np.where(is_swapped, first_start, second_start)
    source_rows = _rows(source, source_start, width)
    target_rows = _rows(target, target_start, width)
    tokens.reshape(-1)[source_rows] = source.flat
    tokens.reshape(-1)[target_rows] = target.flat
    positions = np.broadcast_to(column, (batch, width)).astype(np.int64)
    if reset_positions:
        positions = np.where(column >= second_start[:, None], column - second_start[:, None], positions)
    if one_segment:
        segments[:] = 0
    # Padding has segment 0 and consecutive positions. Attention ignores it.
    attended = (column < (after_start + len(template.after))[:, None]).astype(np.int64)
    return Layout(tokens, segments, positions, source_rows, target_rows, attended)


def lay_out_singles(source: Ragged, target: Ragged, template: Template, pad: int) -> Layout:
    """Lays out each sentence as its own sequence: the B sources, then the B targets, (2B, T)."""
    both = Ragged(np.concatenate([source.flat, target.flat]), np.concatenate([source.sizes, target.sizes]))
    empty = Ragged(np.empty(0, dtype=np.int64), np.zeros(len(both.sizes), dtype=np.int64))
    layout = lay_out_pairs(both, empty, template, pad)
    source_count = len(source.flat)
    return layout._replace(source_rows=layout.source_rows[:source_count], target_rows=layout.source_rows[source_count:])


def _rows(pieces: Ragged, start: np.ndarray, width: int) -> np.ndarray:
    return pieces.owner() * width + np.repeat(start, pieces.sizes) + pieces.inside()
