"""Figure 1 of Yang et al. 2021 (arXiv 2106.01732), carried from links to both losses.

    1     2  3  4       5     6 7     8    9    10 11 12    13
    [CLS] Is it raining today ? [SEP] 今天 下雨 吗 ?  [PAD] [SEP]      links: 今天-today, 下雨-raining, ?-?
          x     x                     x                              x: masked

The figure pads before the last [SEP]; an exchange moves rows wherever they stand, so the test lays its 13 rows out by
hand. Rows here count from 0: R9 of the figure is row 8.
"""

import numpy as np
import pytest
import torch

from weam_fairseq.method.losses import predict, rows_to_project, split_predictions, targets_to_project
from weam_fairseq.method.word_exchange import (
    Edges,
    LinkPolicy,
    choose_links,
    edges_between,
    edges_into,
    exchange_rows,
    without_identical,
)

#   source piece_idx   0  1  2       3     4        target piece_idx   0    1    2  3
#                      Is it raining today ?                           今天 下雨 吗 ?
SOURCE_ROWS = np.array([1, 2, 3, 4, 5])
TARGET_ROWS = np.array([7, 8, 9, 10])
LINKS = np.array([[2, 1, 1], [3, 0, 1], [4, 3, 1]])  # the last column weighs each link alike
SOURCE_PIECES = np.array([20, 21, 22, 23, 9])
TARGET_PIECES = np.array([30, 31, 32, 9])
MASKED_ROWS = np.array([1, 3, 7])
ROWS = 13


def edges(skip_identical: bool) -> Edges:
    words = np.arange(len(SOURCE_ROWS)), np.arange(len(TARGET_ROWS))
    into_source, into_target = choose_links(LINKS, *words, LinkPolicy())
    if skip_identical:
        same = LINKS[SOURCE_PIECES[LINKS[:, 0]] == TARGET_PIECES[LINKS[:, 1]]]
        into_source, into_target = (
            without_identical(into_source, same[:, 0]),
            without_identical(into_target, same[:, 1]),
        )
    return edges_between(into_source, into_target, SOURCE_ROWS, TARGET_ROWS)


def representation_at_each_position(found: Edges) -> list[int]:
    """What stands at positions 1..13 after the exchange, as the figure numbers it."""
    states = torch.eye(ROWS)
    exchange = edges_into(found, np.arange(ROWS))
    after = states.index_copy(0, exchange.linked, exchange_rows(states, exchange))
    return [int(row.argmax()) + 1 for row in after]


@pytest.mark.parametrize(
    ("skip_identical", "expected"),
    [
        (True, [1, 2, 3, 9, 8, 6, 7, 5, 4, 10, 11, 12, 13]),  # as drawn: ?-? stays in place
        (False, [1, 2, 3, 9, 8, 11, 7, 5, 4, 10, 6, 12, 13]),  # as written: linked positions 6 and 11 swap too
    ],
)
def test_positions_after_the_exchange(skip_identical: bool, expected: list[int]) -> None:
    assert representation_at_each_position(edges(skip_identical)) == expected


@pytest.mark.parametrize("skip_identical", [True, False])
def test_each_masked_piece_is_predicted_from_its_own_and_from_the_exchanged_row(skip_identical: bool) -> None:
    # The head is the identity over 13 "pieces", so a prediction names the row that it was made from.
    states = torch.eye(ROWS) * 50
    exchange = edges_into(edges(skip_identical), MASKED_ROWS)
    own = states[torch.from_numpy(MASKED_ROWS)]
    logits = rows_to_project(own, exchange_rows(states, exchange))
    assert len(logits) == 3 + 2, "the head sees Is, raining, 今天 and the two that are linked, not six rows"

    figure_mp, figure_cp = torch.tensor([2, 4, 8]) - 1, torch.tensor([2, 9, 5]) - 1
    for targets, task in ((figure_mp, 0), (figure_cp, 1)):
        both = predict(logits, targets_to_project(targets, exchange.linked))
        chosen = split_predictions(both, exchange.linked, len(targets))[task]
        assert chosen.hit.all()
        assert chosen.nll.max() < 1e-6
