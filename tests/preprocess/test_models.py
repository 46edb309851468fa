"""Train once, apply to new text: ours and sil-thot's for real, the programs' models through stand-ins."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from weam_preprocess import aligners
from weam_preprocess.aligners.lines import aligner_line
from weam_preprocess.errors import InputError

PAIRS = [
    (["the", "House"], ["das", "Haus"]),
    (["the", "book"], ["das", "Buch"]),
    (["a", "book"], ["ein", "Buch"]),
    (["a", "House"], ["ein", "Haus"]),
    (["the", "small", "House"], ["das", "kleine", "Haus"]),
] * 4
NEW = [(["a", "small", "book"], ["ein", "kleines", "Buch"]), (["the", "House", "sleeps"], ["das", "Haus", "schläft"])]


def write_words(file: Path, pairs: list[tuple[list[str], list[str]]]) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(aligner_line(pair) + "\n" for pair in pairs), encoding="utf-8")
    return file


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return write_words(tmp_path / "text" / "words", PAIRS)


@pytest.mark.parametrize("name", ["fast_align", "eflomal"])
def test_a_model_is_applied_to_its_own_text_and_to_words_that_it_has_never_seen(
    words: Path, tmp_path: Path, name: str
) -> None:
    """Its own text gets the links of training."""
    model = tmp_path / "model"
    aligners.train(name, words, model)
    for how in ("grow-diag-final-and", "forward"):
        trained = list(aligners.build(name).align_file(words, how))
        assert list(aligners.build(name, model=model).align_file(words, how)) == trained
    assert list(words.parent.iterdir()) == [words]
    found = list(aligners.build(name, model=model).align_file(write_words(tmp_path / "new", NEW), "union"))
    assert len(found) == len(NEW)
    for item, (source, target) in zip(found, NEW, strict=True):
        assert all(i < len(source) and j < len(target) for i, j in item.links)
        if name == "fast_align":
            assert item.probabilities is not None
            assert all(0 < p <= 1 for p in item.probabilities)
    assert {(0, 0), (2, 2)} <= set(found[0].links)


def test_a_sample_is_trained_on_all_pairs_get_links_and_both_are_said(
    words: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every second of 20 pairs, as at most 13 may be."""
    found = list(aligners.build("fast_align", sample=13).align_file(words))
    assert "fast_align is trained on 10 of 20 pairs (--aligner-sample) and applied to all" in caplog.text
    half = write_words(tmp_path / "half", PAIRS[::2])
    aligners.train("fast_align", half, tmp_path / "of_half")
    assert found == list(aligners.build("fast_align", model=tmp_path / "of_half").align_file(words))
    aligners.train("fast_align", words, tmp_path / "model", sample=13)
    assert json.loads((tmp_path / "model" / "aligner.json").read_text())["details"]["sampled_pairs"] == 10


@pytest.mark.parametrize("more", [{"implementation": "program"}, {"model": Path("any")}])
@pytest.mark.parametrize("option", [{"sample": 9}, {"agreement": False}])
def test_options_of_a_training_that_does_not_happen(more: dict[str, Any], option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"are for training our fast_align, but this run uses (?:the program|a model)"):
        aligners.build("fast_align", **more, **option)


def test_the_same_text_gives_the_same_model_which_is_never_overwritten(words: Path, tmp_path: Path) -> None:
    cards = []
    for name in ("one", "two"):
        aligners.train("eflomal", words, tmp_path / name, seed=7)
        cards.append((tmp_path / name / "aligner.json").read_bytes())
    assert cards[0] == cards[1]
    card = json.loads(cards[0])
    assert (card["name"], card["details"], card["trained_on"]["pairs"]) == ("eflomal (sil-thot)", {"seed": 7}, 20)
    # The training text is nobody's business who applies the model.
    assert [card["files"][f"forward.{end}"]["bytes"] for end in ("src", "trg", "srctrgc")] == [0, 0, 0]
    # The manifest names the very model.
    first, second = (aligners.build("eflomal", model=tmp_path / name).version for name in ("one", "two"))
    assert first == second
    with pytest.raises(InputError, match="two exists already"):
        aligners.train("eflomal", words, tmp_path / "two")
    aligners.train("eflomal", words, tmp_path / "three", seed=8)
    assert aligners.build("eflomal", model=tmp_path / "three").version != first


def test_a_training_that_fails_leaves_nothing(words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path / "bin", monkeypatch, "fast_align", "import sys; sys.exit('no room')")
    with pytest.raises(InputError, match="exit code 1: no room"):
        aligners.train("fast_align", words, tmp_path / "model", implementation="program")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "text"]
    assert list(words.parent.iterdir()) == [words]


@pytest.mark.parametrize("name", ["encoder", "precomputed", "giza"])
def test_what_is_not_trained(words: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(
        InputError,
        match=f"fast_align, eflomal(?: can be trained|, encoder, precomputed), but (?:the aligner )?is '{name}'",
    ):
        aligners.train(name, words, tmp_path / "model")


def test_folders_that_are_no_model_of_the_aligner(words: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere has no aligner\.json"):
        aligners.build("eflomal", model=tmp_path / "nowhere")
    model = tmp_path / "model"
    aligners.train("fast_align", words, model)
    with pytest.raises(InputError, match=r"holds a model of fast_align \(agreement\), but the aligner is eflomal"):
        aligners.build("eflomal", model=model)

    table = model / "tables.npz"
    content = table.read_bytes()
    table.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"tables\.npz must have [0-9,]+ bytes, but is truncated or missing"):
        aligners.build("fast_align", model=model)
    table.write_bytes(content)

    card = (model / "aligner.json").read_text(encoding="utf-8")
    (model / "aligner.json").write_text(card.replace("weam-aligner/1", "weam-aligner/9"), encoding="utf-8")
    with pytest.raises(InputError, match="format 'weam-aligner/9', but this version reads 'weam-aligner/1'"):
        aligners.build("fast_align", model=model)
    for wrong, sentence in (
        ("[]", r"aligner\.json must be an object, but is a list\. Train the aligner again"),
        (card.replace("tables.npz", "../tables.npz"), "must name files by plain names"),
        (
            card.replace('"details": {', '"details": 1, "x": {'),
            "must have an object as `details`, but has a whole number",
        ),
        (card.replace('"bytes": ', '"bytes": 1e999, "x": '), "must hold numbers of at most 100 digits"),
    ):
        (model / "aligner.json").write_text(wrong, encoding="utf-8")
        with pytest.raises(InputError, match=sentence):
            aligners.build("fast_align", model=model)


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    script = folder / name
    script.write_text(f"#!{sys.executable}\n{body}")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


# Speaks as the program does: what it prints while it trains, its table, and its lines when it applies one.
FAST_ALIGN = """
import os, sys
flags = sys.argv[1:]
value = lambda flag: flags[flags.index(flag) + 1]
lines = open(value("-i"), encoding="utf-8").read().splitlines()
reverse = "-r" in flags
if "-f" in flags:
    table = open(value("-f"), encoding="utf-8").read().splitlines()
    numbers = (value("-T"), value("-m"), "-d" in flags, [row.split("\\t")[0] for row in table])
    assert numbers == (("7.5", "0.8", True, ["rev"]) if reverse else ("4.25", "1.25", True, ["fwd"])), numbers
    for number, line in enumerate(lines):
        links = "" if number == 0 else " 0-0"
        print(f"{line} |||{links} ||| -1.5")
else:
    print("expected target length = source length * " + ("0.8" if reverse else "1.25"), file=sys.stderr)
    for tension in ("3", "7.5" if reverse else "4.25"):
        print("ITERATION 1", "     final tension: " + tension, file=sys.stderr, sep="\\n")
    if "-p" in flags:
        assert float(value("-t")) < -1000
        with open(value("-p"), "w", encoding="utf-8") as table:
            rows = ["rev\\tb\\t-0.5"] if reverse else ["fwd\\tb\\t-20.7", "unlikely\\tc\\t-20.8", "never\\td\\t-115"]
            table.write("".join(row + "\\n" for row in rows))
    print("\\n".join("0-0" for _ in lines))
"""


def test_model_of_the_fast_align_program(words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each direction gets its own table and numbers, the last tension of all, and only what is above unseen words."""
    stand_in(tmp_path / "bin", monkeypatch, "fast_align", FAST_ALIGN)
    model = tmp_path / "model"
    aligners.train("fast_align", words, model, implementation="program")
    assert sorted(path.name for path in model.iterdir()) == ["aligner.json", "forward", "reverse"]
    aligner = aligners.build("fast_align", model=model)
    assert aligner.name == "fast_align (program)"
    # The program prints the sentences too, and words may look like what separates them.
    new = write_words(tmp_path / "new", [(["a"], ["b"]), (["x|||y"], ["|||0-5"])])
    assert [item.links for item in aligner.align_file(new, "intersect")] == [[], [(0, 0)]]
    assert [item.links for item in aligner.align_file(new, "forward")] == [[], [(0, 0)]]
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(InputError, match="The program fast_align of this model must be on the PATH"):
        aligners.build("fast_align", model=model)


def test_a_program_that_does_not_print_its_numbers(
    words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "bin", monkeypatch, "fast_align", FAST_ALIGN.replace("final tension", "tension"))
    with pytest.raises(InputError, match="must print 'final tension:' while it trains, but did not"):
        aligners.train("fast_align", words, tmp_path / "model", implementation="program")


EFLOMAL_ALIGN = """
import sys
flags = sys.argv[1:]
value = lambda flag: flags[flags.index(flag) + 1]
link = open(value("-p")).read() if "-p" in flags else "0-0"
lines = open(value("-i"), encoding="utf-8").read().splitlines()
for flag in ("-f", "-r"):
    if flag in flags:
        open(value(flag), "w").write("".join(link + "\\n" for _ in lines))
"""
EFLOMAL_MAKEPRIORS = """
import sys
flags = sys.argv[1:]
value = lambda flag: flags[flags.index(flag) + 1]
assert all(open(value(flag)).read() == "0-0\\n" * 20 for flag in ("-f", "-r")), flags
open(value("-p"), "w").write("1-1")
"""


def test_model_of_the_eflomal_program(words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its priors come from the links of both directions, and a new text is aligned with them."""
    stand_in(tmp_path / "bin", monkeypatch, "eflomal-align", EFLOMAL_ALIGN)
    model = tmp_path / "model"
    with pytest.raises(InputError, match="eflomal-makepriors must be on the PATH"):
        aligners.train("eflomal", words, model, implementation="program")
    stand_in(tmp_path / "bin", monkeypatch, "eflomal-makepriors", EFLOMAL_MAKEPRIORS)
    aligners.train("eflomal", words, model, implementation="program")
    found = aligners.build("eflomal", model=model).align_file(write_words(tmp_path / "new", NEW))
    assert [item.links for item in found] == [[(1, 1)], [(1, 1)]]
