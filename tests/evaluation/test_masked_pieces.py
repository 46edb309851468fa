"""Masked pieces against a slow loop in plain transformers; the unigram bound on a case done by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Setting
from weam_fairseq.evaluation.benchmarks.masked_pieces import (
    draw_masks,
    measure_masked_pieces,
    texts_by_language,
    unigram_bound,
)
from weam_fairseq.evaluation.hf_folder import Folder, load_folder
from weam_fairseq.evaluation.readers import TextPair

Data = dict[str, list[TextPair]]
SETTING = Setting(data=Path("."), languages=("de",), batch_size=3, seed=5)


@pytest.fixture(name="data")
def _data(pairs: list[tuple[str, str]]) -> Data:
    return {"de": [TextPair(*pair) for pair in pairs]}


def test_equal_to_a_slow_loop(folder: Folder, data: Data, pairs: list[tuple[str, str]]) -> None:
    measured = {(each.language, each.metric): each for each in measure_masked_pieces(folder, data, SETTING)}
    for side, language in enumerate(("en", "de")):
        top5, top1, total = _slow_loop(folder, [pair[side] for pair in pairs])
        assert measured[language, "accuracy@5"].value == pytest.approx(100 * top5 / total)
        assert measured[language, "accuracy@1"].value == pytest.approx(100 * top1 / total)
        assert measured[language, "accuracy@5"].n == total


@pytest.mark.parametrize("kind", ["distilbert", "xlm-roberta"])
def test_heads_and_inputs_of_other_architectures(
    kind: str, make_folder: Callable[..., Path], data: Data, pairs: list[tuple[str, str]]
) -> None:
    other = load_folder(make_folder(kind=kind, max_positions=40))
    assert other.max_pieces == 40
    measured = measure_masked_pieces(other, data, SETTING)
    for side, (at5, at1) in enumerate((measured[:2], measured[2:])):
        top5, top1, total = _slow_loop(other, [pair[side] for pair in pairs])
        assert (at5.value, at1.value) == pytest.approx((100 * top5 / total, 100 * top1 / total))


def _slow_loop(folder: Folder, texts: list[str]) -> tuple[int, int, int]:
    top5 = top1 = total = 0
    for line, text in enumerate(texts):
        batch = folder.tokenizer(text, return_tensors="pt")
        inputs = {name: batch[name] for name in folder.input_names}
        ids = inputs["input_ids"][0].clone()
        maskable = [at for at, piece in enumerate(ids.tolist()) if piece not in folder.tokenizer.all_special_ids]
        rng = np.random.Generator(np.random.Philox(key=np.array([5, line], dtype=np.uint64)))
        chosen = rng.permutation(np.array(maskable))[: max(1, round(0.15 * len(maskable)))]
        inputs["input_ids"][0, chosen] = folder.tokenizer.mask_token_id
        with torch.no_grad():
            logits = folder.model(**inputs).logits[0]
        for at in chosen.tolist():
            best = logits[at].topk(5).indices.tolist()
            top5 += ids[at].item() in best
            top1 += ids[at].item() == best[0]
            total += 1
    return top5, top1, total


@pytest.mark.parametrize("batch_size", [1, 100])
def test_runs_and_batch_sizes_agree(folder: Folder, data: Data, batch_size: int) -> None:
    assert measure_masked_pieces(folder, data, SETTING) == measure_masked_pieces(
        folder, data, replace(SETTING, batch_size=batch_size)
    )


def test_the_model_is_left_as_it_was(folder: Folder, data: Data) -> None:
    measure_masked_pieces(folder, data, SETTING)
    with torch.no_grad():
        logits = folder.model(**folder.tokenizer("the town", return_tensors="pt")).logits
    assert logits.shape[:2] == (1, len(folder.tokenizer("the town")["input_ids"]))


def test_unigram_bound_by_hand() -> None:
    # Counts 3, 2, 1, 1, 1, 1: five constant guesses reach 8 of 9 targets, one reaches 3 of 9.
    targets = [7, 7, 7, 4, 4, 1, 2, 3, 5]
    assert unigram_bound(targets, 5) == pytest.approx(100 * 8 / 9)
    assert unigram_bound(targets, 1) == pytest.approx(100 * 3 / 9)


@given(st.integers(0, 200), st.integers(0, 2**31), st.integers(0, 2**31))
def test_masks_are_a_share_and_follow_from_seed_and_line(pieces: int, seed: int, line: int) -> None:
    maskable = list(range(1, pieces + 1))
    chosen = draw_masks(maskable, seed, line)
    assert chosen == draw_masks(maskable, seed, line)
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(maskable)
    assert len(chosen) == (max(1, round(0.15 * pieces)) if pieces else 0)


def test_source_text_is_that_of_all_pairs_once() -> None:
    data = {"de": [TextPair("a", "x"), TextPair("b", "y")], "es": [TextPair("b", "z"), TextPair("c", "z")]}
    assert texts_by_language(data, "en") == {"en": ["a", "b", "c"], "de": ["x", "y"], "es": ["z"]}


def test_sentences_without_maskable_pieces_are_counted(folder: Folder) -> None:
    # A character that the vocabulary lacks becomes [UNK], which is never asked for.
    measured = measure_masked_pieces(folder, {"zh": [TextPair("the town", "吗"), TextPair("a", "town")]}, SETTING)
    assert [each.detail["sentences_without_masks"] for each in measured] == [0, 0, 1, 1]


def test_equal_logits_are_no_hits(make_folder: Callable[..., Path], data: Data) -> None:
    flat = load_folder(make_folder())
    torch.nn.init.zeros_(flat.model.get_output_embeddings().weight)
    torch.nn.init.zeros_(flat.model.get_output_embeddings().bias)
    assert {each.value for each in measure_masked_pieces(flat, data, SETTING)} == {0.0}


def test_a_diverged_head_is_an_error_and_no_score(make_folder: Callable[..., Path], data: Data) -> None:
    broken = load_folder(make_folder())
    broken.model.get_output_embeddings().bias.data[:] = float("nan")
    with pytest.raises(InputError, match="logits that are not finite"):
        measure_masked_pieces(broken, data, SETTING)


def test_nothing_to_mask_is_an_error(folder: Folder) -> None:
    with pytest.raises(InputError, match="no zh sentence has a piece that can be masked"):
        measure_masked_pieces(folder, {"zh": [TextPair("the town", "吗"), TextPair("a", "今")]}, SETTING)
