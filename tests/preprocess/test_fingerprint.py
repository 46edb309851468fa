"""What --resume must find unchanged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import CHINESE, GERMAN, write_tsv
from small_runs import options
from weam_preprocess import description, pipeline
from weam_preprocess.cleaning import Rules
from weam_preprocess.errors import InputError
from weam_preprocess.inputs import parse_pair_files
from weam_preprocess.words import segmenter


def fingerprint(tmp_path: Path, **more: object) -> dict[str, Any]:
    return description.fingerprint(options(tmp_path / "en-de.tsv", tmp_path / "bin", **more), {})


def test_what_it_holds_of_packages(tmp_path: Path) -> None:
    plain = fingerprint(tmp_path)
    assert plain["segmenters"] == {"de": segmenter("de").name, "en": segmenter("en").name}
    assert segmenter("de").name.startswith("sacremoses ")
    assert not {"sentencepiece", "py3langid"} & plain["versions"].keys()
    assert "sentencepiece" in fingerprint(tmp_path, train_tokenizer="bpe")["versions"]
    assert "py3langid" in fingerprint(tmp_path, rules=Rules(min_language_score=0.1))["versions"]
    assert fingerprint(tmp_path, given_words={"en-de": tmp_path / "words"})["segmenters"] == {}


def test_which_links_belong_to_which_pair(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert fingerprint(tmp_path, links={"en-de": one, "en-zh": other}) != fingerprint(
        tmp_path, links={"en-zh": one, "en-de": other}
    )


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
    with pytest.raises(InputError, match=r"but these differ: segmenters\. Leave --resume out"):
        pipeline.run(asked)
