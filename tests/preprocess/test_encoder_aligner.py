"""The encoder aligner: links of states drawn by hand, and a tiny BERT against its own hidden states."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from weam_preprocess import aligners
from weam_preprocess.aligners.encoder import METHODS, LayerReader, piece_links, word_links
from weam_preprocess.errors import InputError

# States in the plane: the source pieces point east, north and (shorter) east; the target pieces north, east.
SOURCE = np.array([[2, 0], [0, 1], [1, 0]], dtype=np.float32)
TARGET = np.array([[0, 1], [3, 0]], dtype=np.float32)


def linked(
    source: np.ndarray,
    target: np.ndarray,
    method: str,
    threshold: float,
    how: str,
    source_words: list[list[int]],
    target_words: list[list[int]],
) -> tuple[list[tuple[int, int]], list[float]]:
    """Of one pair, in a batch with another one that is larger."""
    larger = torch.ones(5, source.shape[1])
    states = [larger, torch.from_numpy(source)], [larger, torch.from_numpy(target)]
    others = [[0]] * 5
    found = word_links(piece_links(*states, method, threshold, how), [others, source_words], [others, target_words])
    mine = found[0] == 1
    links = [(int(i), int(j)) for i, j in zip(found[1][mine], found[2][mine], strict=True)]
    return links, found[3][mine].tolist()


ONE_EACH = ([[0], [1], [2]], [[0], [1]])
TWO_PIECES_OF_A_WORD = ([[0], [1], [0]], [[0], [1]])


def test_argmax_takes_the_most_similar_piece_by_cosine() -> None:
    #          target 0  1
    # cosine: source 0: 0  1
    #         source 1: 1  0
    #         source 2: 0  1      source 0 and 2 are equally like target 1: the first is its best
    def by_argmax(how: str, words: tuple[list[list[int]], list[list[int]]]) -> list[tuple[int, int]]:
        return linked(SOURCE, TARGET, "argmax", 0.001, how, *words)[0]

    assert by_argmax("forward", ONE_EACH) == [(0, 1), (1, 0)]
    assert by_argmax("intersect", ONE_EACH) == [(0, 1), (1, 0)]
    assert by_argmax("union", ONE_EACH) == [(0, 1), (1, 0), (2, 1)]
    assert by_argmax("grow-diag-final-and", ONE_EACH) == [(0, 1), (1, 0), (2, 1)]
    # Two pieces of one word: a link of either is the word's.
    assert by_argmax("union", TWO_PIECES_OF_A_WORD) == [(0, 1), (1, 0)]
    # A piece of two words links both.
    assert by_argmax("intersect", ([[0, 1], [2], [3]], [[0], [1, 2]])) == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 0)]


def test_softmax_takes_all_above_the_threshold_with_the_mean_of_both_directions() -> None:
    # inner product: source 0: 0 6
    #                source 1: 1 0
    #                source 2: 0 3
    e = np.exp
    over_source = {(1, 0): e(1) / (2 + e(1)), (0, 1): e(6) / (e(6) + 1 + e(3)), (2, 1): e(3) / (e(6) + 1 + e(3))}
    over_target = {(1, 0): e(1) / (e(1) + 1), (0, 1): e(6) / (e(6) + 1), (2, 1): e(3) / (e(3) + 1)}

    # Above 0.25 lie 0-1 and 1-0 in both directions, and in the reverse one 2-1 (0.95) and 1-1 (0.27).
    found, probabilities = linked(SOURCE, TARGET, "softmax", 0.25, "intersect", *ONE_EACH)
    assert found == [(0, 1), (1, 0)]
    assert probabilities == pytest.approx([(over_source[link] + over_target[link]) / 2 for link in found])
    assert linked(SOURCE, TARGET, "softmax", 0.25, "union", *ONE_EACH)[0] == [(0, 1), (1, 0), (1, 1), (2, 1)]
    found, probabilities = linked(SOURCE, TARGET, "softmax", 0.25, "forward", *ONE_EACH)
    assert probabilities == pytest.approx([over_source[link] for link in found])
    # Source pieces 0 and 2 are one word: it has the likelier link's probability.
    found, probabilities = linked(SOURCE, TARGET, "softmax", 0.25, "union", *TWO_PIECES_OF_A_WORD)
    assert found == [(0, 1), (1, 0), (1, 1)]
    assert probabilities[0] == pytest.approx((over_source[0, 1] + over_target[0, 1]) / 2)


def test_probabilities_lie_above_0_and_at_most_at_1() -> None:
    far = np.array([[60, 0], [0, 60]], dtype=np.float32)
    words = [[0], [1]]
    assert linked(far, far, "softmax", 1e-30, "union", words, words)[1] == pytest.approx([1, 1])
    apart = np.array([[3.2, 0], [0, 3.2]], dtype=np.float32)  # a share of 0.00004
    assert min(linked(apart, apart, "softmax", 1e-6, "union", words, words)[1]) == pytest.approx(1e-4)


PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["the", "house", "small", "das", "haus", "kle", "##ine", "a", "ein", "book", "buch", "."],
]
PAIRS = [
    (["The", "small", "house"], ["Das", "kleine", "Haus"]),
    (["the", "book", "."], ["das", "Buch", "."]),
    (["a", "house"], ["ein", "Haus"]),
    (["a"], ["kleine", "kleine", "kleine", "kleine"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 3 layers with random weights."""
    path = tmp_path_factory.mktemp("encoder")
    (path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    transformers.BertTokenizerFast(vocab=str(path / "vocab.txt"), do_lower_case=True).save_pretrained(path)
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=len(PIECES),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
        initializer_range=0.5,
    )
    transformers.BertModel(config).save_pretrained(path)
    return path


def states(folder: Path, layer: int, sentence: str) -> np.ndarray:
    """Of one sentence alone, without its special pieces."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return (
            model(**tokenizer(sentence, return_tensors="pt"), output_hidden_states=True)
            .hidden_states[layer][0, 1:-1]
            .numpy()
        )


@pytest.mark.parametrize("layer", [None, 0, 3])
def test_links_are_those_of_the_layers_states(folder: Path, layer: int | None) -> None:
    aligner = aligners.build("encoder", model=folder, method="softmax", layer=layer, batch_size=2)
    layer = 2 if layer is None else layer  # two thirds of 3
    assert aligner.name == f"encoder (softmax, layer {layer}, threshold 0.001)"
    links, probabilities = aligner.align(PAIRS[:1])
    # das kle ##ine haus
    words = [[0], [1], [1], [2]]
    both = states(folder, layer, "The small house"), states(folder, layer, "Das kleine Haus")
    wanted = linked(*both, "softmax", 1e-3, "intersect", [[0], [1], [2]], words)
    assert probabilities is not None
    assert links == [wanted[0]]
    assert probabilities[0] == pytest.approx(wanted[1], abs=1e-5)


@pytest.mark.parametrize("method", ["softmax", "argmax"])
def test_batches_and_padding_change_nothing(folder: Path, method: str) -> None:
    def align(pairs: list[Any], size: int) -> aligners.Alignments:
        aligner = aligners.build("encoder", model=folder, method=method, batch_size=size)
        return aligner.align(pairs, "union")

    together = align(PAIRS, 8)
    assert align(PAIRS, 8) == together
    assert any(together.links)
    for n, pair in enumerate(PAIRS):
        alone = align([pair], 1)
        assert alone.links[0] == together.links[n]
        if method == "softmax":
            assert alone.probabilities is not None
            assert together.probabilities is not None
            assert alone.probabilities[0] == pytest.approx(together.probabilities[n], abs=1e-5)
        else:
            assert together.probabilities is None


def test_a_tokenizer_that_pads_on_the_left_changes_nothing(folder: Path, tmp_path: Path) -> None:
    left = Path(shutil.copytree(folder, tmp_path / "left"))
    config = json.loads((left / "tokenizer_config.json").read_text())
    (left / "tokenizer_config.json").write_text(json.dumps({**config, "padding_side": "left"}))
    found = [aligners.build("encoder", model=each, batch_size=8).align(PAIRS, "union").links for each in (folder, left)]
    assert found[0] == found[1]
    assert any(found[0])


def test_words_keep_their_case_on_the_way_to_the_tokenizer(folder: Path, tmp_path: Path) -> None:
    aligner = aligners.build("encoder", model=folder)
    assert aligner.line((["The"], ["Das"])) == "The ||| Das"


def test_words_behind_the_cut_and_words_without_pieces_have_no_links(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aligner = aligners.build("encoder", model=folder, method="argmax")
    links = aligner.align([(["house"] * 30, ["haus"]), (["\u200b"], ["haus"])], "union").links
    # 12 pieces, of which 2 are special.
    assert {i for i, _ in links[0]} == set(range(10))
    assert links[1] == []
    assert "1 sentences had over 12 pieces and were cut" in caplog.text


def test_bf16(folder: Path) -> None:
    aligner = aligners.build("encoder", model=folder, bf16=True)
    assert aligner.name.endswith(", bf16)")
    assert any(aligner.align(PAIRS).links)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"method": "max"}, "method must be one of argmax, itermax, softmax, but is 'max'"),
        ({"layer": 4}, "layer must be 0 to 3 in .*, but is 4"),
        ({"threshold": 1.0}, r"threshold must be between 0 and 1, but is 1\.0"),
        ({"threshold": 0.1}, "--encoder-threshold is for --encoder-method softmax, but the method is argmax"),
        ({"batch_size": 0}, "batch size must be at least 1 sentence, but is 0"),
    ],
)
def test_options_that_cannot_be(folder: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        aligners.build("encoder", model=folder, **options)


def test_folders_that_are_no_encoder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The aligner encoder needs a Hugging Face folder: add --aligner-model DIR"):
        aligners.build("encoder")
    with pytest.raises(InputError, match=r"has no config\.json, so it is not a Hugging Face folder"):
        aligners.build("encoder", model=tmp_path)
    # A checkpoint with a layer less than its config says: the rest would be random numbers.
    cut = tmp_path / "cut"
    shutil.copytree(folder, cut)
    config = json.loads((cut / "config.json").read_text(encoding="utf-8"))
    (cut / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}), encoding="utf-8")
    with pytest.raises(InputError, match=r"lacks [0-9]+ weights, such as encoder\.layer\.3"):
        aligners.build("encoder", model=cut)
    (cut / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="cut does not load as an encoder: "):
        aligners.build("encoder", model=cut)


def test_the_version_names_the_very_encoder(folder: Path, tmp_path: Path) -> None:
    version = aligners.build("encoder", model=folder).version
    shutil.copytree(folder, tmp_path / "copy")
    assert aligners.build("encoder", model=tmp_path / "copy").version == version
    weights = tmp_path / "copy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert aligners.build("encoder", model=tmp_path / "copy").version != version


@pytest.mark.parametrize("method", METHODS)
def test_the_links_are_those_that_the_evaluation_finds(folder: Path, tmp_path: Path, method: str) -> None:
    """Which are checked against simalign (benchmarks/witness_alignment.py)."""
    from weam_fairseq.evaluation.benchmarks.word_alignment import extract_links
    from weam_fairseq.evaluation.hf_folder import load_folder
    from weam_fairseq.evaluation.readers import GoldLinks, GoldPair

    with_head = tmp_path / "with_head"
    shutil.copytree(folder, with_head)
    transformers.BertForMaskedLM.from_pretrained(folder).save_pretrained(with_head)
    gold = [GoldPair(*pair, GoldLinks(frozenset(), frozenset())) for pair in PAIRS]
    expected, _ = extract_links(load_folder(with_head), gold, 2, 2, "links")
    found = aligners.build("encoder", model=with_head, method=method).align(PAIRS).links
    assert [frozenset(links) for links in found] == expected[method, 2]
    assert any(found)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "distilbert", "modernbert", "deberta-v2"])
def test_layers_above_the_one_that_is_compared_do_not_run(kind: str) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    if kind == "distilbert":
        sizes = {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32}
    config = transformers.AutoConfig.for_model(kind, vocab_size=30, pad_token_id=0, **sizes)
    model = transformers.AutoModel.from_config(config).eval()
    inputs = {"input_ids": torch.arange(1, 9)[None], "attention_mask": torch.ones(1, 8, dtype=torch.long)}
    with torch.inference_mode():
        expected = model(**inputs, output_hidden_states=True).hidden_states
        for layer in range(4):
            read = LayerReader(model, layer)
            torch.testing.assert_close(read(inputs), expected[layer], rtol=0, atol=0)
            assert read.stops == (0 < layer < 3)
            if read.stops:
                read._hook.remove()


def test_itermax_joins_by_itself(folder: Path) -> None:
    with pytest.raises(InputError, match=r"itermax joins the directions by itself\. Leave --symmetrize union out"):
        aligners.build("encoder", model=folder, method="itermax").align(PAIRS, "union")
