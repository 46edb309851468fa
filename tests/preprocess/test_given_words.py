"""Words that the user gives: found again in the raw sentence, or the pair is dropped and counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import options
from weam_preprocess import cli, pipeline
from weam_preprocess.corpus import parse_pair_files
from weam_preprocess.given_words import find_words

TEXT = [("It's raining, John's.", "Es regnet, Herr X."), ("Good bye!", "Auf Wiedersehen!"), ("one two", "eins zwei")]
WORDS = ["It 's raining , John&apos;s . ||| Es regnet , Herr X .", "Good bye ! ||| Auf Wiedersehen !"]
WORDS += ["x ||| eins zwei"]
LINKS = ["1-0 2-1 5-5", "0-0 1-1 2-2", "0-0"]


def write(folder: Path, words: list[str], links: list[str] = LINKS) -> list[str]:
    (folder / "en-de.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in TEXT), encoding="utf-8")
    (folder / "words").write_text("".join(f"{line}\n" for line in words), encoding="utf-8")
    (folder / "links").write_text("".join(f"{line}\n" for line in links))
    return [
        *("--pair", f"en-de={folder / 'en-de.tsv'}", "--train-tokenizer", "wordpiece", "--vocab-size", "80"),
        *("--aligner", "precomputed", "--links", f"en-de={folder / 'links'}", "--destdir", str(folder / "bin")),
        *("--given-words", f"en-de={folder / 'words'}"),
    ]


def test_links_over_given_words_reach_their_pieces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*write(tmp_path, WORDS), "--explain", "1"]) == 0
    shown = capsys.readouterr().out
    # Our own words would be "It", "'s", "raining", ",", "John", "'s", ".": one more than are given.
    assert "John's" in shown.split("words", 1)[1]
    manifest = json.loads((tmp_path / "bin" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["pairs"]["en-de"]["dropped"] == {"given words are not the sentence's": 1}
    assert manifest["pairs"]["en-de"]["words"] == {"en": "given", "de": "given"}
    assert manifest["pairs"]["en-de"]["word_links"] == 6
    assert manifest["options"]["given_words"]["en-de"]["file"] == "words"
    assert "one two" in (tmp_path / "bin" / "dropped.tsv").read_text(encoding="utf-8")


def test_no_segmenter_is_opened_for_given_words(tmp_path: Path) -> None:
    """Not even for a chunk in which no pair is kept: the language may have no segmenter here."""
    write(tmp_path, ["x ||| x", *WORDS[1:]])
    pairs = tuple(parse_pair_files([f"en-xx={tmp_path / 'en-de.tsv'}"]))
    given = {"en-xx": tmp_path / "words"}
    asked = options(tmp_path / "en-de.tsv", tmp_path / "bin", given_words=given, words={"xx": "none"}, valid_size=0)
    links = {"en-xx": tmp_path / "links"}
    report = pipeline.run(replace(asked, pairs=pairs, aligner="precomputed", links=links, chunk=1))
    assert (report.pairs[0].train, report.pairs[0].account.dropped.total()) == (1, 2)


@pytest.mark.parametrize(("words", "found"), [(WORDS[:2], "2 lines, but the input has more"), (WORDS * 2, "has 3")])
def test_a_file_of_another_length_is_refused(
    tmp_path: Path, words: list[str], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(write(tmp_path, words)) == 2
    assert found in capsys.readouterr().err
    assert not (tmp_path / "bin").exists()


def test_a_pair_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*write(tmp_path, WORDS), "--given-words", "en-fr=words"]) == 2
    assert "--given-words en-fr: there is no such --pair" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        *(b"It 's raining", b"a ||| b ||| c", b"It 's rain ||| Es regnet", b"\xff ||| x"),
        *(b" ||| Es regnet", b"It 's raining |||"),
    ],
)
def test_words_that_are_not_the_sentences(line: bytes) -> None:
    assert find_words(line, "It's raining", "Es regnet") is None


word = st.text(st.sampled_from("ab&;'|<今\u0301"), min_size=1, max_size=4).filter(lambda text: "|||" not in text)


@given(st.lists(st.tuples(word, st.booleans()), min_size=1, max_size=6))
def test_spans_cover_the_words_wherever_white_space_stands(words: list[tuple[str, bool]]) -> None:
    text = "".join(part + (" " if space else "") for part, space in words).strip()
    given_words = [part for part, _ in words]
    found = find_words(f"{' '.join(given_words)} ||| x".encode(), text, "x")
    if found is None:  # a mark that clings to the word before it is no word
        assert any(part.startswith("\u0301") for part in given_words[1:])
        return
    assert found.target == [(0, 1)]
    assert ["".join(text[start:end].split()) for start, end in found.source] == given_words
