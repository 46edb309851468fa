"""Batches of a data-bin written by hand: what the model sees, what it predicts, and which rows are exchanged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from hand_made_data_bin import SPECIAL, Example, fairseq_id, random_examples, random_probabilities, write_part

from weam_fairseq.common.errors import InputError
from weam_fairseq.databin import read_manifest, read_vocabulary
from weam_fairseq.dataset import WordExchangeDataset
from weam_fairseq.policy import OBJECTIVES, Policy
from weam_fairseq.split import open_split
from weam_fairseq.word_exchange import Exchange, LinkPolicy, exchange_rows

PAIRS = ["en-de", "en-es", "en-zh"]


def dataset(data_bin: Path, policy: Policy, pairs: list[str] = PAIRS, seed: int = 1) -> WordExchangeDataset:
    symbols = Dictionary.load(str(data_bin / "dict.en.txt")).symbols[4:]
    vocabulary = read_vocabulary(read_manifest(data_bin), symbols)
    splits = [open_split(data_bin, "train", pair, policy.links.weighted) for pair in pairs]
    return WordExchangeDataset(splits, vocabulary, policy, seed)


def test_linked_masked_pieces_receive_their_partners(make_data_bin: Callable[..., Path]) -> None:
    #            source 5 6 7       target 22 20        links: 5-20, 6-22; everything is masked
    example: Example = ([5, 6, 7], [22, 20], [(0, 1), (1, 0)], [0, 1, 2], [0, 1])
    data_bin = make_data_bin({"en-de": {"train": [example]}})
    data = dataset(data_bin, Policy(mask_prob=0.999, mask_replace="all"), ["en-de"])
    net_input = data.collater([data[0]])["net_input"]
    mask, cls, sep = fairseq_id(SPECIAL["mask"]), 0, 2
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


def test_probabilities_are_read_only_when_they_are_wanted(make_data_bin: Callable[..., Path]) -> None:
    examples = random_examples(3, 1)
    probabilities = {"en-de": {"train": random_probabilities(examples, 2)}}
    data_bin = make_data_bin({"en-de": {"train": examples}}, probabilities=probabilities)
    (data_bin / "train.probs.en-de.bin").unlink()
    assert dataset(data_bin, Policy(), ["en-de"])[0].link_weights.tolist() == [1] * len(examples[0][2])
    with pytest.raises(InputError, match=r"train\.probs\.en-de\.bin and .*must both be there"):
        open_split(data_bin, "train", "en-de", weighted=True)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ([[1, 2]], r"must have the same number of items, but: .*train\.probs\.en-de 1"),
        ([[1, 2], [3, 4]], r"train\.probs\.en-de in .* must hold one probability for each link of train\.align\.en-de"),
        ([[1, 2], [0]], r"must lie in 1\.\.10,000 .*, but one of en-de pair 1 is 0\."),
        ([[1, 2], [10_001]], r"must lie in .* one of en-de pair 1 is 10,001\."),
    ],
)
def test_probabilities_that_fit_no_links_are_an_error(
    make_data_bin: Callable[..., Path], written: list[list[int]], sentence: str
) -> None:
    examples: list[Example] = [([5, 6], [20, 21], links, [0, 1], [0, 1]) for links in ([(0, 0), (1, 1)], [(0, 1)])]
    data_bin = make_data_bin({"en-de": {"train": examples}}, probabilities={"en-de": {"train": [[1, 1], [1]]}})
    write_part(data_bin / "train.probs.en-de", written, None)
    with pytest.raises(InputError, match=sentence):
        dataset(data_bin, Policy(links=LinkPolicy("weighted")), ["en-de"])[1]


def test_a_data_bin_without_any_link_is_an_error(make_data_bin: Callable[..., Path]) -> None:
    data_bin = make_data_bin({"en-de": {"train": [([5, 6], [20], [], [0, 1], [0])]}})
    with pytest.raises(InputError, match=r"train\.align\.en-de\.bin must hold something, but is empty"):
        open_split(data_bin, "train", "en-de")


def test_every_objective_masks_the_same_pieces(small_data_bin: Path) -> None:
    batches = {}
    for objective in OBJECTIVES:
        data = dataset(small_data_bin, Policy(objective=objective))
        np.random.seed(3)
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
    with pytest.raises(InputError, match=r"train\.align\.en-de\.bin and .*must both be there"):
        open_split(data_bin, "train", "en-de")


def test_parts_of_different_length_are_an_error(make_data_bin: Callable[..., Path]) -> None:
    data_bin = make_data_bin({"en-de": {"train": random_examples(3, 1)}})
    write_part(data_bin / "train.align.en-de", [[0, 0]], None)
    with pytest.raises(InputError, match=r"must have the same number of items, but: .*train\.align\.en-de 1"):
        open_split(data_bin, "train", "en-de")


def test_a_link_outside_its_sentence_is_an_error(make_data_bin: Callable[..., Path]) -> None:
    example: Example = ([5, 6], [20], [(1, 3)], [0, 1], [0])
    data_bin = make_data_bin({"en-de": {"train": [example]}})
    with pytest.raises(InputError, match=r"a link of en-de pair 0 points outside \(2 and 1 pieces\)"):
        dataset(data_bin, Policy(), ["en-de"])[0]


def test_what_is_no_data_bin_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"must hold manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(InputError, match="must say format 'weam-data-bin/1', but says 'other'"):
        read_manifest(tmp_path)


def test_no_pair_is_left_out_of_an_epoch(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy())
    for size in ({"max_sentences": 16}, {"max_tokens": 100}):
        batches = data.batch_by_size(data.ordered_indices(), required_batch_size_multiple=8, **size)
        assert sorted(int(i) for batch in batches for i in batch) == list(range(180))
