"""Each bad input gives exit code 2 and one clear sentence, and leaves nothing that looks like a data-bin."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import GERMAN
from weam_preprocess import cli
from weam_preprocess.words import segmenter

TRAIN = ("--train-tokenizer", "wordpiece", "--vocab-size", "100")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], destdir: Path, sentence: str, *arguments: object) -> None:
    code, out, err = run(capsys, *arguments, "--destdir", destdir)
    assert (code, out) == (2, "")
    line = err.strip().splitlines()[-1]
    assert re.search(sentence, line), line
    assert not destdir.exists()
    assert not destdir.with_name(destdir.name + ".incomplete").exists()


def file(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


TSV_CASES = [
    (b"a\tb\xff\nno tab\na\tb\tc\n", r"en-de: none of 3 pairs is left \(dropped: invalid UTF-8 1, not one tab 2\)"),
    (b"", r"bad\.tsv is empty"),
    (b" \tb\na\t \n", r"en-de: none of 2 pairs is left \(dropped: empty side 2\)"),
]


@pytest.mark.parametrize(("content", "sentence"), TSV_CASES)
def test_tsv(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, sentence: str) -> None:
    refused(capsys, tmp_path / "bin", sentence, "--pair", f"en-de={file(tmp_path, 'bad.tsv', content)}", *TRAIN)


STRICT_CASES = [
    (b"a\tb\nno tab here\n", r"bad\.tsv line 2: must hold exactly one tab, .* but holds 0\."),
    (b"a\tb\tc\n", r"line 1: must hold exactly one tab, .* but holds 2\."),
    (b"a\tb\nc\td\xff\n", r"bad\.tsv line 2: byte 4 is not valid UTF-8 \(0xff\)"),
]


@pytest.mark.parametrize(("content", "sentence"), STRICT_CASES)
def test_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, sentence: str) -> None:
    pair = f"en-de={file(tmp_path, 'bad.tsv', content)}"
    refused(capsys, tmp_path / "bin", sentence, "--pair", pair, "--strict", *TRAIN)


def test_files_of_different_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = file(tmp_path, "t.en", "a\nb\n"), file(tmp_path, "t.de", "a\n")
    refused(capsys, tmp_path / "bin", r"t\.en has 2 lines but .*t\.de has 1\.", "--pair", f"en-de={a},{b}", *TRAIN)


PAIR_CASES = [
    (["en-de"], r"must be like en-de=FILE\.tsv or en-de=FILE\.en,FILE\.de, but is 'en-de'"),
    (["ende=x.tsv"], r"must be two language codes joined by a hyphen, like en-de, but is 'ende'"),
    (["en-en=x.tsv"], r"the two languages must differ"),
    (["en-de=a,b,c"], r"one TSV file or two files"),
    (["en-de=a.tsv", "en-de=a.tsv"], r"--pair en-de names a\.tsv twice"),
    (["en-de=nowhere.tsv"], r"nowhere\.tsv does not exist"),
]


@pytest.mark.parametrize(("pairs", "sentence"), PAIR_CASES)
def test_pair_syntax(tmp_path: Path, capsys: pytest.CaptureFixture[str], pairs: list[str], sentence: str) -> None:
    refused(capsys, tmp_path / "bin", sentence, *(x for pair in pairs for x in ("--pair", pair)), *TRAIN)


def test_broken_gz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = file(tmp_path, "x.tsv.gz", gzip.compress(b"a\tb\n" * 99)[:-9])
    refused(
        capsys,
        tmp_path / "bin",
        r"x\.tsv\.gz holds gzip data that are damaged, truncated",
        "--pair",
        f"en-de={half}",
        *TRAIN,
    )


def test_tokenizer_that_is_not_there(de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(
        capsys,
        tmp_path / "bin",
        r"The tokenizer mbert\.json does not exist\. Looked for a Hugging Face tokenizer folder, a tokenizer\.json",
        *("--pair", f"en-de={de_tsv}", "--tokenizer", "mbert.json"),
    )
    refused(
        capsys,
        tmp_path / "bin",
        r"mbert must be a folder on this machine or a model of the Hugging Face Hub, .* run hf download mbert",
        *("--pair", f"en-de={de_tsv}", "--tokenizer", "mbert"),
    )


def test_all_missing_packages_are_named_at_once(
    de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = {"sudachipy", "fugashi", "pythainlp"}
    for module in {*hidden, *(name for name in sys.modules if name.split(".")[0] in hidden)}:
        monkeypatch.setitem(sys.modules, module, None)
    segmenter.cache_clear()
    pairs = [word for pair in ("en-ja", "en-th") for word in ("--pair", f"{pair}={de_tsv}")]
    refused(
        capsys, tmp_path / "bin", "Words of ja need .*sudachidict_core.* Words of th need .*pythainlp", *pairs, *TRAIN
    )


def test_folder_without_tokenizer(de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    arguments = ("--pair", f"en-de={de_tsv}", "--tokenizer", tmp_path / "empty")
    refused(capsys, tmp_path / "bin", r"empty contains no tokenizer\. Looked for tokenizer\.json", *arguments)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "tokenizer.json").write_text('{"version": "1.0", "model": {}}')
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "mask", "unk")}
    (tmp_path / "cut" / "tokenizer_config.json").write_text(json.dumps(names))
    arguments = ("--pair", f"en-de={de_tsv}", "--tokenizer", tmp_path / "cut")
    refused(capsys, tmp_path / "bin", rf"error: {tmp_path}/cut/tokenizer\.json must be a tokenizer\.json", *arguments)


LINKS_CASES = [
    ("0-0\n" * 7, r"links\.align has 7 lines of links, but the input has 8 lines"),
    ("0-0\n" * 3 + "0-0 7-3\n" + "0-0\n" * 4, r"links\.align line 4: link 7-3 points outside the source \(7 words\)\."),
    ("0-99\n" + "0-0\n" * 7, r"link 0-99 points outside the target \(5 words\)\. Align the same files again, or give"),
    ("0:0\n" + "0-0\n" * 7, r"links\.align line 1: links must be like 0-0 1-2, or .*, but one is '0:0'"),
    ("\n0-0:0\n" + "0-0:1\n" * 6, r"links\.align line 2: .* above 0 and at most 1 .*, but one is '0-0:0'"),
    ("0-0:1\n" * 7 + "0-0\n", r"links\.align line 8: link 0-0 has no probability, but the first link of the file has"),
]


@pytest.mark.parametrize(("content", "sentence"), LINKS_CASES)
def test_links(de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, sentence: str) -> None:
    links = file(tmp_path, "links.align", content)
    arguments = ("--pair", f"en-de={de_tsv}", *TRAIN, "--aligner", "precomputed", "--links", f"en-de={links}")
    refused(capsys, tmp_path / "bin", sentence, *arguments)


def test_links_with_and_without_probabilities(
    de_tsv: Path, zh_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    german, chinese = file(tmp_path, "de.align", "0-0:0.5\n" * 8), file(tmp_path, "zh.align", "\n0-0\n\n\n\n")
    arguments = ("--aligner", "precomputed", "--links", f"en-de={german}", "--links", f"en-zh={chinese}")
    pairs = ("--pair", f"en-de={de_tsv}", "--pair", f"en-zh={zh_tsv}")
    sentence = r"Either all files .* probabilities \(i-j:p\) or none, but .*de\.align does and .*zh\.align does not\."
    refused(capsys, tmp_path / "bin", sentence, *pairs, *TRAIN, *arguments)


FLAG_CASES = [
    (["--aligner", "precomputed"], r"needs the links of en-de\. Add --links en-de=FILE"),
    (["--aligner", "precomputed", "--links", "en-de=nowhere"], r"nowhere does not exist"),
    (["--links", "en-de=x"], r"--links needs --aligner precomputed"),
    (
        ["--aligner", "precomputed", "--links", "en-fr=x"],
        r"--links en-fr: there is no such --pair; the pairs are en-de",
    ),
    (["--valid-size", "8"], r"--valid-size 8 leaves nothing to train on, because only 8 pairs are kept"),
    (["--aligner", "giza"], r"invalid choice: 'giza'.*fast_align.* See weam-preprocess --help"),
    (["--max-pieces", "0"], r"must be a whole number from 1 to 2,147,483,647, but is '0'"),
    (["--vocab-size", "99999999999999999999"], r"from 1 to 2,147,483,647, but is '9{20}'"),
    (["--words", "fr=whitespace"], r"--words fr: no --pair has that language; they are de, en"),
    (["--words", "de=spaces"], r"--words de must be one of moses, .*, but is spaces"),
    (["--save-aligner", "/dev/null/a"], r"/dev/null"),
    (["--max-pieces", "4"], r"none of 8 pairs is left \(dropped: over 4 pieces 8\)"),
]


@pytest.mark.parametrize(("flags", "sentence"), FLAG_CASES)
def test_flags(
    de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], sentence: str
) -> None:
    refused(capsys, tmp_path / "bin", sentence, "--pair", f"en-de={de_tsv}", *TRAIN, *flags)


def test_a_colon_in_the_destination(de_tsv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--pair", f"en-de={de_tsv}", *TRAIN, "--destdir", "run:1"]) == 2
    assert "--destdir must have no colon" in capsys.readouterr().err


def test_columns_of_pairs_in_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = f"en-de={file(tmp_path, 'a.en', 'a')},{file(tmp_path, 'a.de', 'b')}"
    refused(capsys, tmp_path / "bin", "but every --pair has two files", "--pair", pair, *TRAIN, "--columns", "1,2")


def test_by_the_command_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "weam_preprocess.cli", "--pair", "en-de=nowhere.tsv", *TRAIN, "--destdir", "bin"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "weam-preprocess: error: nowhere.tsv does not exist. Check the path.\n"


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    assert end.value.code == 0
    assert "weam-preprocess --pair en-de=" in capsys.readouterr().out


def test_what_is_dropped_and_repaired_is_counted(
    de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\ufeff" + de_tsv.read_text(encoding="utf-8").replace("\n", "\r\n")
    text += "The house is small.\tDas Haus ist klein.\r\n \tleer\r\nA [SEP] B\tA B\r\n\x01\t\x01\r\nsecret\tgeheim\r\n"
    text += "A\u2028line\u0085separator\tis text\r\n" + "a " * 200 + "\tzu lang\r\n"
    messy, exclude = file(tmp_path, "messy.tsv", text), file(tmp_path, "test.tsv", "1\tsecret \tx\n")
    destdir = tmp_path / "bin"
    code, out, _ = run(capsys, "--pair", f"en-de={messy}", *TRAIN, "--exclude", exclude, "--destdir", destdir)
    assert code == 0
    pair = json.loads((destdir / "manifest.json").read_text(encoding="utf-8"))["pairs"]["en-de"]
    assert pair["read"] == 15
    assert pair["dropped"] == {
        "duplicate pair": 1,
        "empty side": 2,
        "in an excluded file": 1,
        "length ratio over 9": 1,
        "special piece in the text": 1,
    }
    assert pair["repaired"] == {"CR at line end": 15, "byte order mark": 1, "control characters": 2}
    assert pair["train"] == 9
    assert "en-de dropped: empty side 2, duplicate pair 1" in out
    rows = [line.split("\t") for line in (destdir / "dropped.tsv").read_text(encoding="utf-8").splitlines()]
    assert [row[2:5] for row in rows[1:] if row[3] == "duplicate pair"] == [["9", "duplicate pair", GERMAN[0][0]]]
    assert "seconds: " in out


def test_sentences_that_the_segmenter_rewrote_are_counted(
    de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("fairseq")
    rewritten = "Moses turns DOTMULTI into dots.\tMoses macht DOTMULTI zu Punkten.\n"
    text = file(tmp_path, "en-de.text.tsv", de_tsv.read_text(encoding="utf-8") + rewritten)
    code, out, _ = run(capsys, "--pair", f"en-de={text}", *TRAIN, "--destdir", tmp_path / "bin")
    assert code == 0
    pair = json.loads((tmp_path / "bin" / "manifest.json").read_text(encoding="utf-8"))["pairs"]["en-de"]
    assert pair["repaired"] == {"de words by white space": 1, "en words by white space": 1}
    assert "en words by white space 1" in out


def test_precomputed_links_follow_their_lines(de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dropped line takes its links with it."""
    pytest.importorskip("fairseq")
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    tsv = file(tmp_path, "x.tsv", "\t\n" + de_tsv.read_text(encoding="utf-8"))
    links = file(tmp_path, "x.align", "5-5\n3-3\n" + "0-0\n" * 7)
    arguments = ("--aligner", "precomputed", "--links", f"en-de={links}", "--destdir", tmp_path / "bin")
    big = ("--train-tokenizer", "wordpiece", "--vocab-size", "400")
    assert run(capsys, "--pair", f"en-de={tsv}", *big, *arguments)[0] == 0
    source_words = MMapIndexedDataset(str(tmp_path / "bin" / "train.words.en-de.en"))[0]
    flat = MMapIndexedDataset(str(tmp_path / "bin" / "train.align.en-de"))[0]
    assert {int(source_words[s]) for s in flat[::2]} == {3}


def test_links_that_count_from_1(de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for first in (0, 1):
        links, destdir = file(tmp_path, f"links{first}", f"{first}-{first}\n" * 8), tmp_path / f"bin{first}"
        words = ("--aligner", "precomputed", "--links", f"en-de={links}", "--links-from", first, "--destdir", destdir)
        assert run(capsys, "--pair", f"en-de={de_tsv}", *TRAIN, *words)[0] == 0
        found.append((destdir / "train.align.en-de.bin").read_bytes())
    assert found[0] == found[1]


def test_an_interrupted_run_is_not_taken_for_a_whole_one(
    de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    destdir, incomplete = tmp_path / "bin", tmp_path / "bin.incomplete"
    arguments = ("--pair", f"en-de={de_tsv}", *TRAIN, "--destdir", destdir)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("weam_preprocess.manifest.write", interrupted)
        assert run(capsys, *arguments)[0] == 130
    assert incomplete.exists()
    assert not destdir.exists()
    stale = file(incomplete, "stale", "")
    assert run(capsys, *arguments)[0] == 0
    assert (destdir / "manifest.json").exists()
    assert not (destdir / stale.name).exists()
    assert not incomplete.exists()


def test_overwrite(de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--pair", f"en-de={de_tsv}", *TRAIN, "--destdir", tmp_path / "bin")
    assert run(capsys, *arguments)[0] == 0
    old = file(tmp_path / "bin", "old", "")
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "exists already" in err
    assert old.exists()
    assert run(capsys, *arguments, "--overwrite")[0] == 0
    assert not old.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "en-de.tsv"}


def test_overwrite_never_removes_what_is_not_a_databin(
    de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "home"
    precious.mkdir()
    file(precious, "thesis.tex", "x")
    code, _, err = run(capsys, "--pair", f"en-de={de_tsv}", *TRAIN, "--destdir", precious, "--overwrite")
    assert (code, (precious / "thesis.tex").exists()) == (2, True)
    assert "has no manifest.json, so --overwrite does not replace it" in err
