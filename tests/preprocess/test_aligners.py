"""Our fast_align, sil-thot's eflomal, the programs' protocol (through stand-ins), symmetrization, given links."""

from __future__ import annotations

import re
import stat
import tracemalloc
from pathlib import Path

import pytest
from weam_preprocess import aligners
from weam_preprocess.aligners import eflomal
from weam_preprocess.aligners.directions import parse_links, symmetrize
from weam_preprocess.aligners.lines import aligner_line, one_side
from weam_preprocess.aligners.precomputed import PrecomputedLinks, agree_on_probabilities
from weam_preprocess.errors import InputError

PAIRS = [
    (["the", "House"], ["das", "Haus"]),
    (["the", "book"], ["das", "Buch"]),
    (["a", "book"], ["ein", "Buch"]),
    (["a", "House"], ["ein", "Haus"]),
    (["the", "small", "House"], ["das", "kleine", "Haus"]),
] * 4


@pytest.mark.parametrize(("name", "of"), [("fast_align", "agreement"), ("eflomal", "sil-thot")])
def test_models_align_and_repeat_themselves(name: str, of: str) -> None:
    aligner = aligners.build(name)
    assert aligner.name == f"{name} ({of})"
    alignments = aligner.align(PAIRS, "intersect")
    assert alignments == aligners.build(name).align(PAIRS, "intersect")
    links, probabilities = alignments
    assert len(links) == len(PAIRS)
    assert (probabilities is not None) == (name == "fast_align")
    if name == "fast_align":
        assert links[0] == [(0, 0), (1, 1)]


def test_hard_words_do_not_shift_lines() -> None:
    hard = [(["|||", "a b", "\u2028", "x|||y\n"], ["\x00", "\u3000", "é", "y"]), *PAIRS]
    links = aligners.build("fast_align").align(hard, "union").links
    assert len(links) == len(hard)
    assert links[1:6] != [[]] * 5


def test_a_side_without_words_is_refused() -> None:
    with pytest.raises(InputError, match="Pair 2 has a side without words"):
        aligners.build("fast_align").align([PAIRS[0], ([], ["x"])])


def test_unknown_aligner() -> None:
    with pytest.raises(InputError, match=f"{', '.join(aligners.NAMES)}, but is 'giza'"):
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


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> aligners.Aligner:
    stand_in(tmp_path, name, body)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    aligner = aligners.build(name.removesuffix("-align"), implementation="program")
    assert aligner.name == f"{name.removesuffix('-align')} (program)"
    return aligner


# fast_align -i FILE -d -o -v [-r]
FORWARD_0_0_REVERSE_0_1 = 'case "$*" in *" -r") sed "s/.*/0-0 0-1/" "$2";; *) sed "s/.*/0-0/" "$2";; esac\n'


@pytest.mark.parametrize(("how", "links"), [("intersect", [(0, 0)]), ("union", [(0, 0), (0, 1)])])
def test_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, links: list[tuple[int, int]]) -> None:
    aligner = program(tmp_path, monkeypatch, "fast_align", FORWARD_0_0_REVERSE_0_1)
    assert aligner.align(PAIRS, how) == ([links] * len(PAIRS), None)


def test_forward_runs_one_direction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_reverse = 'case "$*" in *" -r") exit 3;; *) sed "s/.*/0-0/" "$2";; esac\n'
    aligner = program(tmp_path, monkeypatch, "fast_align", no_reverse)
    assert aligner.align(PAIRS, "forward") == ([[(0, 0)]] * len(PAIRS), None)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("echo no room >&2; exit 3\n", r"failed with exit code 3: no room\."),
        ("exit 3\n", r"failed with exit code 3: it printed no message\."),
        ("echo 0-0\n", r"one line of links for each of 20 pairs, but wrote 1 lines"),
        ('sed "s/.*/0-9/" "$2"\n', r"a link outside pair 1: '0-9'"),
        ('sed "s/.*/nan/" "$2"\n', r"wrote 'nan' for pair 1"),
        ('sed "s/.*/0-0:0.5/" "$2"\n', r"wrote '0-0:0.5' for pair 1; links must be like 0-0"),
    ],
)
def test_program_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, sentence: str) -> None:
    aligner = program(tmp_path, monkeypatch, "fast_align", body)
    with pytest.raises(InputError, match=sentence):
        aligner.align(PAIRS)


# eflomal-align -i FILE -f FORWARD [-r REVERSE]: both directions in one run.
EFLOMAL = 'sed "s/.*/0-0/" "$2" > "$4"\nif [ "$5" = -r ]; then sed "s/.*/0-0 1-1/" "$2" > "$6"; fi\n'


@pytest.mark.parametrize(
    ("how", "links"), [("intersect", [(0, 0)]), ("union", [(0, 0), (1, 1)]), ("forward", [(0, 0)])]
)
def test_eflomal_program(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
    links: list[tuple[int, int]],
) -> None:
    aligner = program(tmp_path, monkeypatch, "eflomal-align", EFLOMAL)
    assert aligner.align(PAIRS, how) == ([links] * len(PAIRS), None)
    # Nobody should learn from two different data-bins that its sampler takes no seed.
    assert "cannot be seeded" in caplog.text


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A file of lines, alone in its folder."""
    file = tmp_path / "alone" / "words"
    file.parent.mkdir()
    file.write_text("".join(aligner_line(pair) + "\n" for pair in PAIRS), encoding="utf-8")
    return file


@pytest.mark.parametrize(("name", "how"), [("fast_align", "forward"), ("eflomal", "intersect")])
def test_a_file_has_the_links_of_its_pairs_and_nothing_stays_beside_it(words: Path, name: str, how: str) -> None:
    aligner = aligners.build(name)
    links, probabilities = aligner.align(PAIRS, how)
    items = list(aligner.align_file(words, how))
    assert [item.links for item in items] == links
    assert [item.probabilities for item in items] == (probabilities or [None] * len(PAIRS))
    assert list(words.parent.iterdir()) == [words]


def test_a_file_that_is_not_read_to_its_end_leaves_nothing_beside_it(words: Path) -> None:
    items = aligners.build("fast_align").align_file(words)
    assert next(items).links == [(0, 0), (1, 1)]
    items.close()  # type: ignore[attr-defined]
    del items
    assert list(words.parent.iterdir()) == [words]


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aligner = program(tmp_path, monkeypatch, "fast_align", FORWARD_0_0_REVERSE_0_1)

    def peak(lines: int) -> int:
        file = tmp_path / "words"
        file.write_text(aligner_line(PAIRS[0]) + "\n", encoding="utf-8")
        file.write_bytes(file.read_bytes() * lines)
        tracemalloc.start()
        assert sum(len(item.links) for item in aligner.align_file(file)) == lines
        (_, highest) = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(10)
    assert peak(20_000) < peak(1_000) + 100_000  # the lines themselves have 400,000 bytes


def test_lines_hold_one_token_a_word() -> None:
    pair = (["A\u3000B", "|||", ""], ["\x85", "x|||y"])
    assert aligner_line(pair) == "a_b _ _ ||| _ x|||y"
    assert [one_side(words, cased=True) for words in pair] == ["A_B _ _", "_ x|||y"]


def test_eflomals_schedule_is_run_to_its_end(words: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """sil-thot sets the schedule when training starts: before that it tells another number."""
    model = eflomal.trained(1, PAIRS)
    passes = capfd.readouterr().err.count("ITERATION")
    assert passes == model.scheduled_iterations == eflomal._training_passes(len(PAIRS)) > 48


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


def test_dropped_lines_take_their_links_with_them(tmp_path: Path) -> None:
    aligner = given_links(tmp_path, "links", "0-0", "9-9", "1-1", "0-1")
    aligner.line_idxs = (n for n in (0, 2))
    assert aligner.align([TWO_BY_TWO] * 2).links == [[(0, 0)], [(1, 1)]]


def test_lines_of_links_may_end_in_a_carriage_return_and_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "links").write_bytes(b"\xef\xbb\xbf0-0\r\n1-1\r\n")
    assert PrecomputedLinks(tmp_path / "links", 2).align([TWO_BY_TWO] * 2).links == [[(0, 0)], [(1, 1)]]


def test_links_that_count_words_from_1(tmp_path: Path) -> None:
    lines = ["1-1 2-2", "1-2", "2-1", "2-2", "1-1"]
    with pytest.raises(
        InputError, match=r"links seems to count words from 1, because no link contains a 0\. Give --links-from 1"
    ):
        given_links(tmp_path, "links", *lines)
    aligner = PrecomputedLinks(tmp_path / "links", 5, first_word=1)
    assert aligner.align([TWO_BY_TWO] * 5).links == [[(0, 0), (1, 1)], [(0, 1)], [(1, 0)], [(1, 1)], [(0, 0)]]
    told = PrecomputedLinks(tmp_path / "links", 5, first_word=0)
    assert told.sha256 == aligner.sha256
    with pytest.raises(InputError, match="link 2-2 points outside"):
        told.align([TWO_BY_TWO] * 5)
    # A 0 on either side, or few lines, and the file counts from 0.
    for lines in (["1-0:0.1", *["1-1:0.1"] * 5], ["0-1", *["1-1"] * 5], ["1-1", "", "", "", "", "1-1"]):
        assert given_links(tmp_path, "links", *lines).align([TWO_BY_TWO] * 6).links[-1] == [(1, 1)]
    (tmp_path / "links").write_text("1-1\n0-1\n")
    with pytest.raises(InputError, match="links line 2: link 0-1 has a word 0, but with --links-from 1 words count"):
        PrecomputedLinks(tmp_path / "links", 2, first_word=1).align([TWO_BY_TWO] * 2)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (("0-0:0.5", "", "0-0:0.5 1-1"), r"links line 3: link 1-1 has no probability, but the first link .* has one\."),
        (("", "0-0", "1-1:0.5"), r"links line 3: link 1-1 has a probability, but the first link .* has none\."),
        (("0-0:0.5 1-1",), r"links line 1: link 1-1 has no probability"),
        (
            ("0-0:0.5", "0-0:2"),
            r"links line 2: links must be like .* above 0 and at most 1 .* but one is '0-0:2'",
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
