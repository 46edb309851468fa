"""The data-bin as the training side reads it: fairseq's own readers, AutoTokenizer, the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from weam_preprocess import cli
from weam_preprocess.databin import IdSpace, write_dictionary, write_part

indexed_dataset = pytest.importorskip("fairseq.data.indexed_dataset")


UNLIKELY = ("--aligner", "eflomal")  # has no probabilities
LIKELY = ("--aligner", "fast_align", "--symmetrize", "union")


@pytest.fixture(scope="module")
def likely(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with links that have probabilities."""
    folder = tmp_path_factory.mktemp("likely")
    return make(folder, folder / "data-bin", *LIKELY)


@pytest.fixture(scope="module")
def databin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """en-de and en-zh, one pair held out of each."""
    folder = tmp_path_factory.mktemp("corpus")
    return make(folder, folder / "data-bin", *UNLIKELY)


def make(folder: Path, destdir: Path, *aligner: str) -> Path:
    german = "The house is small.\tDas Haus ist klein.\nThe garden is big.\tDer Garten ist groß.\n"
    german += "It is raining today.\tEs regnet heute.\nToday the house is big.\tHeute ist das Haus groß.\n"
    chinese = "It is raining today.\t今天下雨。\nThe house is small.\t房子很小。\nIs it raining?\t下雨吗？\n"
    (folder / "en-de.tsv").write_text(german, encoding="utf-8")
    (folder / "train.en").write_text("".join(x.split("\t")[0] + "\n" for x in chinese.splitlines()), encoding="utf-8")
    (folder / "train.zh").write_text("".join(x.split("\t")[1] + "\n" for x in chinese.splitlines()), encoding="utf-8")
    arguments = [
        *("--pair", f"en-de={folder / 'en-de.tsv'}", "--pair", f"en-zh={folder / 'train.en'},{folder / 'train.zh'}"),
        *("--train-tokenizer", "wordpiece", "--vocab-size", "120", "--valid-size", "1", "--destdir", str(destdir)),
        *aligner,
    ]
    assert cli.main(arguments) == 0
    return destdir


def items(databin: Path, prefix: str) -> list[list[int]]:
    dataset = indexed_dataset.MMapIndexedDataset(str(databin / prefix))
    return [dataset[i].tolist() for i in range(len(dataset))]


def test_ids_are_those_of_the_exported_tokenizer(databin: Path) -> None:
    from fairseq.data import Dictionary
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(databin / "tokenizer"))
    dictionary = Dictionary.load(str(databin / "dict.zh.txt"))
    special = {0: tokenizer.cls_token_id, 1: tokenizer.pad_token_id, 2: tokenizer.sep_token_id, 3: 1}
    assert len(dictionary) == len(tokenizer)
    found = [
        [special[i] if i < 4 else int(dictionary[i]) for i in item]
        for split in ("train", "valid")
        for item in items(databin, f"{split}.en-zh.zh")
    ]
    sentences = ["今天下雨。", "房子很小。", "下雨吗？"]
    assert sorted(found) == sorted(tokenizer(s, add_special_tokens=False)["input_ids"] for s in sentences)


def test_counts_agree_and_links_are_inside(databin: Path) -> None:
    for pair, (source, target) in {"en-de": ("en", "de"), "en-zh": ("en", "zh")}.items():
        for split, count in (("train", {"en-de": 3, "en-zh": 2}[pair]), ("valid", 1)):
            a, b = items(databin, f"{split}.{pair}.{source}"), items(databin, f"{split}.{pair}.{target}")
            links = items(databin, f"{split}.align.{pair}")
            words = items(databin, f"{split}.words.{pair}.{source}"), items(databin, f"{split}.words.{pair}.{target}")
            assert len(a) == len(b) == len(links) == count
            assert [list(map(len, words[0])), list(map(len, words[1]))] == [list(map(len, a)), list(map(len, b))]
            for ids, more, flat in zip(a, b, links, strict=True):
                assert all(s < len(ids) for s in flat[::2])
                assert all(t < len(more) for t in flat[1::2])


def test_the_manifest_counts_what_the_data_bin_holds(likely: Path) -> None:
    """Of each side apart: the two have other numbers of pieces, words and linked pieces."""
    databin = likely
    manifest = json.loads((databin / "manifest.json").read_text(encoding="utf-8"))
    for pair in ("en-de", "en-zh"):
        both = [f"{split}.{{}}{pair}" for split in ("train", "valid")]
        links = [np.array(item).reshape(-1, 2) for name in both for item in items(databin, name.format("align."))]
        linked, per_word = {}, {}
        for column, language in enumerate(pair.split("-")):
            pieces = sum(len(item) for name in both for item in items(databin, f"{name.format('')}.{language}"))
            words = [item for name in both for item in items(databin, f"{name.format('words.')}.{language}")]
            linked[language] = round(sum(len(set(each[:, column].tolist())) for each in links) / pieces, 4)
            per_word[language] = round(pieces / sum(len(set(item)) for item in words), 4)
        found = manifest["pairs"][pair]
        assert found["piece_links"] == sum(map(len, links))
        assert found["linked_pieces"] == linked
        assert found["pieces_per_word"] == per_word
        assert len(set(linked.values())) == len(set(per_word.values())) == 2, "or swapped sides would not show"


def test_dictionaries_are_the_same_bytes_and_numbers(databin: Path) -> None:
    texts = {(databin / f"dict.{lang}.txt").read_text() for lang in ("en", "de", "zh")}
    assert len(texts) == 1
    lines = texts.pop().splitlines()
    # [MASK] is tokenizer id 4, the first one that no fairseq special symbol stands for.
    assert lines[0] == "4 1"
    assert [int(line.split()[0]) for line in lines] == list(range(4, 4 + len(lines)))


def test_manifest(databin: Path) -> None:
    manifest = json.loads((databin / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["format"] == "weam-data-bin/1"
    assert manifest["tokenizer"]["special_ids"] == {"cls": 2, "pad": 0, "sep": 3, "unk": 1, "mask": 4}
    assert manifest["tokenizer"]["template"] == {
        "pair": {"ids": [2, "A", 3, "B", 3], "segments": [0, 0, 0, 1, 1]},
        "single": {"ids": [2, "A", 3], "segments": [0, 0, 0]},
    }
    german = manifest["pairs"]["en-de"]
    assert (german["read"], german["train"], german["valid"]) == (4, 3, 1)
    assert manifest["dictionary"]["size"] == manifest["tokenizer"]["vocab_size"]
    assert all(len(manifest["tokenizer"][name]) == 64 for name in ("pieces_sha256", "behaviour_sha256"))
    assert str(databin.parent) not in json.dumps(manifest)


@pytest.mark.parametrize("aligner", [UNLIKELY, LIKELY])
def test_same_input_same_bytes(aligner: tuple[str, ...], databin: Path, likely: Path, tmp_path: Path) -> None:
    databin = likely if aligner is LIKELY else databin
    again = make(tmp_path, tmp_path / "data-bin", *aligner)
    names = sorted(file.relative_to(databin) for file in databin.rglob("*") if file.is_file())
    assert names == sorted(file.relative_to(again) for file in again.rglob("*") if file.is_file())
    for name in names:
        if name.name != "manifest.json":
            assert (databin / name).read_bytes() == (again / name).read_bytes(), name
    manifests = [json.loads((folder / "manifest.json").read_text(encoding="utf-8")) for folder in (databin, again)]
    for manifest in manifests:
        manifest.pop("seconds")
    assert manifests[0] == manifests[1]


def test_a_part_is_what_fairseqs_own_builder_writes(tmp_path: Path) -> None:
    import torch

    written = [[5, 6], [], [70_000]]
    parts = [(np.array([5, 6]), np.array([2, 0])), (np.array([70_000]), np.array([1]))]
    for values in (65_000, 80_000):
        builder = indexed_dataset.make_builder(str(tmp_path / "theirs.bin"), impl="mmap", vocab_size=values)
        for item in written if values > 70_000 else written[:2]:
            builder.add_item(torch.tensor(item))
        builder.finalize(str(tmp_path / "theirs.idx"))
        write_part(tmp_path, "ours", parts if values > 70_000 else parts[:1], values)
        for suffix in ("bin", "idx"):
            assert (tmp_path / f"ours.{suffix}").read_bytes() == (tmp_path / f"theirs.{suffix}").read_bytes()


def test_a_dictionary_is_what_fairseq_saves(tmp_path: Path) -> None:
    from fairseq.data import Dictionary

    space = IdSpace([*range(7), 9, 70_000], {"cls": 2, "pad": 0, "sep": 3, "unk": 1})
    theirs = Dictionary()
    for tokenizer_id in (4, 5, 6, 9, 70_000):
        theirs.add_symbol(str(tokenizer_id))
    theirs.save(str(tmp_path / "theirs.txt"))
    write_dictionary(space, tmp_path / "ours.txt")
    assert (tmp_path / "ours.txt").read_bytes() == (tmp_path / "theirs.txt").read_bytes()
    assert len(Dictionary.load(str(tmp_path / "ours.txt"))) == space.size == 9


def test_a_split_without_any_link_can_be_read(tmp_path: Path) -> None:
    write_part(tmp_path, "train.align.en-de", [(np.array([]), np.array([0, 0]))], 1)
    assert items(tmp_path, "train.align.en-de") == [[], []]


def test_fairseqs_ids_follow_the_four_special_ones() -> None:
    space = IdSpace(range(10), {"cls": 2, "pad": 0, "sep": 3, "unk": 1})
    assert space.fairseq_ids([2, 0, 3, 1, 4, 5]).tolist() == [0, 1, 2, 3, 4, 5]


def test_every_piece_link_has_a_probability(likely: Path) -> None:
    for name in ("train.{}.en-de", "valid.{}.en-de", "train.{}.en-zh", "valid.{}.en-zh"):
        links, probabilities = items(likely, name.format("align")), items(likely, name.format("probs"))
        assert any(links)
        assert [len(flat) for flat in links] == [2 * len(parts) for parts in probabilities]
        assert all(1 <= part <= 10_000 for parts in probabilities for part in parts)


def test_only_what_has_probabilities_says_so(databin: Path, likely: Path) -> None:
    for folder, has in ((databin, False), (likely, True)):
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["aligner"]["probabilities"] is has
        assert sorted(file.name for file in folder.glob("*.probs.*")) == [
            f"{split}.probs.{pair}.{kind}"
            for split in ("train", "valid")
            for pair in ("en-de", "en-zh")
            for kind in ("bin", "idx")
            if has
        ]


def test_given_probabilities_reach_their_piece_links(tmp_path: Path) -> None:
    """Lines in order, a dropped line left out, one number for each piece of a word."""
    (tmp_path / "x.tsv").write_text("\tleer\nbig dog\tHund\nsmall\tklein\n", encoding="utf-8")
    (tmp_path / "x.align").write_text("0-0:0.1\n0-0:1e-9 1-0:0.25256\n\n")
    (tmp_path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in VOCABULARY), encoding="utf-8")
    arguments = [
        *("--pair", f"en-de={tmp_path / 'x.tsv'}", "--tokenizer", str(tmp_path / "vocab.txt")),
        *("--aligner", "precomputed", "--links", f"en-de={tmp_path / 'x.align'}", "--destdir", str(tmp_path / "bin")),
    ]
    assert cli.main(arguments) == 0
    # big do ##g – Hu ##nd; parts per 10,000, rounded, at least 1
    assert items(tmp_path / "bin", "train.align.en-de") == [[0, 0, 0, 1, 1, 0, 1, 1, 2, 0, 2, 1], []]
    assert items(tmp_path / "bin", "train.probs.en-de") == [[1] * 2 + [2526] * 4, []]


VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "big", "do", "##g", "small", "Hu", "##nd", "klein"]


def test_xlmr_like_ids_are_the_identity() -> None:
    space = IdSpace(range(8), {"cls": 0, "pad": 1, "sep": 2, "unk": 3})
    assert space.fairseq_ids(range(8)).tolist() == list(range(8))
