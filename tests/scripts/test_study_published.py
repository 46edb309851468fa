"""The evaluation sets of the study on a published encoder: English first, and nothing half done."""

import io
import sys
import tarfile
from pathlib import Path

import pytest
import study_published
from weam_preprocess import words

from weam_fairseq.common.errors import InputError
from weam_fairseq.study.config import read_config


def pack(file: Path, names: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:xz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    (folder / "bitext").mkdir(parents=True)
    (folder / "gold_alignments").mkdir()
    for name in study_published.ARCHIVES:
        pack(folder / "eval" / f"{name}.tar.xz", [f"{name}/file"])
    for name, _ in study_published.GOLD.values():
        (folder / "gold_alignments" / f"{name}.src-tgt").write_text("ein Haus ||| a house\n", encoding="utf-8")
        (folder / "gold_alignments" / f"{name}.gold").write_text("0-1 1p0\n", encoding="utf-8")
    return folder


def test_sides_and_links_are_turned_where_the_other_language_comes_first(source: Path, tmp_path: Path) -> None:
    study_published.prepare(source, tmp_path / "data")
    gold = tmp_path / "data" / "gold_alignments"
    assert (gold / "gold.en-de.src-tgt").read_text() == "a house ||| ein Haus\n"
    assert (gold / "gold.en-de.gold").read_text() == "1-0 0p1\n"
    assert (gold / "gold.en-fr.gold").read_text() == "0-1 1p0\n"
    assert len(list(gold.iterdir())) == 2 * len(study_published.GOLD)
    assert (tmp_path / "data" / "bitext").resolve() == source / "bitext"
    assert (tmp_path / "data" / "tatoeba" / "file").is_file()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("eval/tatoeba.tar.xz", None, "lacks .*tatoeba.tar.xz"),
        ("eval/tatoeba.tar.xz", b"no archive", "must be a whole tar archive, but cannot be unpacked"),
        ("eval/tatoeba.tar.xz", ["other/file"], "must hold a folder tatoeba, but does not"),
        ("eval/tatoeba.tar.xz", ["/tatoeba/../../file"], "cannot be unpacked"),
        ("gold_alignments/de-en.dev.gold", b"0:1\n", r"must be i-j or ipj, but is '0:1'"),
        ("gold_alignments/de-en.dev.src-tgt", b"ein Haus\n", r"must be `words \|\|\| words`"),
        ("gold_alignments/de-en.dev.src-tgt", b"\xff\n", "not.*UTF-8"),
    ],
)
def test_what_cannot_be_read_gets_one_sentence(
    source: Path, tmp_path: Path, name: str, content: bytes | list[str] | None, sentence: str
) -> None:
    file = source / name
    file.unlink()
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        pack(file, content)
    with pytest.raises(InputError, match=sentence):
        study_published.prepare(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_the_config_names_what_the_script_writes() -> None:
    config = read_config(study_published.CONFIG)
    assert {config.model(arch).from_hf for arch in config.models} == {study_published.ENCODER}
    assert [config.model(arch).layers for arch in config.models] == [None, 8, 4]
    (alignment,) = (each for each in config.evaluations if each.label == "word-alignment")
    assert set(alignment.languages) == set(study_published.GOLD)
    assert {each.data for each in config.evaluations} == {"tatoeba", "gold_alignments"}


def test_missing_word_packages_are_named_before_anything_is_prepared(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sudachipy", "fugashi", "pythainlp"):
        monkeypatch.setitem(sys.modules, name, None)
    words.segmenter.cache_clear()
    run_dir = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["study_published.py", "--data", str(source), "--run-dir", str(run_dir)])
    with pytest.raises(InputError, match=r"Words of ja need .*pip install sudachipy.*Words of th need .*pythainlp"):
        study_published.main()
    assert not run_dir.exists()
