"""Aligners: the models of sil-thot, the program's protocol (through stand-ins), symmetrisation, given links."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from weam_preprocess import aligners
from weam_preprocess.aligners.directions import parse_links
from weam_preprocess.aligners.precomputed import PrecomputedLinks, agree_on_probabilities
from weam_preprocess.aligners.symmetrize import symmetrize
from weam_preprocess.errors import InputError

PAIRS = [
    (["the", "House"], ["das", "Haus"]),
    (["the", "book"], ["das", "Buch"]),
    (["a", "book"], ["ein", "Buch"]),
    (["a", "House"], ["ein", "Haus"]),
    (["the", "small", "House"], ["das", "kleine", "Haus"]),
] * 4


@pytest.mark.parametrize("name", ["fast_align", "eflomal", "hmm"])
def test_models_align_and_repeat_themselves(name: str) -> None:
    aligner = aligners.build(name)
    assert aligner.name == f"{name} (sil-thot)"
    alignments = aligner.align(PAIRS, "intersect")
    assert alignments == aligners.build(name).align(PAIRS, "intersect")
    links, probabilities = alignments
    assert len(links) == len(PAIRS)
    assert (probabilities is not None) == (name == "hmm")
    if name == "fast_align":
        assert links[0] == [(0, 0), (1, 1)]


def test_hard_words_do_not_shift_lines() -> None:
    hard = [(["|||", "a b", "\u2028", "x\n"], ["\x00", "\u3000", "é", "y"]), *PAIRS]
    links = aligners.build("fast_align").align(hard, "union").links
    assert len(links) == len(hard)
    assert links[1:6] != [[]] * 5


def test_a_side_without_words_is_refused() -> None:
    with pytest.raises(InputError, match="Pair 2 has a side without words"):
        aligners.build("fast_align").align([PAIRS[0], ([], ["x"])])


def test_unknown_aligner() -> None:
    with pytest.raises(InputError, match="fast_align, eflomal, hmm, but is 'giza'"):
        aligners.build("giza")


# forward: every target word has one source word; reverse: every source word has one target word.
#        0 1 2            0 1 2
FORWARD, REVERSE = [(0, 0), (1, 1), (1, 2)], [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("intersect", [(0, 0), (1, 1)]),
        ("union", [(0, 0), (1, 1), (1, 2), (2, 2)]),
        ("forward", FORWARD),
        ("grow-diag", [(0, 0), (1, 1), (1, 2), (2, 2)]),
        ("grow-diag-final-and", [(0, 0), (1, 1), (1, 2), (2, 2)]),
    ],
)
def test_symmetrize(how: str, expected: list[tuple[int, int]]) -> None:
    assert symmetrize(3, 3, FORWARD, REVERSE, how) == expected


def stand_in(folder: Path, name: str, body: str) -> None:
    script = folder / name
    script.write_text("#!/bin/sh\n" + body)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)


def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast_align: str, atools: str) -> aligners.Aligner:
    stand_in(tmp_path, "fast_align", fast_align)
    stand_in(tmp_path, "atools", atools)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    aligner = aligners.build("fast_align")
    assert aligner.name == "fast_align (program)"
    return aligner


ONE_LINK_A_LINE = 'for last; do :; done\n[ "$last" = -r ] && shift 0\nsed "s/.*/0-0/" "$5"\n'  # -d -o -v -i FILE


def test_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aligner = programs(tmp_path, monkeypatch, ONE_LINK_A_LINE, 'cat "$4"\n')  # -c HOW -i FILE -j FILE
    assert aligner.align(PAIRS) == ([[(0, 0)]] * len(PAIRS), None)


@pytest.mark.parametrize(
    ("fast_align", "atools", "sentence"),
    [
        ("echo no room >&2; exit 3\n", "true\n", r"ended with exit code 3: no room\."),
        ("echo 0-0\n", "true\n", r"one line of links for each of 20 pairs, but gave 1 lines"),
        ('sed "s/.*/0-9/" "$5"\n', "true\n", r"a link outside pair 1: '0-9'"),
        ('sed "s/.*/nan/" "$5"\n', "true\n", r"wrote 'nan' for pair 1"),
        ('sed "s/.*/0-0:1.5/" "$5"\n', "true\n", r"wrote '0-0:1.5' for pair 1; links must be like 0-0 or 0-0:0.93"),
        (ONE_LINK_A_LINE, "exit 1\n", r"atools must give 20 lines, but gave 1 and ended with exit code 1"),
    ],
)
def test_program_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast_align: str, atools: str, sentence: str
) -> None:
    aligner = programs(tmp_path, monkeypatch, fast_align, atools)
    with pytest.raises(InputError) as error:
        aligner.align(PAIRS)
    assert re.search(sentence, str(error.value))


def test_items_with_and_without_probability() -> None:
    assert parse_links("0-0 12-3 ") == [((0, 0), None), ((12, 3), None)]
    assert parse_links("0-0:0.93 1-2:1 1-3:4e-3") == [((0, 0), 0.93), ((1, 2), 1.0), ((1, 3), 0.004)]


NO_PROBABILITIES = ["0-0:", "0-0:0", "0-0:0.0", "0-0:1.01", "0-0:-0.5", "0-0:nan", "0-0:1e-999", "0-0:1.2.3"]


@pytest.mark.parametrize("item", ["0:0", "0-", "-1-0", *NO_PROBABILITIES])
def test_items_that_are_no_links(item: str) -> None:
    with pytest.raises(ValueError, match=re.escape(item)):
        parse_links(f"0-0 {item}")


def given_links(tmp_path: Path, name: str, *lines: str) -> PrecomputedLinks:
    (tmp_path / name).write_text("".join(line + "\n" for line in lines))
    return PrecomputedLinks(tmp_path / name, len(lines))


TWO_BY_TWO = (["a", "b"], ["x", "y"])


def test_of_equal_links_the_likeliest_is_kept(tmp_path: Path) -> None:
    aligner = given_links(tmp_path, "links", "1-1:0.5 0-0:0.2 0-0:0.9 0-0:0.3", "", "0-1:1")
    assert aligner.align([TWO_BY_TWO] * 3) == ([[(0, 0), (1, 1)], [], [(0, 1)]], [[0.9, 0.5], [], [1.0]])
    assert given_links(tmp_path, "plain", "1-1 0-0 0-0").align([TWO_BY_TWO]) == ([[(0, 0), (1, 1)]], None)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (("0-0:0.5", "", "0-0:0.5 1-1"), r"links line 3: link 1-1 has no probability, but the first link .* has one\."),
        (("", "0-0", "1-1:0.5"), r"links line 3: link 1-1 has a probability, but the first link .* has none\."),
        (("0-0:0.5 1-1",), r"links line 1: link 1-1 has no probability"),
        (
            ("0-0:0.5", "0-0:2"),
            r"links line 2: links must be like .* above 0 and at most 1 .* but '0-0:2' stands there",
        ),
    ],
)
def test_a_file_has_probabilities_or_not(tmp_path: Path, lines: tuple[str, ...], sentence: str) -> None:
    aligner = given_links(tmp_path, "links", *lines)
    with pytest.raises(InputError, match=sentence):
        aligner.align([TWO_BY_TWO] * len(lines))


def test_files_agree_on_probabilities(tmp_path: Path) -> None:
    having, lacking = given_links(tmp_path, "having", "0-0:0.5"), given_links(tmp_path, "lacking", "0-0")
    with pytest.raises(InputError, match=r"Either all .* or none, but .*having does and .*lacking does not"):
        agree_on_probabilities([lacking, having])
    # A file without any link goes with either.
    empty = given_links(tmp_path, "empty", "", "")
    agree_on_probabilities([empty, having])
    assert empty.align([TWO_BY_TWO] * 2) == ([[], []], [[], []])
    empty = given_links(tmp_path, "empty", "", "")
    agree_on_probabilities([lacking, empty])
    assert empty.align([TWO_BY_TWO] * 2) == ([[], []], None)
