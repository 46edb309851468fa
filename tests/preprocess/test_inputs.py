"""Files as people have them: names, pipes, archives, marks: each is read, or refused in one sentence."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import re
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from conftest import GERMAN, write_tsv
from small_runs import contents
from weam_preprocess import cli, records
from weam_preprocess.corpus import parse_pair, parse_pair_files
from weam_preprocess.errors import InputError

from weam_fairseq.data.databin import read_manifest

TRAIN = ("--train-tokenizer", "wordpiece", "--vocab-size", "100", "--aligner", "precomputed")
LINKS = "0-0\n" * len(GERMAN)


@pytest.fixture
def plain(de_tsv: Path, tmp_path: Path) -> tuple[list[str], dict[str, bytes]]:
    """Arguments but for --pair and --destdir, and what they make of the plain file."""
    (tmp_path / "links").write_text(LINKS)
    words = [*TRAIN, "--links", f"en-de={tmp_path / 'links'}"]
    assert cli.main(["--pair", f"en-de={de_tsv}", *words, "--destdir", str(tmp_path / "plain")]) == 0
    return words, contents(tmp_path / "plain")


def test_columns_and_json_lines_make_the_data_bin_of_the_plain_file(
    plain: tuple[list[str], dict[str, bytes]], de_tsv: Path, tmp_path: Path
) -> None:
    words, expected = plain
    pairs = [line.split("\t") for line in de_tsv.read_text(encoding="utf-8").splitlines()]
    scored, jsonl = tmp_path / "scored.tsv", tmp_path / "pairs.jsonl"
    scored.write_text("".join(f"{target}\t0.5\t{source}\n" for source, target in pairs), encoding="utf-8")
    jsonl.write_text("".join(json.dumps({"translation": {"en": s, "de": t}}) + "\n" for s, t in pairs))
    for file, more in ((scored, ["--columns", "3,1"]), (jsonl, [])):
        destination = tmp_path / file.stem
        assert cli.main(["--pair", f"en-de={file}", *words, *more, "--destdir", str(destination)]) == 0
        assert contents(destination) == expected


def _parquet(path: Path, columns: dict[str, list[object]]) -> Path:
    """Several row groups, and a column that is not needed."""
    rows = len(next(iter(columns.values())))
    pyarrow.parquet.write_table(pyarrow.table({"id": [b"\xff"] * rows, **columns}), path, row_group_size=2)
    return path


def _rows(de_tsv: Path) -> list[tuple[str, str]]:
    lines = de_tsv.read_text(encoding="utf-8").splitlines()
    return [(source, target) for source, target in (line.split("\t") for line in lines)]


def test_parquet_makes_the_data_bin_of_the_plain_file(
    plain: tuple[list[str], dict[str, bytes]], de_tsv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content decides, so the name may be any. Batches and row groups end anywhere."""
    words, expected = plain
    monkeypatch.setattr(records, "_ROWS", 3)
    rows = _rows(de_tsv)
    nested = _parquet(tmp_path / "nested.parquet", {"translation": [{"en": s, "de": t, "fr": "x"} for s, t in rows]})
    flat = _parquet(tmp_path / "flat", {"de": [t for _, t in rows], "en": [s for s, _ in rows]})
    dotted = _parquet(tmp_path / "dotted", {"src.text": [s for s, _ in rows], "tgt.text": [t for _, t in rows]})
    coded = pyarrow.array([s for s, _ in rows]).dictionary_encode()
    given = _parquet(tmp_path / "given.parquet", {"a": [{"text": t} for _, t in rows], "src": coded})
    for file, more in (
        (nested, []),
        (flat, []),
        (given, ["--columns", "src,a.text"]),
        (dotted, ["--columns", "src.text,tgt.text"]),
    ):
        destination = tmp_path / f"{file.stem}-bin"
        assert cli.main(["--pair", f"en-de={file}", *words, *more, "--destdir", str(destination)]) == 0
        assert contents(destination) == expected
        assert not (destination / "inputs").exists()


def test_a_parquet_row_without_a_text_is_counted(de_tsv: Path, tmp_path: Path) -> None:
    rows = [*_rows(de_tsv), ("alone", None)]
    file = _parquet(tmp_path / "pairs.parquet", {"en": [s for s, _ in rows], "de": [t for _, t in rows]})
    words = ["--pair", f"en-de={file}", *TRAIN[:4], "--destdir", str(tmp_path / "bin")]
    assert cli.main(words) == 0
    pair = json.loads((tmp_path / "bin" / "manifest.json").read_text())["pairs"]["en-de"]
    assert (pair["read"], pair["dropped"]) == (len(rows), {"not a JSON object with both texts": 1})
    assert [file["file"] for part in pair["inputs"] for file in part] == ["pairs.parquet.jsonl"]


NO_COLUMN = (
    r"must have a column translation\.de or de, but has id, en, x, y\. Name the columns .* with --columns SOURCE"
)
UNREADABLE = [
    ("{}", [], NO_COLUMN),
    ("{}", ["--columns", "2,3"], r"--columns must give the names of two columns of .*pairs\.parquet, but is 2,3"),
    ("{}", ["--columns", "en,x"], r"pairs\.parquet: the column x must hold text, but holds int64"),
    (
        "{}",
        ["--columns", "en,y"],
        r"pairs\.parquet: the column y must hold UTF-8 text, but holds other bytes",
    ),
    ("{0},{0}.de", [], r"pairs\.parquet must be the only input of its --pair, because its rows hold both sentences"),
    ("{}.damaged", [], r"pairs\.parquet\.damaged is a Parquet file that cannot be read \(.*\)\. Download it again"),
    ("hub:some/name:en-de", [], r"hub:some/name:en-de needs the package datasets\. Install it: pip install 'datasets"),
]


@pytest.mark.parametrize(("pair", "more", "sentence"), UNREADABLE)
def test_records_that_cannot_be_read_are_refused(
    pair: str,
    more: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    broken = pyarrow.array([b"\xff"]).cast(pyarrow.string(), safe=False)
    file = _parquet(tmp_path / "pairs.parquet", {"en": ["a"], "x": [1], "y": broken})
    (tmp_path / "pairs.parquet.de").write_text("b\n")
    (tmp_path / "pairs.parquet.damaged").write_bytes(file.read_bytes()[:50])
    words = ["--pair", f"en-de={pair.format(file)}", *TRAIN[:4], *more, "--destdir", str(tmp_path / "bin")]
    assert cli.main(words) == 2
    assert re.search(sentence, capsys.readouterr().err)
    assert not (tmp_path / "bin.incomplete").exists()


def test_parquet_without_its_package_names_the_pip_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"PAR1\x15")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert cli.main(["--pair", f"en-de={tmp_path / 'x'}", *TRAIN[:4], "--destdir", str(tmp_path / "bin")]) == 2
    assert "needs the package pyarrow. Install it: pip install pyarrow" in capsys.readouterr().err


def test_a_data_set_makes_the_data_bin_of_the_plain_file(
    plain: tuple[list[str], dict[str, bytes]],
    de_tsv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A local folder, which `datasets` loads as it loads one of the Hub."""
    datasets = pytest.importorskip("datasets", reason="the optional package datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    words, expected = plain
    (tmp_path / "set" / "data").mkdir(parents=True)
    texts: list[object] = [{"en": source, "de": target} for source, target in _rows(de_tsv)]
    for split in ("train", "validation"):
        _parquet(tmp_path / "set" / "data" / f"{split}-00000-of-00001.parquet", {"translation": texts})
    name = f"hub:{tmp_path / 'set'}"
    for number, pair in enumerate((name, f"{name}:default", f"{name}::validation[:100%]")):
        destination = tmp_path / f"bin{number}"
        assert cli.main(["--pair", f"en-de={pair}", *words, "--destdir", str(destination)]) == 0
        assert contents(destination) == expected
    assert cli.main(["--pair", f"en-de={name}::nope", *words, "--destdir", str(tmp_path / "other")]) == 2
    assert "`datasets` cannot load the split nope" in capsys.readouterr().err


@contextmanager
def pipe(path: Path, data: bytes) -> Iterator[Path]:
    """A named pipe that gives `data` to one reader, once."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,), daemon=True)
    writer.start()
    yield path
    writer.join(10)
    assert not writer.is_alive()


def test_pipes_are_read_once(de_tsv: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The tokenizer's training, the digests and the pairs each need the text; links are read twice."""
    text, exclude = de_tsv.read_bytes(), b"It is raining today.\n"
    words = b"".join(_given_words())
    for kind in ("files", "pipes"):
        (tmp_path / kind).mkdir()
    files = {"text": gzip.compress(text), "exclude": exclude, "links": LINKS.encode(), "words": words}
    for name, data in files.items():
        (tmp_path / "files" / name).write_bytes(data)
    assert cli.main(_with_all(tmp_path / "files", tmp_path / "one")) == 0
    with (
        pipe(tmp_path / "pipes" / "text", files["text"]),
        pipe(tmp_path / "pipes" / "exclude", files["exclude"]),
        pipe(tmp_path / "pipes" / "links", files["links"]),
        pipe(tmp_path / "pipes" / "words", files["words"]),
    ):
        assert cli.main(_with_all(tmp_path / "pipes", tmp_path / "other")) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert "text can be read only once, so it is copied to" in caplog.text
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("one", "other")]
    assert manifests[0]["options"] == manifests[1]["options"]
    assert manifests[0]["pairs"] == manifests[1]["pairs"]


def _given_words() -> Iterator[bytes]:
    for source, target in GERMAN:
        yield f"{source} ||| {target}\n".encode()


def _with_all(folder: Path, destdir: Path) -> list[str]:
    return [
        *("--pair", f"en-de={folder / 'text'}", "--exclude", str(folder / "exclude")),
        *("--links", f"en-de={folder / 'links'}", "--given-words", f"en-de={folder / 'words'}"),
        *(*TRAIN, "--explain", "5", "--destdir", str(destdir)),
    ]


def test_errors_name_the_pipe(
    plain: tuple[list[str], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pipe(tmp_path / "pipe", b"a\tb\nno tab\n") as path:
        words = ["--pair", f"en-de={path}", *plain[0], "--strict", "--destdir", str(tmp_path / "bin")]
        assert cli.main(words) == 2
    assert f"{tmp_path / 'pipe'} line 2: must hold exactly one tab" in capsys.readouterr().err
    assert not (tmp_path / "bin.incomplete").exists()


def test_a_pipe_named_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As /dev/stdin is, which has a second name."""
    with pipe(tmp_path / "pipe", b"a\tb\n") as path:
        (tmp_path / "again").symlink_to(path)
        words = ["--pair", f"en-de={path}", "--exclude", str(tmp_path / "again"), *TRAIN[:4]]
        assert cli.main([*words, "--destdir", str(tmp_path / "bin")]) == 2
    assert "again is a pipe and can be read only once, but is named twice" in capsys.readouterr().err


def test_the_content_decides(
    de_tsv: Path, plain: tuple[list[str], dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table says what was decompressed."""
    text = de_tsv.read_bytes()
    de_tsv.write_bytes(bz2.compress(text[:100]) + bz2.compress(b"\n".join(text[100:].split(b"\n"))))
    assert cli.main(["--pair", f"en-de={de_tsv}", *plain[0], "--destdir", str(tmp_path / "bin")]) == 0
    assert contents(tmp_path / "bin") == plain[1]
    assert "\ndecompressed: en-de.tsv (bzip2)\n" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "bin" / "manifest.json").read_text())
    assert manifest["pairs"]["en-de"]["inputs"][0][0]["compression"] == "bzip2"


@pytest.mark.parametrize("where", ["--pair", "--exclude", "--links", "--given-words"])
def test_every_option_refuses_archives_and_cut_files(
    where: str, de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text(LINKS)
    for data, sentence in (
        (b"%PDF-1.7\n", "must hold UTF-8 text, but holds a PDF document"),
        (gzip.compress(b"0-0\n") + gzip.compress(b"0-0\n" * 7)[:-4], "holds gzip data that are damaged, truncated"),
    ):
        bad.write_bytes(data)
        given = {"--pair": f"en-de={de_tsv}", "--links": f"en-de={good}"}
        given[where] = str(bad) if where == "--exclude" else f"en-de={bad}"
        words = [word for option in given.items() for word in option]
        assert cli.main([*words, *TRAIN, "--destdir", str(tmp_path / "bin")]) == 2
        assert f"{bad} {sentence}" in capsys.readouterr().err
        assert not (tmp_path / "bin").exists()


def test_marks_at_the_beginning_of_files_are_no_text(
    plain: tuple[list[str], dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each file of a pair, of links and of given words."""
    mark = "\ufeff"
    for at, language in enumerate(("en", "de")):
        for name, part in (("a", GERMAN[:3]), ("b", GERMAN[3:])):
            text = "".join(pair[at] + "\r\n" for pair in part)
            (tmp_path / f"{name}.{language}").write_text(mark + text, encoding="utf-8", newline="")
    (tmp_path / "links").write_text(mark + LINKS, encoding="utf-8")
    (tmp_path / "words").write_bytes(mark.encode() + b"".join(_given_words()))
    pairs = [f"--pair=en-de={tmp_path / name}.en,{tmp_path / name}.de" for name in ("a", "b")]
    words = [*pairs, *plain[0], "--given-words", f"en-de={tmp_path / 'words'}", "--destdir", str(tmp_path / "bin")]
    assert cli.main(words) == 0
    assert "repaired: CR at line end 16, byte order mark 4" in capsys.readouterr().out
    sides = [f"train.en-de.{language}.bin" for language in ("en", "de")]
    found = contents(tmp_path / "bin")
    assert [found[name] for name in sides] == [plain[1][name] for name in sides]


def test_a_moses_zip(
    plain: tuple[list[str], dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As OPUS has them, with README and LICENSE."""
    path = tmp_path / "de-en.txt.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "read me\n")
        for at, language in enumerate(("en", "de")):
            archive.writestr(f"Books.de-en.{language}", "".join(pair[at] + "\n" for pair in GERMAN))
        archive.writestr("tsv/en-de.tsv", "".join(f"{a}\t{b}\n" for a, b in GERMAN))
    for number, text in enumerate([f"{path}", f"{path}/Books.de-en.en,{path}/Books.de-en.de", f"{path}/tsv/en-de.tsv"]):
        destdir = tmp_path / f"bin{number}"
        assert cli.main(["--pair", f"en-de={text}", *plain[0], "--destdir", str(destdir)]) == 0
        found = contents(destdir)
        assert [name for name in found if found[name] != plain[1][name]] == []
    capsys.readouterr()
    for text, sentence in ((f"en-fr={path}", "ends in .en and one that ends in .fr, but holds Books.de-en.de, Books"),):
        assert cli.main(["--pair", text, *TRAIN[:4], "--destdir", str(tmp_path / "bin")]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["a b.tsv", "a,b.tsv", "a=b.tsv", "größe.tsv", "中文.tsv", os.fsdecode(b"\xff\xfe.tsv"), "-x", "a'\"$.tsv"]
)
def test_names_of_files(
    name: str, plain: tuple[list[str], dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tsv(Path(name), GERMAN)
    assert cli.main(["--pair", f"en-de={name}", *plain[0], "--destdir", "bin"]) == 0
    assert contents(tmp_path / "bin") == plain[1]
    [[file]] = json.loads((tmp_path / "bin" / "manifest.json").read_text(encoding="utf-8"))["pairs"]["en-de"]["inputs"]
    assert file["file"] == os.fsencode(name).decode("utf-8", "replace")
    read_manifest(tmp_path / "bin")


def test_commas_and_a_tilde_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell expands no tilde after an equals sign."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("a,1.en", "a,1.de"):
        Path(name).write_text("a\n")
    assert parse_pair("en-de=a,1.en,a,1.de").parts == ((Path("a,1.en"), Path("a,1.de")),)
    assert parse_pair("en-de=~/a,1.en,~/a,1.de").parts == ((tmp_path / "a,1.en", tmp_path / "a,1.de"),)
    assert parse_pair("en-de=~/none.tsv").parts == ((tmp_path / "none.tsv",),)


@pytest.mark.parametrize(
    "name", ["en-zh_CN", "en-zh_Hans_CN", "eng_Latn-jpn_Jpan", "pt_BR-pt_PT", "sr_Latn-sr_Cyrl", "en-es_419", "EN-DE"]
)
def test_codes_of_languages(name: str) -> None:
    pair = parse_pair(f"{name}=x.tsv")
    assert f"{pair.source_lang}-{pair.target_lang}" == name


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["en-zh-CN=x"], r"but is 'en-zh-CN'\. Write a hyphen inside a code as an underscore: en-zh_CN"),
        (["en=x"], r"two language codes joined by a hyphen, like en-de, but is 'en'\.$"),
        (["en_-=x"], "two language codes joined by a hyphen"),
        (["en-EN=x"], r"the two languages must differ, but both are 'EN'"),
        (["en-de=x", "EN-fr=y"], r"a language must have one code, but one is both en and EN"),
        (["en-de=x,"], "must name one TSV file or two files"),
    ],
)
def test_codes_that_are_refused(texts: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_pair_files(texts)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--tokenizer", "org/encoder", "--valid-size", "9"], "weam-train 'my bin' --from org/encoder --save-dir RUN"),
        (["--tokenizer", "{vocab}", "--valid-size", "9"], "weam-train 'my bin' --from ENCODER --save-dir RUN"),
        (["--train-tokenizer", "bpe"], "weam-train 'my bin' --arch weam_small --save-dir RUN --disable-validation"),
    ],
)
def test_the_next_command_can_be_typed(words: list[str], expected: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").touch()
    given = [word.format(vocab=tmp_path / "vocab.txt") for word in words]
    arguments = cli._parser().parse_args(["--pair", "en-de=x", "--destdir", "my bin", *given])
    assert cli._next_command(arguments) == expected
