"""Masks: hand-made cases, BERT's shares, and the same draw for the same (seed, epoch, index)."""

import numpy as np

from weam_fairseq.method.masking import mask_pieces, unit_starts
from weam_fairseq.method.randomness import PairRandom, Stream

MASK = 4
ORDINARY = np.arange(5, 100)


def test_one_draw_decides_inputs_and_targets() -> None:
    pieces = np.array([50, 51, 52, 53, 54])
    uniforms = np.array(
        [
            [0.1, 0.1, 0.1, 0.9, 0.3],  # masked below 0.3
            [0.5, 0.85, 0.95, 0.5, 0.5],  # [MASK] below 0.8, random below 0.9, else kept
            [0.0, 0.5, 0.0, 0.0, 0.0],  # which ordinary piece: 0.5 of 95 -> index 47 -> id 52
        ]
    )
    masked = mask_pieces(pieces, uniforms, mask_prob=0.3, replace="bert", mask=MASK, ordinary=ORDINARY)
    assert masked.inputs.tolist() == [MASK, 52, 52, 53, 54]
    assert masked.is_masked.tolist() == [True, True, True, False, False]
    everything = mask_pieces(pieces, uniforms, mask_prob=0.3, replace="all", mask=MASK, ordinary=ORDINARY)
    assert everything.inputs.tolist() == [MASK, MASK, MASK, 53, 54]


def test_whole_words_are_masked_together() -> None:
    #         word 0 | 1 1 1 | 2        the first piece of each word decides
    starts = unit_starts(np.array([0, 1, 1, 1, 2]))
    assert starts.tolist() == [0, 1, 1, 1, 4]
    uniforms = np.array([[0.9, 0.1, 0.9, 0.9, 0.9], [0.0] * 5, [0.0] * 5])
    masked = mask_pieces(
        np.arange(50, 55), uniforms, mask_prob=0.3, replace="all", mask=MASK, ordinary=ORDINARY, unit_start=starts
    )
    assert masked.is_masked.tolist() == [False, True, True, True, False]


def test_what_replaces_a_piece_is_drawn_for_each_piece_of_a_masked_word() -> None:
    starts = unit_starts(np.array([0, 0, 0]))
    uniforms = np.array([[0.1, 0.9, 0.9], [0.5, 0.85, 0.95], [0.0, 0.5, 0.0]])
    masked = mask_pieces(
        np.arange(50, 53), uniforms, mask_prob=0.3, replace="bert", mask=MASK, ordinary=ORDINARY, unit_start=starts
    )
    assert masked.is_masked.all()
    assert masked.inputs.tolist() == [MASK, 52, 52]  # [MASK], a random piece, itself


def test_shares_are_those_of_bert() -> None:
    size = 200_000
    pieces = np.full(size, 50)
    uniforms = np.random.default_rng(1).random((3, size))
    masked = mask_pieces(pieces, uniforms, mask_prob=0.3, replace="bert", mask=MASK, ordinary=ORDINARY)
    assert abs(masked.is_masked.mean() - 0.3) < 0.005
    inputs = masked.inputs[masked.is_masked]
    assert abs((inputs == MASK).mean() - 0.8) < 0.005
    assert abs((inputs == 50).mean() - (0.1 + 0.1 / len(ORDINARY))) < 0.005
    assert (masked.inputs[~masked.is_masked] == 50).all()


def test_numbers_depend_on_seed_epoch_index_and_use_only() -> None:
    random, again = PairRandom(7), PairRandom(7)
    first = random.at(2, 30, Stream.MASK).random(5)
    again.at(9, 9, Stream.LINKS).random(3)  # what was drawn before does not matter
    assert (again.at(2, 30, Stream.MASK).random(5) == first).all()
    others = [(7, 3, 30, Stream.MASK), (7, 2, 31, Stream.MASK), (7, 2, 30, Stream.LINKS), (8, 2, 30, Stream.MASK)]
    for seed, epoch, index, stream in others:
        assert (PairRandom(seed).at(epoch, index, stream).random(5) != first).all()


def test_draws_longer_than_one_counter_block_do_not_run_into_the_next_pair() -> None:
    random = PairRandom(1)
    long = random.at(1, 0, Stream.MASK).random(4096)
    neighbour = PairRandom(1).at(1, 1, Stream.MASK).random(4096)
    assert not np.isin(long, neighbour).any()
