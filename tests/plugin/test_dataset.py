"""Batches of a hand-made data-bin: inputs, targets and exchanged rows."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from fairseq.data.data_utils import batch_by_size
from hand_made_data_bin import (
    SPECIAL,
    VOCABULARY,
    Example,
    random_examples,
    random_probabilities,
    write_part,
)
from hypothesis import given
from hypothesis import strategies as st

from weam_fairseq.common.errors import InputError
from weam_fairseq.data.databin import read_dictionary, read_manifest, read_tokenizer_files, read_vocabulary
from weam_fairseq.data.split import open_split
from weam_fairseq.method.dataset import WordExchangeDataset
from weam_fairseq.method.policy import OBJECTIVES, Policy
from weam_fairseq.method.word_exchange import Exchange, LinkPolicy, exchange_rows

PAIRS = ["en-de", "en-es", "en-zh"]


def dataset(
    data_bin: Path,
    policy: Policy,
    pairs: list[str] = PAIRS,
    seed: int = 1,
    kind: type[WordExchangeDataset] = WordExchangeDataset,
) -> WordExchangeDataset:
    symbols = Dictionary.load(str(data_bin / "dict.en.txt")).symbols[4:]
    return kind.open(data_bin, "train", pairs, read_vocabulary(read_manifest(data_bin), symbols), policy, seed)


def test_linked_masked_pieces_receive_their_partners(make_data_bin: Callable[..., Path]) -> None:
    #            source 5 6 7       target 22 20        links: 5-20, 6-22; everything is masked
    example: Example = ([5, 6, 7], [22, 20], [(0, 1), (1, 0)], [0, 1, 2], [0, 1])
    data_bin = make_data_bin({"en-de": {"train": [example]}})
    data = dataset(data_bin, Policy(mask_prob=0.999, mask_replace="all"), ["en-de"])
    net_input = data.collater([data[0]])["net_input"]
    mask, cls, sep = (SPECIAL[name] for name in ("mask", "cls", "sep"))
    assert net_input["tokens"].tolist() == [[cls, mask, mask, mask, sep, mask, mask, sep]]
    assert net_input["masked_rows"].tolist() == [1, 2, 3, 5, 6]
    received = exchange_rows(torch.eye(8), net_input["exchange"]).argmax(1)
    #  rows         1  2  (3 has no link)  5  6
    assert net_input["exchange"].linked.tolist() == [0, 1, 3, 4]
    assert received.tolist() == [6, 5, 2, 1]


def test_identical_pieces_can_stay_in_place(make_data_bin: Callable[..., Path]) -> None:
    example: Example = ([5, 9], [20, 9], [(0, 0), (1, 1)], [0, 1], [0, 1])  # 9 is linked to 9
    data_bin = make_data_bin({"en-de": {"train": [example]}})
    for skip, linked in ((False, [0, 1, 2, 3]), (True, [0, 2])):
        policy = Policy(mask_prob=0.999, links=LinkPolicy(skip_identical=skip))
        data = dataset(data_bin, policy, ["en-de"])
        assert data.collater([data[0]])["net_input"]["exchange"].linked.tolist() == linked


def test_weighted_rows_take_their_partners_by_probability(make_data_bin: Callable[..., Path]) -> None:
    #            source 5 6         target 20 21 22       5-20 0.6, 5-21 0.2, 6-22 0.1; everything is masked
    example: Example = ([5, 6], [20, 21, 22], [(0, 0), (0, 1), (1, 2)], [0, 1], [0, 1, 2])
    probabilities = {"en-de": {"train": [[6000, 2000, 1000]]}}
    data_bin = make_data_bin({"en-de": {"train": [example]}}, probabilities=probabilities)
    policy = Policy(mask_prob=0.999, links=LinkPolicy("weighted"))
    data = dataset(data_bin, policy, ["en-de"])
    received = exchange_rows(torch.eye(8), data.collater([data[0]])["net_input"]["exchange"])
    #  rows  1: 5 from 4 (20) and 5 (21)    2: 6 from 6 (22)    4 and 5: 20 and 21 from 1    6: 22 from 2
    assert [{r: round(float(w), 6) for r, w in enumerate(row) if w} for row in received] == [
        {4: 0.75, 5: 0.25},
        {6: 1.0},
        {1: 1.0},
        {1: 1.0},
        {2: 1.0},
    ]


def test_probabilities_are_read_only_if_requested(make_data_bin: Callable[..., Path]) -> None:
    examples = random_examples(3, 1)
    probabilities = {"en-de": {"train": random_probabilities(examples, 2)}}
    data_bin = make_data_bin({"en-de": {"train": examples}}, probabilities=probabilities)
    (data_bin / "train.probs.en-de.bin").unlink()
    assert dataset(data_bin, Policy(), ["en-de"])[0].link_weights.tolist() == [1] * len(examples[0][2])
    with pytest.raises(InputError, match=r"train\.probs\.en-de\.bin and .*must both exist"):
        open_split(data_bin, "train", "en-de", weighted=True)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ([[1, 2]], r"must have the same number of items, but have: .*train\.probs\.en-de 1"),
        ([[1, 2], [3, 4]], r"train\.probs\.en-de in .* must hold one probability for each link of train\.align\.en-de"),
        ([[1, 2], [0]], r"must lie in 1\.\.10,000 .*, but one of en-de pair 1 is 0\."),
        ([[1, 2], [10_001]], r"must lie in .* one of en-de pair 1 is 10,001\."),
    ],
)
def test_probabilities_that_do_not_match_the_links_are_an_error(
    make_data_bin: Callable[..., Path], written: list[list[int]], sentence: str
) -> None:
    examples: list[Example] = [([5, 6], [20, 21], links, [0, 1], [0, 1]) for links in ([(0, 0), (1, 1)], [(0, 1)])]
    data_bin = make_data_bin({"en-de": {"train": examples}}, probabilities={"en-de": {"train": [[1, 1], [1]]}})
    write_part(data_bin / "train.probs.en-de", written, None)
    with pytest.raises(InputError, match=sentence):
        dataset(data_bin, Policy(links=LinkPolicy("weighted")), ["en-de"])[1]


def test_a_data_bin_without_any_link_is_an_error(make_data_bin: Callable[..., Path]) -> None:
    data_bin = make_data_bin({"en-de": {"train": [([5, 6], [20], [], [0, 1], [0])]}})
    with pytest.raises(InputError, match=r"train\.align\.en-de\.bin must not be empty, but is"):
        open_split(data_bin, "train", "en-de")


def test_every_objective_masks_the_same_pieces(small_data_bin: Path) -> None:
    batches = {}
    for objective in OBJECTIVES:
        data = dataset(small_data_bin, Policy(objective=objective))
        chosen = data.ordered_indices()[40:56]
        batches[objective] = data.collater([data[int(i)] for i in chosen])
    weam = batches["weam"]
    for objective, batch in batches.items():
        assert torch.equal(batch["id"], weam["id"])
        if objective == "mlm":  # the same pieces as rows of their own: sources first
            assert sorted(batch["target"].tolist()) == sorted(weam["target"].tolist())
            assert len(batch["net_input"]["tokens"]) == 2 * len(weam["net_input"]["tokens"])
        else:
            assert torch.equal(batch["net_input"]["tokens"], weam["net_input"]["tokens"])
            assert torch.equal(batch["net_input"]["masked_rows"], weam["net_input"]["masked_rows"])
            assert torch.equal(batch["target"], weam["target"])
    assert "exchange" not in batches["mlm"]["net_input"]
    assert "exchange" not in batches["tlm"]["net_input"]
    assert len(batches["identity"]["net_input"]["exchange"].linked) == 0


def weights_of_rows(exchange: Exchange) -> list[list[float]]:
    """The weights that each linked row takes, each row's sorted, the rows sorted."""
    of_row = [exchange.weight[exchange.segment == row].sort().values.tolist() for row in range(len(exchange.linked))]
    return sorted(of_row)


def test_the_control_keeps_the_weights_of_each_row(make_data_bin: Callable[..., Path]) -> None:
    examples: list[Example] = []
    for source, target, _, source_words, target_words in random_examples(20, 1):
        links = [(i, j) for i in range(len(source)) for j in range(len(target)) if (i + j) % 3]
        examples.append((source, target, links, source_words, target_words))
    probabilities = {"en-de": {"train": random_probabilities(examples, 2)}}
    data_bin = make_data_bin({"en-de": {"train": examples}}, probabilities=probabilities)
    links = LinkPolicy("weighted")
    true, wrong = (
        dataset(data_bin, Policy(objective=o, mask_prob=1 - 1e-12, links=links), ["en-de"])
        for o in ("weam", "shuffled")
    )
    right, shuffled = (data.collater([data[i] for i in range(20)])["net_input"]["exchange"] for data in (true, wrong))
    assert weights_of_rows(right) == weights_of_rows(shuffled)
    assert not torch.equal(right.origin, shuffled.origin)


@pytest.mark.parametrize("one_to_many", ["mean", "first", "one-to-one"])
@pytest.mark.parametrize("piece_policy", ["all", "first", "monotone"])
def test_the_control_links_as_many_rows_wrongly(small_data_bin: Path, one_to_many: str, piece_policy: str) -> None:
    links = LinkPolicy(one_to_many, piece_policy)
    true, wrong = (
        dataset(small_data_bin, Policy(objective=o, mask_prob=0.999, links=links)) for o in ("weam", "shuffled")
    )
    chosen = list(range(30))
    origins = []
    for epoch in (1, 2):
        true.set_epoch(epoch)
        wrong.set_epoch(epoch)
        right = true.collater([true[i] for i in chosen])["net_input"]["exchange"]
        shuffled = wrong.collater([wrong[i] for i in chosen])["net_input"]["exchange"]
        assert len(right.linked) == len(shuffled.linked)
        assert len(right.origin) == len(shuffled.origin)
        assert not torch.equal(right.origin, shuffled.origin)
        origins.append(shuffled.origin)
    assert not torch.equal(*origins), "drawn anew for each epoch"


@pytest.mark.parametrize("objective", ["sentence", "stranger"])
def test_controls_exchange_the_rows_that_weam_exchanges(small_data_bin: Path, objective: str) -> None:
    found = {}
    for name in ("weam", objective):
        data = dataset(small_data_bin, Policy(objective=name))
        batch = data.collater([data[i] for i in range(30)])
        found[name] = batch["net_input"]["exchange"]
        width = batch["net_input"]["tokens"].size(1)
        owner = batch["net_input"]["masked_rows"][found[name].linked][found[name].segment] // width
        is_own_pair = (owner == found[name].origin // width).tolist()
        assert not any(is_own_pair) if name == "stranger" else all(is_own_pair)
    assert torch.equal(found["weam"].linked, found[objective].linked)


def test_a_batch_of_one_pair_has_no_stranger(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy(objective="stranger"))
    assert len(data.collater([data[7]])["net_input"]["exchange"].linked) == 0


def test_masks_follow_seed_and_epoch_and_not_the_batch(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy(mask_replace="all"))
    alone = data.collater([data[7]])
    among = data.collater([data[7], data[90]])
    pieces = len(data[7].source)
    assert torch.equal(alone["net_input"]["tokens"][0, : pieces + 1], among["net_input"]["tokens"][0, : pieces + 1])
    data.set_epoch(2)
    assert not torch.equal(alone["net_input"]["tokens"], data.collater([data[7]])["net_input"]["tokens"])
    other = dataset(small_data_bin, Policy(mask_replace="all"), seed=2)
    assert not torch.equal(alone["net_input"]["tokens"], other.collater([other[7]])["net_input"]["tokens"])


def test_rows_know_their_language_pair(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy())
    batch = data.collater([data[0], data[60], data[61], data[120]])
    assert len(data) == 180
    sizes = [len(data[i].source) + len(data[i].target) for i in (0, 60, 61, 120)]
    assert batch["pair_pieces"].tolist() == [sizes[0], sizes[1] + sizes[2], sizes[3]]
    assert set(batch["row_pair"].tolist()) <= {0, 1, 2}


def test_a_missing_alignment_is_an_error(make_data_bin: Callable[..., Path]) -> None:
    data_bin = make_data_bin({"en-de": {"train": random_examples(3, 1)}})
    (data_bin / "train.align.en-de.bin").unlink()
    with pytest.raises(InputError, match=r"train\.align\.en-de\.bin and .*must both exist"):
        open_split(data_bin, "train", "en-de")


def test_parts_of_different_length_are_an_error(make_data_bin: Callable[..., Path]) -> None:
    data_bin = make_data_bin({"en-de": {"train": random_examples(3, 1)}})
    write_part(data_bin / "train.align.en-de", [[0, 0]], None)
    with pytest.raises(InputError, match=r"must have the same number of items, but have: .*train\.align\.en-de 1"):
        open_split(data_bin, "train", "en-de")


def test_a_link_outside_its_sentence_is_an_error(make_data_bin: Callable[..., Path]) -> None:
    example: Example = ([5, 6], [20], [(1, 3)], [0, 1], [0])
    data_bin = make_data_bin({"en-de": {"train": [example]}})
    with pytest.raises(InputError, match=r"a link of en-de pair 0 points outside \(2 and 1 pieces\)"):
        dataset(data_bin, Policy(), ["en-de"])[0]


@pytest.mark.parametrize(
    ("part", "items", "sentence"),
    [
        ("train.en-de.en", [[VOCABULARY, 6]], r"Every piece must lie in 0\.\.39, but one of en-de pair 0 is 40"),
        ("train.en-de.de", [[1 << 30]], r"Every piece must lie in 0\.\.39"),
        ("train.words.en-de.en", [[0, 1 << 20]], r"Every word number must lie in 0\.\.1,048,575"),
        ("train.words.en-de.en", [[0]], r"must hold one word number for each piece of train\.en-de\.en"),
        ("train.align.en-de", [[0, 0, 1]], "must hold two piece numbers for each link"),
        ("train.align.en-de", [[0, 1 << 30]], "a link of en-de pair 0 points outside"),
    ],
)
def test_numbers_out_of_range_are_an_error(
    part: str, items: list[list[int]], sentence: str, make_data_bin: Callable[..., Path]
) -> None:
    example: Example = ([5, 6], [20], [(1, 0)], [0, 1], [0])
    data_bin = make_data_bin({"en-de": {"train": [example]}})
    write_part(data_bin / part, items, None)
    with pytest.raises(InputError, match=sentence):
        dataset(data_bin, Policy(), ["en-de"])[0]


def test_an_invalid_data_bin_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"must hold manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(InputError, match="must have the format 'weam-data-bin/1', but has 'other'"):
        read_manifest(tmp_path)


def test_no_pair_is_left_out_of_an_epoch(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy())
    for size in ({"batch_size": 16}, {"max_tokens": 100}):
        batches = data.batches(data.ordered_indices(), **size)
        assert sorted(int(i) for batch in batches for i in batch) == list(range(180))


@given(
    st.lists(st.integers(1, 40), max_size=60),
    st.one_of(st.none(), st.integers(40, 200)),
    st.one_of(st.none(), st.integers(1, 20)),
)
def test_batches_are_those_of_fairseq(
    small_data_bin: Path, places: list[int], max_tokens: int | None, batch_size: int | None
) -> None:
    data = dataset(small_data_bin, Policy())
    indices, data._places = np.arange(len(places)), np.array([*places, *[1] * (len(data) - len(places))])
    expected = batch_by_size(indices, None, data.places(indices), max_tokens, batch_size)
    assert [batch.tolist() for batch in data.batches(indices, max_tokens, batch_size)] == [b.tolist() for b in expected]


def _put(manifest: dict[str, Any], path: str, value: object) -> None:
    *outer, last = path.split(".")
    for key in outer:
        manifest = manifest[key]
    manifest[last] = value


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("pairs", {"../x-de": {}}, r"must name language pairs like en-de, but names '\.\./x-de'"),
        ("pairs", {"en-de\nlicense: mit": {}}, "must name language pairs like en-de"),
        ("pairs", {"ende": {}}, "must name language pairs like en-de"),
        ("pairs", [], "must have an object as `pairs`, but has a list"),
        ("aligner", None, "must have an object as `aligner`, but has null"),
        ("tokenizer", [], "must have an object as `tokenizer`, but has a list"),
        ("tokenizer.folder", "../elsewhere", "must name files by plain names"),
        ("tokenizer.folder", "/elsewhere", "must name files by plain names"),
        ("tokenizer.folder", "..", "must name files by plain names"),
        ("tokenizer.vocab_size", "40", "must have a whole number as `tokenizer.vocab_size`"),
        ("tokenizer.pieces_sha256", "xyz", "must have 64 hexadecimal digits as `tokenizer.pieces_sha256`"),
        ("tokenizer.special_ids.pad", 40, "must give special pieces ids from 0 to 39, but gives 40"),
        ("tokenizer.special_ids.pad", -1, "must give special pieces ids from 0 to 39, but gives -1"),
        ("tokenizer.special_ids", {}, "must have a whole number as `tokenizer.special_ids.cls`, but has none"),
        ("tokenizer.all_special_ids", [1 << 40], "must give special pieces ids"),
        (
            "tokenizer.template.pair.ids",
            [2, "A", 3],
            "is invalid: it must contain A and B once",
        ),
        (
            "tokenizer.template.single.segments",
            [0, 10**9, 0],
            "is invalid: it must contain A once, and a segment id below 16",
        ),
        ("tokenizer.sha256", "abc", "must have an object as `tokenizer.sha256`, but has a text"),
        ("dictionary", [], "must have a text as `dictionary.sha256`, but has none"),
    ],
)
def test_an_untrusted_manifest_is_checked(
    path: str, value: object, sentence: str, make_data_bin: Callable[..., Path]
) -> None:
    data_bin = make_data_bin({"en-de": {"train": random_examples(3, 1)}})
    manifest = json.loads((data_bin / "manifest.json").read_text())
    _put(manifest, path, value)
    (data_bin / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=rf"manifest\.json {sentence}"):
        read_manifest(data_bin)


@pytest.mark.parametrize("symbols", [["4"], [str(i) for i in range(5, 41)], ["5"] * 36, ["9" * 10] * 36, ["x"] * 36])
def test_a_dictionary_that_is_no_permutation_is_an_error(symbols: list[str], small_data_bin: Path) -> None:
    manifest = read_manifest(small_data_bin)
    with pytest.raises(InputError, match=r"The dictionary must list each of the tokenizer's 40 ids once|in decimal"):
        read_vocabulary(manifest, symbols)
    manifest["tokenizer"]["vocab_size"] = 10**12  # takes no memory
    with pytest.raises(InputError, match=r"1,000,000,000,000 ids once|in decimal"):
        read_vocabulary(manifest, symbols)


def test_a_manifest_with_a_key_twice_is_an_error(make_data_bin: Callable[..., Path]) -> None:
    data_bin = make_data_bin({"en-de": {"train": random_examples(3, 1)}})
    text = (data_bin / "manifest.json").read_text()
    (data_bin / "manifest.json").write_text(text[:-1] + ', "pairs": {}}')
    with pytest.raises(InputError, match=r"each key of an object once, but holds 'pairs' twice .*Run weam-preprocess"):
        read_manifest(data_bin)


def test_the_dictionary_and_the_tokenizer_are_those_that_the_manifest_records(
    make_data_bin: Callable[..., Path],
) -> None:
    data_bin = make_data_bin({"en-de": {"train": random_examples(3, 1)}})
    manifest = read_manifest(data_bin)
    dictionary, vocabulary = data_bin / "dict.de.txt", data_bin / "tokenizer" / "vocab.txt"
    manifest["dictionary"] = {"sha256": hashlib.sha256(dictionary.read_bytes()).hexdigest()}
    manifest["tokenizer"]["sha256"] = {"vocab.txt": hashlib.sha256(vocabulary.read_bytes()).hexdigest()}
    assert read_dictionary(data_bin, "de", manifest)[:2] == ["4", "5"]
    assert read_tokenizer_files(data_bin, manifest)["vocab.txt"] == vocabulary.read_bytes()
    lines = dictionary.read_text().splitlines(keepends=True)
    dictionary.write_text("".join(lines[::-1]))
    with pytest.raises(InputError, match=r"dict\.de\.txt must have the SHA-256 that manifest\.json records"):
        read_dictionary(data_bin, "de", manifest)
    vocabulary.write_text(vocabulary.read_text().replace("w5", "w-5"))
    with pytest.raises(InputError, match=r"vocab\.txt must have the SHA-256 that manifest\.json records"):
        read_tokenizer_files(data_bin, manifest)
    vocabulary.unlink()
    with pytest.raises(InputError, match=r"vocab\.txt must be a file of at most"):
        read_tokenizer_files(data_bin, manifest)
    del manifest["dictionary"]
    dictionary.write_text("4 1\n5 x\n")
    with pytest.raises(InputError, match=r"dict\.de\.txt:2 must be a tokenizer id and a count, but is '5 x'"):
        read_dictionary(data_bin, "de", manifest)


def test_only_a_tokenizer_of_the_data_bin_goes_into_checkpoints(
    make_data_bin: Callable[..., Path], tmp_path: Path
) -> None:
    data_bin = make_data_bin({"en-de": {"train": random_examples(3, 1)}})
    manifest, tokenizer = read_manifest(data_bin), data_bin / "tokenizer"
    (tokenizer / "id_rsa").write_text("private")
    assert sorted(read_tokenizer_files(data_bin, manifest)) == ["tokenizer_config.json", "vocab.txt"]
    (tmp_path / "private").write_text("private")
    (tokenizer / "merges.txt").symlink_to(tmp_path / "private")
    with pytest.raises(InputError, match=r"merges\.txt must lie in its data-bin, .* but links to .*/private\."):
        read_tokenizer_files(data_bin, manifest)
    (tokenizer / "merges.txt").unlink()
    tokenizer.rename(tmp_path / "elsewhere")
    tokenizer.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="must lie in its data-bin"):
        read_tokenizer_files(data_bin, manifest)
