"""What --resume must find unchanged."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import CHINESE, GERMAN, write_tsv
from small_runs import options
from weam_preprocess import inputs, manifest, pipeline
from weam_preprocess.cleaning import Rules
from weam_preprocess.corpus import parse_pair_files
from weam_preprocess.errors import InputError
from weam_preprocess.words import segmenter


def fingerprint(tmp_path: Path, **more: object) -> dict[str, Any]:
    asked = options(write_tsv(tmp_path / "en-de.tsv", GERMAN), tmp_path / "bin", **more)
    return manifest.fingerprint(asked, {}, inputs.digests(asked))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_what_it_holds_of_packages(tmp_path: Path) -> None:
    plain = fingerprint(tmp_path)
    assert plain["segmenters"] == {"de": segmenter("de").name, "en": segmenter("en").name}
    assert segmenter("de").name.startswith("sacremoses ")
    assert not {"sentencepiece", "py3langid"} & plain["versions"].keys()
    assert "sentencepiece" in fingerprint(tmp_path, train_tokenizer="bpe")["versions"]
    assert "py3langid" in fingerprint(tmp_path, rules=Rules(min_language_score=0.1))["versions"]
    assert fingerprint(tmp_path, given_words={"en-de": write(tmp_path / "words", "a")})["segmenters"] == {}


def test_which_links_belong_to_which_pair(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", "0-0\n"), write(tmp_path / "other", "0-1\n")
    assert fingerprint(tmp_path, links={"en-de": one, "en-zh": other}) != fingerprint(
        tmp_path, links={"en-zh": one, "en-de": other}
    )


def test_the_content_of_every_input_counts_and_not_its_name_or_time(tmp_path: Path) -> None:
    names = ("links", "given_words", "exclude", "tokenizer")
    files = {name: write(tmp_path / name, "old\n") for name in names}

    def found() -> dict[str, Any]:
        more: dict[str, object] = {"links": {"en-de": files["links"]}, "given_words": {"en-de": files["given_words"]}}
        return fingerprint(tmp_path, **more, exclude=(files["exclude"],), tokenizer=files["tokenizer"])

    before = found()
    for name in names:
        stat = files[name].stat()
        write(files[name], "new\n")
        os.utime(files[name], ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert found()["inputs"] != before["inputs"], name
        write(files[name], "old\n")
        os.utime(files[name])
        assert found() == before
        files[name] = files[name].rename(tmp_path / f"renamed.{name}")
        assert found() == before


def test_a_tokenizer_folder_is_all_its_files_but_weights(tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    write(folder / "vocab.txt", "a\n")
    before = fingerprint(tmp_path, tokenizer=folder)
    write(folder / "model.safetensors", "")
    assert fingerprint(tmp_path, tokenizer=folder) == before
    write(folder / "tokenizer_config.json", "{}")
    assert fingerprint(tmp_path, tokenizer=folder) != before


def test_another_segmenter_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when jieba is there in place of rjieba, or a newer one."""
    files = [write_tsv(tmp_path / "en-de.tsv", GERMAN), write_tsv(tmp_path / "en-zh.tsv", CHINESE)]
    pairs = tuple(parse_pair_files([f"en-de={files[0]}", f"en-zh={files[1]}"]))
    words = {"zh": "whitespace"}
    asked = replace(options(files[0], tmp_path / "bin", words=words, valid_size=0, resume=True), pairs=pairs)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "merge", killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(asked)
    monkeypatch.setattr(segmenter("zh", "whitespace"), "name", "jieba 0.0")
    with pytest.raises(InputError, match=r"but these differ: segmenters \(zh\)\. Run without --resume"):
        pipeline.run(asked)
