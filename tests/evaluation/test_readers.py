"""Readers take what the formats allow and refuse the rest with file and line."""

from pathlib import Path

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.readers import read_linked_pairs, read_pairs


def test_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_bytes("one\u2028two\teins\r\nthree\x85\tdrei\u00a0vier\n".encode())
    assert [tuple(pair) for pair in read_pairs(file)] == [("one\u2028two", "eins"), ("three", "drei\u00a0vier")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\tb\nno tab\n", r"pairs\.tsv:2: .*has 0 tabs"),
        (b"a\tb\tc\na\tb\n", r"pairs\.tsv:1: .*has 2 tabs"),
        (b"a\tb\n \tb\n", r"pairs\.tsv:2: one side is empty"),
        (b"a\tb\na\tb\xff\n", r"pairs\.tsv line 2: byte 4 \(0xff\) is not valid UTF-8"),
        (b"a\tb\n", r"pairs\.tsv has 1 pairs, but a dev half and a test half need at least 2"),
    ],
)
def test_bad_pairs(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_pairs(file)


def test_sure_and_possible_links_are_read(tmp_path: Path) -> None:
    words, gold = tmp_path / "words", tmp_path / "gold"
    words.write_text("a b ||| c d\u00a0e f\nx ||| y\n", encoding="utf-8")
    gold.write_text("1-2 0p0 0-1 1-2\n\n")
    first, second = read_linked_pairs(words, gold)
    assert first.target_words == ["c", "d\u00a0e", "f"]
    assert first.gold.sure == {(0, 1), (1, 2)}
    assert first.gold.possible == {(0, 0), (0, 1), (1, 2)}
    assert second.gold == (frozenset(), frozenset())


@pytest.mark.parametrize(
    ("words", "gold", "message"),
    [
        ("a ||| b\na ||| b\n", "0-0\n", r"words has 2 lines but .*gold has 1"),
        ("a ||| b\na b\n", "0-0\n0-0\n", r"words:2: .*has 0 separators"),
        ("a ||| b\na ||| \n", "0-0\n\n", r"words:2: one side has no words"),
        ("a ||| b\na ||| b\n", "0-0\n0:0\n", r"gold:2: '0:0' is not a link"),
        ("a ||| b\na b ||| b\n", "0-0\n2-0\n", r"gold:2: link 2-0 points outside the source \(2 words"),
        ("a ||| b\na b ||| b\n", "0p1\n\n", r"gold:1: link 0-1 points outside the target \(1 words"),
    ],
)
def test_bad_links(tmp_path: Path, words: str, gold: str, message: str) -> None:
    (tmp_path / "words").write_text(words)
    (tmp_path / "gold").write_text(gold)
    with pytest.raises(InputError, match=message):
        read_linked_pairs(tmp_path / "words", tmp_path / "gold")


@pytest.mark.parametrize(
    ("gold", "sign"),
    [
        # A last word that is linked by its number from 1 tells it in one line.
        ("1-1 2-2\n\n", "line 1 links word 2 of 2 and 2 words as 2-2"),
        ("1-1\n1-2\n", "line 2 links word 2 of 1 and 2 words as 1-2"),
    ],
)
def test_gold_that_counts_from_1_is_known_by_the_last_words(tmp_path: Path, gold: str, sign: str) -> None:
    words = tmp_path / "words"
    words.write_text("a b ||| c d\na ||| c d\n")
    (tmp_path / "gold").write_text(gold)
    with pytest.raises(
        InputError, match=f"gold seems to count words from 1, .* contains a 0, and {sign}. Give --gold-from 1"
    ):
        read_linked_pairs(words, tmp_path / "gold")
    first, second = read_linked_pairs(words, tmp_path / "gold", first_word=1)
    assert [min(first.gold.sure), *sorted(second.gold.sure)] in ([(0, 0)], [(0, 0), (0, 1)])
