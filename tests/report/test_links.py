"""The training data and the sentences of a study's report, and how links are drawn."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.pages import checked
from tests.report.studies import cell, write_study
from weam_fairseq.data.databin import read_manifest
from weam_fairseq.report.plots.links import draw_links, read_sentences
from weam_fairseq.report.report import main
from weam_fairseq.report.study_tables import data_table

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(5, 40))]


def make_data_bin(folder: Path) -> Path:
    """en-de with two validation pairs, en-es with none; the tokenizer's piece of id n is `wn`."""
    from tokenizers import Tokenizer, models

    from tests.plugin.hand_made_data_bin import write_data_bin as write

    example = ([5, 6, 7], [20, 22], [(0, 0), (2, 1)], [0, 1, 2], [0, 1])
    pairs = {"en-de": {"train": [example] * 3, "valid": [example] * 2}, "en-es": {"train": [example], "valid": []}}
    data_bin = write(folder, pairs)
    words = {word: number for number, word in enumerate(WORDS)}
    Tokenizer(models.WordLevel(words, unk_token="[UNK]")).save(str(data_bin / "tokenizer" / "tokenizer.json"))
    return data_bin


def test_training_data_and_sentences_are_on_the_page(tmp_path: Path) -> None:
    cells = [cell(objective, ["en-de"], "weam_tiny", 1, train_log=None) for objective in ("tlm", "weam")]
    study = write_study(tmp_path / "study", cells)
    make_data_bin(study / "data" / "wordpiece-40.3-pairs" / "data-bin")
    assert main([str(study), "--metric", "aer"]) == 0
    page, _ = checked(study)
    assert page.count('<svg class="links"') == 2
    assert "2 piece links between “w5 w6 w7” and “w20 w22”" in page
    assert "en-es has no validation pairs to show." in page
    assert "wordpiece-40.3-pairs" in (study / "report.md").read_text(encoding="utf-8")


def test_sentences_are_pieces_as_text(tmp_path: Path) -> None:
    data_bin = make_data_bin(tmp_path / "data-bin")
    shown = read_sentences(data_bin, read_manifest(data_bin)).shown
    assert [(each.pair, each.number) for each in shown] == [("en-de", 1), ("en-de", 2)]
    assert (shown[0].source, shown[0].target, shown[0].links) == (["w5", "w6", "w7"], ["w20", "w22"], [(0, 0), (2, 1)])


def test_a_damaged_data_bin_is_named_in_place_of_its_sentences(tmp_path: Path) -> None:
    data_bin = make_data_bin(tmp_path / "data-bin")
    (data_bin / "dict.de.txt").write_text("oops\n")
    found = read_sentences(data_bin, read_manifest(data_bin))
    assert found.shown == []
    assert "dict.de.txt:1 must be a tokenizer id" in found.left_out[0]


@pytest.mark.parametrize("lost", [(), ("dropped",), ("linked_pieces", "word_links")])
def test_what_preprocessing_counted(lost: tuple[str, ...]) -> None:
    pair = {
        "read": 9734,
        "dropped": {"empty side": 12, "over 128 pieces": 31},
        "train": 9034,
        "valid": 500,
        "word_links": 45170,
        "piece_links": 63238,
        "linked_pieces": {"en": 0.71, "de": 0.68},
    }
    table = data_table({"pairs": {"en-de": {name: value for name, value in pair.items() if name not in lost}}})
    row = dict(zip(table.head, [table.rows[0].name, *(cell.text for cell in table.rows[0].cells)], strict=True))
    expected = {
        "pair": "en-de",
        "read": "9,734",
        "train": "9,034",
        "valid": "500",
        "dropped: empty side": "12",
        "dropped: over 128 pieces": "31",
        "word links": "45,170",
        "piece links": "63,238",
        "pieces with a link": "en 71.0%, de 68.0%",
    }
    if "dropped" in lost:
        expected = {name: value for name, value in expected.items() if not name.startswith("dropped")}
    if "word_links" in lost:
        expected |= {"word links": "–", "pieces with a link": "–"}
    assert row == expected


def test_links_are_drawn_between_their_words() -> None:
    #           ab   c        lines: ab-z, c-y; x has none
    svg = draw_links(["ab", "c"], ["x", "y", "z"], [(0, 2), (1, 1)], "a label with <")
    place = {word: float(x) for x, word in re.findall(r'x="([\d.]+)" y="\d+">([a-z]+)<', svg)}
    starts = re.findall(r'd="M([\d.]+) \d+C[^"]* ([\d.]+) \d+"', svg)
    assert [(float(a), float(b)) for a, b in starts] == [(place["ab"], place["z"]), (place["c"], place["y"])]
    assert re.findall(r'class="unlinked"[^>]*>(\w+)<', svg) == ["x"]
    assert 'aria-label="a label with &lt;"' in svg


@given(st.lists(st.text("abm", min_size=1, max_size=12), max_size=60), st.integers(0, 60))
def test_long_pairs_wrap_and_keep_every_word_and_link(words: list[str], size: int) -> None:
    other = words[:size]
    svg = draw_links(words, other, [(idx, idx) for idx in range(len(other))], "label")
    assert re.findall(r">([abm]+)<", svg) == words + other
    assert svg.count("<path") == len(other)
    width = float(re.findall(r'width="(\d+)"', svg)[0])
    assert width <= 712
    assert all(0 <= float(x) <= width for x in re.findall(r' x="([\d.]+)"', svg))
