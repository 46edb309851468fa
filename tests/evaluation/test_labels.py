"""Entities by hand; the figures of seqeval 1.2.2 on the same tags; accuracy beside them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.metrics.labels import accuracy, entities, entity_f1, pos_scores


def test_an_entity_needs_its_type_and_both_ends() -> None:
    #         Anna    Maria   von   Trapp     lives in Linz
    gold = [["B-PER", "I-PER", "O", "B-PER", "O", "O", "B-LOC"]]
    found = [["B-PER", "I-PER", "O", "B-ORG", "O", "O", "B-LOC"]]
    assert entity_f1(gold, found) == pytest.approx((200 / 3, 200 / 3, 200 / 3))
    short = [["B-PER", "O", "O", "B-PER", "O", "O", "B-LOC"]]
    assert entity_f1(gold, short) == pytest.approx((200 / 3, 200 / 3, 200 / 3))
    less = [["O", "O", "O", "O", "O", "O", "B-LOC"]]
    assert entity_f1(gold, less) == pytest.approx((50.0, 100.0, 100 / 3))
    assert entity_f1(gold, [["O"] * 7]) == (0.0, 0.0, 0.0)


def test_entities_as_conlleval_reads_them() -> None:
    # I- begins an entity where none goes on, a new type ends the one before, and sentences are apart.
    assert entities([["I-PER", "I-PER", "I-LOC", "B-LOC"], ["I-LOC"]]) == {
        ("PER", 0, 1),
        ("LOC", 2, 2),
        ("LOC", 3, 3),
        ("LOC", 5, 5),
    }


# From seqeval 1.2.2 itself: precision_score, recall_score, f1_score in the default mode.
SEQEVAL = [
    ([["DET", "NOUN", "VERB"], ["PRON", "VERB"]], [["DET", "NOUN", "NOUN"], ["PRON", "VERB"]], 0.75, 0.6, 2 / 3),
    ([["NOUN", "NOUN", "VERB"]], [["NOUN", "VERB", "VERB"]], 0.0, 0.0, 0.0),
    ([["CCONJ", "NOUN"]], [["SCONJ", "NOUN"]], 1.0, 1.0, 1.0),
    ([["B-PER", "I-PER", "O", "S-LOC", "E-LOC"]], [["B-PER", "I-PER", "O", "B-LOC", "E-LOC"]], 0.5, 1 / 3, 0.4),
]


@pytest.mark.parametrize(("gold", "found", "precision", "recall", "f1"), SEQEVAL)
def test_equal_to_seqeval(
    gold: list[list[str]], found: list[list[str]], precision: float, recall: float, f1: float
) -> None:
    assert entity_f1(gold, found) == pytest.approx((100 * f1, 100 * precision, 100 * recall))


TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-PER", "S-LOC", "NOUN", "VERB", "INTJ", "SCONJ", "X", "B"]
SENTENCES = st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=6), min_size=1, max_size=4)


@settings(max_examples=200)
@given(SENTENCES, st.randoms(use_true_random=False))
def test_equal_to_seqeval_where_it_is_installed(gold: list[list[str]], random) -> None:  # type: ignore[no-untyped-def]
    seqeval = pytest.importorskip("seqeval.metrics", reason="seqeval has no wheel; install it to compare with it")
    found = [[tag if random.random() < 0.7 else random.choice(TAGS) for tag in sentence] for sentence in gold]
    expected = (seqeval.f1_score(gold, found), seqeval.precision_score(gold, found), seqeval.recall_score(gold, found))
    assert entity_f1(gold, found) == pytest.approx([100 * each for each in expected], abs=1e-9)


def test_pos_has_plain_accuracy_beside_the_f1_over_runs() -> None:
    gold, found = [["NOUN", "NOUN", "VERB"]], [["NOUN", "VERB", "VERB"]]
    assert pos_scores(gold, found) == pytest.approx((0.0, 200 / 3))
    assert pos_scores(gold, gold) == (100.0, 100.0)


def test_tags_that_cannot_be_scored() -> None:
    with pytest.raises(InputError, match="1 gold sentences but 2 predicted"):
        entity_f1([["O"]], [["O"], ["O"]])
    with pytest.raises(InputError, match="sentence 2 has 1 gold tags but 2 predicted"):
        entity_f1([["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(InputError, match="empty tag"):
        entity_f1([["O"]], [[""]])
    with pytest.raises(InputError, match="the gold contains no tag"):
        entity_f1([], [])


def test_accuracy() -> None:
    assert accuracy(["a", "b", "a"], ["a", "a", "a"]) == pytest.approx(200 / 3)
    with pytest.raises(InputError, match="2 gold labels but 1 predictions"):
        accuracy(["a", "b"], ["a"])
    with pytest.raises(InputError, match="the gold contains no label"):
        accuracy([], [])
