"""Sentence and word retrieval end to end: equal pieces on both sides must be found, all else is arithmetic."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Setting
from weam_fairseq.evaluation.benchmarks.sentence_retrieval import measure_sentence_retrieval
from weam_fairseq.evaluation.benchmarks.word_retrieval import (
    WordSide,
    _precision,
    by_overlap,
    by_state,
    measure_word_retrieval,
)
from weam_fairseq.evaluation.hf_folder import Folder, load_folder
from weam_fairseq.evaluation.readers import GoldLinks, GoldPair, TextPair, read_linked_pairs

SETTING = Setting(data=Path("."), languages=("de",), batch_size=3)
SURE = GoldLinks(frozenset({(0, 0), (1, 1)}), frozenset({(0, 0), (1, 1)}))


def test_equal_text_is_retrieved_perfectly(folder: Folder, pairs: list[tuple[str, str]]) -> None:
    (score,) = measure_sentence_retrieval(folder, {"de": [TextPair(source, source) for source, _ in pairs]}, SETTING)
    assert score.value == 100.0
    assert score.detail["directions"] == {"en>de": 100.0, "de>en": 100.0}
    assert (score.language, score.split, score.metric, score.n) == ("en-de", "heldout/odd", "accuracy@1", 4)
    assert score.detail["dev_by_layer"] == [100.0, 100.0, 100.0]


def test_duplicates_are_counted_and_count_as_hits(folder: Folder) -> None:
    pairs = [TextPair("the town", "die Stadt"), TextPair("open", "offen")] * 3  # all test lines are the same pair
    (score,) = measure_sentence_retrieval(folder, {"de": pairs}, SETTING)
    assert score.value == 100.0
    assert (score.detail["duplicate_targets"], score.detail["duplicate_sources"]) == (2, 2)


def test_a_sentence_without_pieces_is_named(folder: Folder) -> None:
    with pytest.raises(InputError, match=r"the de sentence '\\u200d' has no pieces"):
        measure_sentence_retrieval(folder, {"de": [TextPair("the", "\u200d"), TextPair("a", "a")]}, SETTING)


def test_a_diverged_model_is_an_error_and_no_score(
    make_folder: Callable[..., Path], pairs: list[tuple[str, str]]
) -> None:
    broken = load_folder(make_folder())
    broken.model.base_model.encoder.layer[1].output.dense.bias.data[:] = float("nan")
    with pytest.raises(InputError, match="states that are not finite"):
        measure_sentence_retrieval(broken, {"de": [TextPair(*pair) for pair in pairs]}, SETTING)


def test_words_of_equal_pieces_are_retrieved_perfectly(
    folder: Folder, data_dir: Path, pairs: list[tuple[str, str]]
) -> None:
    data = read_linked_pairs(data_dir / "heldout.en-de.src-tgt", data_dir / "heldout.en-de.gold")
    (score,) = measure_word_retrieval(folder, {"de": data}, SETTING)
    assert score.value == 100.0
    assert score.detail["by_occurrence"] == 100.0
    changed = sum(a != b for source, target in pairs[1::2] for a, b in zip(source.split(), target.split(), strict=True))
    assert score.n == changed  # equal words and punctuation are not asked
    assert score.detail["links"] == sum(len(source.split()) for source, _ in pairs[1::2])


def test_variants_of_precision_on_hand_made_vectors() -> None:
    """Words by angle (degrees): the query `the` stands twice, `cat` once, the copy `2` once."""
    query = _words(["the", "the", "cat", "2"], [0, 10, 50, 80])
    candidate = _words(["die", "die", "katze", "2", "hund"], [9, 30, 79, 60, 48])
    #                    link: the-die(0), the-die(1), cat-katze, 2-2; `hund` is not a linked word, so no candidate
    i, j = np.array([0, 1, 2, 3]), np.array([0, 1, 2, 3])
    asked = np.array([True, True, True, False])
    precision = _precision(query, candidate, i, j, asked, by_state(0))
    # Nearest among 9, 30, 79, 60: the(0)->die(9) right, the(10)->die(9) right type, cat(50)->2(60), 2(80)->katze(79).
    assert precision.by_type == pytest.approx(100 * 2 / 3)
    assert precision.by_occurrence == pytest.approx(100 * 1 / 3)
    assert precision.mean_over_types == pytest.approx(100 * 1 / 2)
    assert precision.with_copies == pytest.approx(100 * 2 / 4)
    # By shared pieces (here: first letters) only `2` finds its word; the others fall to the first candidate, `die`.
    floor = _precision(query, candidate, i, j, asked, by_overlap)
    assert floor.by_type == pytest.approx(100 * 2 / 3)
    assert floor.with_copies == pytest.approx(100 * 3 / 4)


def test_nothing_to_ask_is_an_error(folder: Folder) -> None:
    pair = GoldPair(["a", "."], ["A", "。"], SURE)
    with pytest.raises(InputError, match="en-de: the even lines contain no sure link between different words"):
        measure_word_retrieval(folder, {"de": [pair, pair]}, SETTING)


def test_links_of_words_without_pieces_are_left_out_and_counted(folder: Folder) -> None:
    pair = GoldPair(["the", "town"], ["\u200d", "stadt"], SURE)
    (score,) = measure_word_retrieval(folder, {"de": [pair, pair]}, SETTING)
    assert (score.n, score.detail["links_without_pieces"]) == (1, 1)


def _words(types: list[str], degrees: list[float]) -> WordSide:
    angle = np.deg2rad(degrees)
    values = np.stack([np.cos(angle), np.sin(angle)], axis=1)[None]
    return WordSide(
        values,
        np.ones(len(types), dtype=bool),
        np.array([0, len(types)]),
        types,
        [(ord(word[0]),) for word in types],
        0,
    )
