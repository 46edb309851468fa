"""Positions of pieces in hand-made cases: [CLS]=0 <s>, [SEP]=2 </s>, pad=1, sources 10.., targets 20.."""

import numpy as np

from weam_fairseq.data.databin import Template
from weam_fairseq.data.layout import Layout, Ragged, lay_out_pairs, lay_out_singles

BERT = Template(before=((0, 0),), between=((2, 0),), after=((2, 1),), segments=(0, 1))
SINGLE = Template(before=((0, 0),), between=(), after=((2, 0),), segments=(0, 0))
XLMR = Template(before=((0, 0),), between=((2, 0), (2, 0)), after=((2, 0),), segments=(0, 0))
SOURCE = Ragged.of([np.array([10, 11]), np.array([12])])
TARGET = Ragged.of([np.array([20]), np.array([21, 22, 23])])


def rows_hold_their_pieces(layout: Layout) -> bool:
    flat = layout.tokens.reshape(-1)
    return (flat[layout.source_rows] == SOURCE.flat).all() and (flat[layout.target_rows] == TARGET.flat).all()


def test_a_pair_follows_the_template() -> None:
    layout = lay_out_pairs(SOURCE, TARGET, BERT, pad=1)
    assert layout.tokens.tolist() == [[0, 10, 11, 2, 20, 2, 1], [0, 12, 2, 21, 22, 23, 2]]
    assert layout.segments.tolist() == [[0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1]]
    assert layout.positions.tolist() == [list(range(7))] * 2
    assert layout.source_rows.tolist() == [1, 2, 8]
    assert layout.target_rows.tolist() == [4, 10, 11, 12]


def test_a_template_with_two_pieces_between() -> None:
    layout = lay_out_pairs(SOURCE, TARGET, XLMR, pad=1)
    assert layout.tokens.tolist() == [[0, 10, 11, 2, 2, 20, 2, 1], [0, 12, 2, 2, 21, 22, 23, 2]]
    assert not layout.segments.any()
    assert rows_hold_their_pieces(layout)


def test_the_target_can_come_first() -> None:
    layout = lay_out_pairs(SOURCE, TARGET, BERT, pad=1, swapped=np.array([False, True]))
    assert layout.tokens.tolist() == [[0, 10, 11, 2, 20, 2, 1], [0, 21, 22, 23, 2, 12, 2]]
    assert layout.segments.tolist() == [[0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1, 1]]
    assert rows_hold_their_pieces(layout)


def test_positions_can_restart_and_segments_be_one() -> None:
    layout = lay_out_pairs(SOURCE, TARGET, BERT, pad=1, one_segment=True, reset_positions=True)
    assert layout.positions[0].tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert layout.positions[1].tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert not layout.segments.any()


def test_each_sentence_can_be_its_own_sequence() -> None:
    layout = lay_out_singles(SOURCE, TARGET, SINGLE, pad=1)
    assert layout.tokens.tolist() == [[0, 10, 11, 2, 1], [0, 12, 2, 1, 1], [0, 20, 2, 1, 1], [0, 21, 22, 23, 2]]
    assert rows_hold_their_pieces(layout)
