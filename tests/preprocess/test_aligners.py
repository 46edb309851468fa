"""Aligners: the models of sil-thot, the program's protocol (through stand-ins), symmetrisation."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from weam_preprocess import aligners
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
    links = aligner.align(PAIRS, "intersect")
    assert links == aligners.build(name).align(PAIRS, "intersect")
    assert len(links) == len(PAIRS)
    if name == "fast_align":
        assert links[0] == [(0, 0), (1, 1)]


def test_hard_words_do_not_shift_lines() -> None:
    hard = [(["|||", "a b", "\u2028", "x\n"], ["\x00", "\u3000", "é", "y"]), *PAIRS]
    links = aligners.build("fast_align").align(hard, "union")
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
    assert aligner.align(PAIRS) == [[(0, 0)]] * len(PAIRS)


@pytest.mark.parametrize(
    ("fast_align", "atools", "sentence"),
    [
        ("echo no room >&2; exit 3\n", "true\n", r"ended with exit code 3: no room\."),
        ("echo 0-0\n", "true\n", r"one line of links for each of 20 pairs, but gave 1 lines"),
        ('sed "s/.*/0-9/" "$5"\n', "true\n", r"a link outside pair 1: '0-9'"),
        ('sed "s/.*/nan/" "$5"\n', "true\n", r"wrote 'nan' for pair 1"),
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
