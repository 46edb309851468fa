"""Nearest neighbours by shared pieces, without a model."""

from weam_fairseq.evaluation.encode import sentence_groups, tokenize, word_groups
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.retrieval import bags, nearest_by_overlap


def test_nearest_shares_the_largest_part_of_its_pieces() -> None:
    candidates = [(1, 2, 3, 4), (1, 2), (9,), (5, 5, 6)]
    # (1, 2) equals candidate 1; (5, 7) shares 5 with candidate 3 alone; (8,) shares nothing, so the first is taken.
    assert nearest_by_overlap([(1, 2), (5, 7), (8,), (9, 9, 2)], candidates).tolist() == [1, 3, 0, 2]


def test_bags_hold_the_pieces_of_each_group(folder: Folder) -> None:
    pieces = tokenize(folder, ["the town", "a"])
    names = folder.tokenizer.convert_ids_to_tokens
    assert [names(list(bag)) for bag in bags(pieces, sentence_groups(pieces))] == [["the", "town"], ["a"]]
    words = word_groups(pieces, [["the", "town"], ["a"]])
    assert [names(list(bag)) for bag in bags(pieces, words)] == [["the"], ["town"], ["a"]]
