"""The benchmarks without fine-tuning, from files to figures, with a model of two layers and random weights.

What must be found is put there as equal text; the rest is arithmetic. The predictions that are written give the same
figure by weam-score.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.test_retrieval_files import ENTITIES, bucc, mention, write, write_xquad_r, xquad_r
from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation import score
from weam_fairseq.evaluation.benchmark import Measurement, Setting
from weam_fairseq.evaluation.benchmarks import BENCHMARKS
from weam_fairseq.evaluation.benchmarks.bucc import read_bucc
from weam_fairseq.evaluation.benchmarks.lareqa import read_pool
from weam_fairseq.evaluation.benchmarks.tatoeba import measure_tatoeba, read_tatoeba
from weam_fairseq.evaluation.benchmarks.word_alignment import GoldSet, measure_word_alignment, read_alignment
from weam_fairseq.evaluation.benchmarks.word_similarity import (
    WordComparison,
    area_under_curve,
    draw,
    measure_word_similarity,
    similarity,
)
from weam_fairseq.evaluation.encode import fixed_layer
from weam_fairseq.evaluation.hf_folder import Folder, load_folder
from weam_fairseq.evaluation.readers import GoldLinks, GoldPair, TextPair
from weam_fairseq.evaluation.scores import make_score
from weam_fairseq.evaluation.terminal import print_warnings

BY_NAME = {benchmark.name: benchmark for benchmark in BENCHMARKS}


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path, ("de",), split="test", batch_size=3, predictions=tmp_path / "predictions")


def items_of(found: Measurement) -> list[dict[str, Any]]:
    """Each item's share; no id stands twice."""
    rows = [json.loads(line) for line in Path(found.detail["items"]).read_text().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows)
    return rows


def scored(capsys: pytest.CaptureFixture[str], task: str, gold: Path, predictions: Path) -> dict[str, float]:
    capsys.readouterr()
    assert score.main([task, "--gold", str(gold), "--predictions", str(predictions), "--language", "de"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("depth", "layer"), [(12, 8), (24, 14), (6, 4), (4, 3), (2, 1), (1, 1)])
def test_the_fixed_layer_is_the_published_one_or_two_thirds_of_the_way_up(depth: int, layer: int) -> None:
    assert fixed_layer(depth) == layer


def test_tatoeba(
    folder: Folder, sentences: list[str], setting: Setting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Both sides the same text, but for one pair of lines that is swapped: 14 of 16 are right.
    swapped = [sentences[1], sentences[0], *sentences[2:]]
    source = write(tmp_path / "source", "".join(f"{line}\n" for line in swapped))
    english = write(tmp_path / "english", "".join(f"{line}\n" for line in sentences))
    pairs = read_tatoeba(source, english)
    (found,) = measure_tatoeba(folder, {"de": pairs}, setting)
    assert (found.language, found.split, found.metric, found.n) == ("de", "test", "accuracy", len(sentences))
    written = (tmp_path / "predictions" / "tatoeba.test.de.seed1.txt").read_text().split()
    assert found.value == 100 * np.mean([int(line) == k for k, line in enumerate(written)])
    written_file = tmp_path / "predictions" / "tatoeba.test.de.seed1.txt"
    assert scored(capsys, "tatoeba", english, written_file)["accuracy"] == found.value
    assert np.mean([row["accuracy"] for row in items_of(found)]) == found.value
    assert found.detail["directions"]["en>de"] == found.value
    assert found.detail["layer"] == 1
    assert found.method == {
        **{"lang": "de", "split": "test", "direction": "en>de", "pool": "mean", "layer": "1of2", "encoder": "as-given"}
    }
    # An item's cluster is its English sentence, whatever its line: other languages' files hold some of the same.
    (other,) = measure_tatoeba(folder, {"fr": pairs[::-1]}, setting)
    assert [row["cluster"] for row in items_of(other)] == [row["cluster"] for row in items_of(found)][::-1]
    assert len({row["cluster"] for row in items_of(found)}) == len(pairs)


def test_tatoeba_at_the_best_layer_is_sentence_retrieval_on_its_lines(
    folder: Folder, sentences: list[str], setting: Setting
) -> None:
    texts = list(dict.fromkeys(sentences))
    pairs = [TextPair(line, english) for line, english in zip([texts[1], texts[0], *texts[2:]], texts, strict=True)]
    (found,) = measure_tatoeba(folder, {"de": pairs}, replace(setting, best_layer=True))
    turned = [TextPair(pair.target, pair.source) for pair in pairs]
    (expected,) = BY_NAME["sentence-retrieval"].measure(folder, {"de": turned}, setting)  # type: ignore[misc]
    assert (found.value, found.n, found.split) == (expected.value, expected.n, "test/odd")
    for name in ("directions", "layer", "dev_by_layer"):
        assert found.detail[name] == expected.detail[name]
    assert np.mean([row["accuracy"] for row in items_of(found)]) == pytest.approx(found.value)
    assert (found.method["direction"], found.method["layer"]) == ("both", "dev-best")


def test_lareqa_at_the_best_layer_chooses_on_every_second_question(
    folder: Folder, setting: Setting, tmp_path: Path
) -> None:
    pool = read_pool(*write_xquad_r(tmp_path))
    (found,) = BY_NAME["lareqa"].measure(folder, {"de": pool}, replace(setting, best_layer=True))
    rankings = json.loads((tmp_path / "predictions" / "lareqa.test.de.best-layer.seed1.json").read_text())
    assert (found.split, found.n, list(rankings)) == ("test/odd", 1, ["q2_de"])
    assert len(found.detail["dev_by_layer"]) == 3
    assert found.detail["layer"] == int(np.argmax(found.detail["dev_by_layer"]))
    # The same questions in the other order: what chose the layer is measured, at the fixed layer for comparison.
    (fixed,) = BY_NAME["lareqa"].measure(folder, {"de": pool}, setting)
    by_question = {row["id"]: row["map@20"] for row in items_of(fixed)}
    assert found.detail["dev_by_layer"][fixed.detail["layer"]] == pytest.approx(by_question["q1_de"])


def test_tatoeba_asks_english_sentences(folder: Folder, setting: Setting) -> None:
    """Two English lines are one and the same text, so both find the first of the two lines that equal it."""
    pairs = [TextPair(text, text) for text in ("the town", "the town", "open")]
    (found,) = measure_tatoeba(folder, {"de": pairs}, setting)
    assert found.value == pytest.approx(200 / 3)
    assert found.detail["duplicates"] == [1, 1]


def test_lareqa(folder: Folder, setting: Setting, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Each question is, word for word, the German sentence that answers it, so that one ranks first of 11 right ones.
    german = json.loads(xquad_r("de"))
    qas = german["data"][0]["paragraphs"][0]["qas"]
    for qa, text in zip(qas, ("de one is first.", "de two comes next."), strict=True):
        qa["question"] = text
    paths = write_xquad_r(tmp_path, {"de": json.dumps(german)})
    pool = read_pool(*paths)
    (found,) = BY_NAME["lareqa"].measure(folder, {"de": pool}, setting)
    assert (found.metric, found.n, found.detail["candidates"]) == ("map@20", 2, 22)
    assert found.detail["right_candidates"] == [11, 11]
    written = tmp_path / "predictions" / "lareqa.test.de.seed1.json"
    rankings = json.loads(written.read_text())
    assert {query: ids[0] for query, ids in rankings.items()} == {"q1_de": "de_1_0", "q2_de": "de_1_1"}
    assert all(len(set(ids)) == 20 for ids in rankings.values())
    assert scored(capsys, "lareqa", tmp_path, written)["map@20"] == found.value
    assert np.mean([row["map@20"] for row in items_of(found)]) == pytest.approx(found.value, abs=1e-9)
    assert [row["cluster"] for row in items_of(found)] == ["q1", "q2"]
    right = {"q1_de": "_0", "q2_de": "_1"}  # the first or the second sentence of every language
    by_hand = []
    for query, ids in rankings.items():
        places = [rank for rank, candidate in enumerate(ids, start=1) if candidate.endswith(right[query])]
        by_hand.append(sum(hits / rank for hits, rank in enumerate(places, start=1)) / 11)
    assert found.value == pytest.approx(100 * sum(by_hand) / 2)


def test_mewslix(folder: Folder, setting: Setting, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entities = write(tmp_path / "candidate_set_entities.jsonl", ENTITIES)
    lines = mention("m1", "A. Linz ist da.", "Linz", "Q1") + mention("m2", "A. In Bonn.", "Bonn", "Q2", "en")
    mentions = write(tmp_path / "wikinews_mentions-test.jsonl", lines)
    data = BY_NAME["mewslix"].read(entities, mentions)
    (found,) = BY_NAME["mewslix"].measure(folder, {"de": data}, setting)
    assert (found.metric, found.n, found.detail["candidates"]) == ("map@20", 1, 2)
    assert found.value in (100.0, 50.0)  # the reciprocal of rank 1 or 2
    written = tmp_path / "predictions" / "mewslix.test.de.seed1.json"
    assert scored(capsys, "mewslix", mentions, written)["map@20"] == found.value
    with pytest.raises(InputError, match="the mentions of split 'test' contain none in language 'tr'"):
        BY_NAME["mewslix"].measure(folder, {"tr": data}, setting)


def test_bucc_takes_its_threshold_from_dev(
    folder: Folder, setting: Setting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["the town", "open door", "raining today", "no device was found", "naive people", "a cafe"]
    source = "".join(f"de-{k}\t{text}\n" for k, text in enumerate(texts))
    english = "".join(f"en-{k}\t{text}\n" for k, text in enumerate(texts))
    gold = "".join(f"de-{k}\ten-{k}\n" for k in range(len(texts)))
    files = {f"{split}.{side}": text for split in ("dev", "test") for side, text in (("de", source), ("en", english))}
    # Test holds dev's sentences and half of its gold pairs: what passes dev's threshold is the same on both.
    paths = bucc(tmp_path, **files, **{"dev.gold": gold, "test.gold": "".join(gold.splitlines(True)[:3])})
    (found,) = BY_NAME["bucc"].measure(folder, {"de": read_bucc(*paths)}, setting)
    written = tmp_path / "predictions" / "bucc.test.de.seed1.tsv"
    on_dev, on_test = scored(capsys, "bucc", paths[2], written), scored(capsys, "bucc", paths[5], written)
    assert found.detail["dev_f1"] == pytest.approx(on_dev["f1"])
    assert on_dev["f1"] > 0.0
    assert (found.value, found.n) == (pytest.approx(on_test["f1"]), 3)
    assert on_test["precision"] == pytest.approx(found.detail["precision"])
    items = items_of(found)
    correct, predicted, wanted = (sum(row[name] for row in items) for name in ("correct", "predicted", "gold"))
    assert (len(items), wanted) == (6, 3)
    assert found.value == pytest.approx(200 * correct / (predicted + wanted))


def test_bucc_without_a_right_pair_on_dev_is_measured_and_said(
    folder: Folder, setting: Setting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The only gold pair of dev is one that no model finds: its sentence stands twice, and so is left out.
    source = "de-1\tthe town\nde-2\tthe town\nde-3\topen\n"
    files = {"dev.de": source, "dev.en": "en-1\tthe town\nen-2\topen\n", "dev.gold": "de-1\ten-1\n"}
    data = read_bucc(*bucc(tmp_path, **files))
    french, german = BY_NAME["bucc"].measure(folder, {"fr": data, "de": data}, setting)
    assert (german.detail["threshold"], german.detail["dev_f1"], german.detail["dev_pairs_wrong"]) == (None, 0.0, 1)
    assert german.value == french.value
    print_warnings([make_score(german, task="bucc", model="m", checkpoint="c", data="d", seed=1, versions={})])
    assert "de: 1 pairs were mined from dev and none is correct, so no threshold could" in capsys.readouterr().err


def test_bucc_mines_with_repeated_sentences_and_drops_their_pairs(
    folder: Folder, setting: Setting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As XTREME does. Left out before mining, the repeated sentence would leave its partner to another one."""
    source = "de-1\tthe town\nde-2\tthe town\nde-3\tthe old town\nde-4\topen\n"
    english = "en-1\tthe town\nen-2\topen\n"
    files = {f"{split}.{side}": text for split in ("dev", "test") for side, text in (("de", source), ("en", english))}
    gold = "de-3\ten-1\nde-4\ten-2\n"
    paths = bucc(tmp_path, **files, **{"dev.gold": gold, "test.gold": gold})
    (found,) = BY_NAME["bucc"].measure(folder, {"de": read_bucc(*paths)}, setting)
    assert (tmp_path / "predictions" / "bucc.test.de.seed1.tsv").read_text() == "de-4\ten-2\n"
    assert found.detail["sentences"] == [3, 2]
    assert (found.detail["repeated_lines"], found.detail["pairs_repeated"]) == (2, 1)
    assert (found.value, found.method["repeated"]) == (pytest.approx(200 / 3), "mined")
    print_warnings([make_score(found, task="bucc", model="m", checkpoint="c", data="d", seed=1, versions={})])
    assert "de: 1 mined pairs were left out because one of their sentences is on several" in capsys.readouterr().err


def words(text: str) -> list[str]:
    return text.split()


def links(*pairs: tuple[int, int]) -> GoldLinks:
    return GoldLinks(frozenset(pairs), frozenset(pairs))


def test_word_alignment_of_equal_sentences_is_the_identity(
    folder: Folder, setting: Setting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["turn on the light", "no device was found on the network", "open"]
    write(tmp_path / "en-de.src-tgt", "".join(f"{row} ||| {row}\n" for row in rows))
    identity = [" ".join(f"{k}-{k}" for k in range(len(row.split()))) for row in rows]
    gold = write(tmp_path / "en-de.gold", "".join(f"{row}\n" for row in identity))
    data = read_alignment(tmp_path / "en-de.src-tgt", gold)
    (found,) = measure_word_alignment(folder, {"de": data}, setting)
    assert (found.language, found.metric, found.value, found.n) == ("en-de", "aer", 0.0, 12)
    assert found.detail["aer_by_layer"] == [0.0, 0.0, 0.0] or found.detail["aer_by_layer"][1:] == [0.0, 0.0]
    assert set(found.detail) >= {"itermax", "softmax", "precision", "recall"}
    written = tmp_path / "predictions" / "word-alignment.test.en-de.seed1.txt"
    assert written.read_text().splitlines() == identity
    words = [4, 7, 1]
    counts = [{"in_sure": n, "in_possible": n, "predicted": n, "sure": n} for n in words]
    assert items_of(found) == [{"id": number, **each} for number, each in enumerate(counts)]
    assert scored(capsys, "word-alignment", gold, written) == {"aer": 0.0, "precision": 100.0, "recall": 100.0}


def test_gold_alignments_as_published(tmp_path: Path) -> None:
    """Items that are no links are refused with their line; links beyond a sentence stay, and are counted."""
    write(tmp_path / "words", "a b ||| c d\n" * 60)
    gold = write(tmp_path / "gold", "0-0 1p1\n" * 59 + "0-0 1-2\n")
    data = read_alignment(tmp_path / "words", gold)
    assert (len(data.pairs), data.outside) == (60, 1)
    assert data.pairs[0].gold == GoldLinks(frozenset({(0, 0)}), frozenset({(0, 0), (1, 1)}))
    write(tmp_path / "gold", "0-0 1p1\n" * 58 + "0-0 1--100\n0-0 1-2\n")
    with pytest.raises(InputError, match="gold:59: '1--100' is not a link"):
        read_alignment(tmp_path / "words", gold)
    with pytest.raises(InputError, match="gold:1: '0:0' is not a link"):
        read_alignment(tmp_path / "words", write(tmp_path / "gold", "0:0\n" * 60))
    with pytest.raises(InputError, match="contains no sure links"):
        read_alignment(tmp_path / "words", write(tmp_path / "gold", "0p0\n" * 60))
    with pytest.raises(InputError, match=r"words has 60 lines but .*gold has 1"):
        read_alignment(tmp_path / "words", write(tmp_path / "gold", "0-0\n"))
    with pytest.raises(InputError, match=r"words:1: the line must be `source words \|\|\| target words`"):
        read_alignment(write(tmp_path / "words", "a b\n"), write(tmp_path / "gold", "0-0\n"))


def test_word_similarity_of_equal_sentences(folder: Folder, setting: Setting) -> None:
    """Other strings with the same pieces (the tokenizer strips accents): linked words have equal states."""
    rows = [("the uber is late", "thé über ïs läte"), ("open the door", "öpen thë dóor")]
    pairs = [
        GoldPair(words(one), words(other), links(*((k, k) for k in range(len(words(one)))))) for one, other in rows
    ]
    (found,) = measure_word_similarity(folder, {"en-xx": GoldSet(pairs, 0)}, setting)
    assert (found.language, found.metric, found.value, found.n) == ("en-xx", "auc", 100.0, 7)
    assert found.detail["linked"] == pytest.approx([100.0] * 3, abs=1e-3)
    assert all(random < 100 for random in found.detail["random"])
    assert found.detail["above_same_sentence"] == [100.0] * 3
    assert found.detail["links_without_neighbour"] == 0


def test_word_similarity_without_another_word_in_any_sentence_has_null_and_no_nan(
    folder: Folder, setting: Setting
) -> None:
    pairs = [GoldPair([one], [other], links((0, 0))) for one, other in (("town", "töwn"), ("open", "öpen"))]
    (found,) = measure_word_similarity(folder, {"en-xx": GoldSet(pairs, 0)}, setting)
    assert found.detail["same_sentence"] == found.detail["above_same_sentence"] == [None] * 3
    assert found.detail["links_without_neighbour"] == 2
    json.dumps(found.detail, allow_nan=False)


def test_what_is_drawn_for_word_similarity() -> None:
    # `the` is linked to `die` twice, `2` to `2` (a copy) and `.` to `。` (no letter): two links are compared.
    pairs = [
        GoldPair(words("the 2 cats ."), words("die 2 katzen 。"), links((0, 0), (1, 1), (2, 2), (3, 3))),
        GoldPair(words("the end"), words("die"), links((0, 0), (1, 7))),
    ]
    filled = np.ones(6, dtype=bool), np.ones(5, dtype=bool)
    compared, without = draw(pairs, *filled, 1, "en-de")
    assert compared.source.tolist() == [0, 2, 4]
    assert compared.linked.tolist() == [0, 2, 4]
    assert compared.drawn[1] in (0, 4)  # `die`, for `katzen`
    assert (compared.drawn[0], compared.drawn[2]) == (2, 2)  # never `die` for `die`
    assert compared.neighbour[2] == -1  # its sentence has no other word
    assert set(compared.neighbour[:2]) <= {0, 1, 2}
    assert without == 0
    missing = filled[1].copy()
    missing[2] = False
    with pytest.raises(
        InputError, match="en-de: the gold file contains fewer than two sure links between different words"
    ):
        draw(pairs, filled[0], missing, 1, "en-de")


def test_similarity_of_hand_made_words() -> None:
    """Angles: source 0° and 90°; linked 10° and 60°; drawn 60° and 10°; in the sentence 10° for the second only."""
    angle = np.deg2rad([0, 90, 10, 60])
    states = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    found = similarity(
        states[:2], states[2:], WordComparison(np.array([0, 1]), np.array([0, 1]), np.array([1, 0]), np.array([-1, 0]))
    )
    near, far = np.cos(np.deg2rad([10, 30])), np.cos(np.deg2rad([60, 80]))
    assert found.linked == pytest.approx(100 * near.mean())
    assert found.random == pytest.approx(100 * far.mean())
    assert found.same_sentence == pytest.approx(100 * far[1])
    assert (found.above_random, found.above_same_sentence) == (100.0, 100.0)


def test_area_under_curve() -> None:
    assert area_under_curve(np.array([3.0, 1.0]), np.array([2.0, 0.0])) == 75.0
    assert area_under_curve(np.array([1.0]), np.array([1.0, 1.0])) == 50.0


def test_long_texts_are_read_whole_and_counted(
    make_folder: Callable[..., Path], setting: Setting, tmp_path: Path
) -> None:
    """Pairs that differ only in their last word, far behind the end of the model's first window."""
    short = load_folder(make_folder(max_positions=8))
    texts = [f"{'the town was open ' * 4}{last}" for last in ("light", "door", "network")]
    files = [write(tmp_path / side, "".join(f"{text}\n" for text in texts)) for side in ("de", "en")]
    (found,) = measure_tatoeba(short, {"de": read_tatoeba(*files)}, setting)
    assert (found.value, found.detail["sentences_split"]) == (100.0, 6)


def test_an_encoder_that_was_fine_tuned_under_another_head_is_measured(folder_path: Path, tmp_path: Path) -> None:
    import shutil

    import torch
    from transformers import AutoModelForQuestionAnswering

    tuned = AutoModelForQuestionAnswering.from_pretrained(folder_path)
    torch.nn.init.constant_(tuned.base_model.embeddings.LayerNorm.bias, 0.5)
    shutil.copytree(folder_path, tmp_path / "tuned")
    tuned.save_pretrained(tmp_path / "tuned")
    model = load_folder(tmp_path / "tuned", needs_head=False).model
    assert (model.base_model.embeddings.LayerNorm.bias == 0.5).all()
    with pytest.raises(InputError, match=r"lacks .* weights that this task uses"):
        load_folder(tmp_path / "tuned", needs_head=True)


def test_no_predictions_are_written_unless_asked_for(folder: Folder, setting: Setting, tmp_path: Path) -> None:
    measure_tatoeba(
        folder, {"de": [TextPair("the town", "the town"), TextPair("open", "open")]}, replace(setting, predictions=None)
    )
    assert not (tmp_path / "predictions").exists()
