"""The text of a tokenizer: the pairs that are kept, each once; a sample that is always the same."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import GERMAN, write_tsv
from small_runs import corpus, options
from weam_preprocess import cli, pipeline
from weam_preprocess.cleaning import Rules
from weam_preprocess.corpus import parse_pair_files
from weam_preprocess.tokenizer_text import TokenizerText, sample


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_kept_pairs_once(chunk: int, tmp_path: Path) -> None:
    tsv = write_tsv(tmp_path / "en-de.tsv", [*GERMAN, ("", "leer"), GERMAN[0], ("secret", "geheim"), ("new", "neu")])
    pairs = parse_pair_files([f"en-de={tsv}"])
    sentences = TokenizerText(pairs, chunk, Rules(), {"secret"})
    wanted = [side for pair in [*GERMAN, ("new", "neu")] for side in pair]
    assert (list(sentences), len(sentences), sentences.total) == (wanted, 18, 18)
    assert list(sentences) == wanted  # as often as one likes
    some = TokenizerText(pairs, chunk, Rules(), {"secret"}, most=7, seed=3)
    assert (len(some), some.total) == (7, 18)
    assert list(some) == list(some) == list(sample(wanted, 18, 7, 3))
    assert list(TokenizerText(pairs, chunk, Rules(), {"secret"}, most=19)) == wanted


def test_a_sample_is_fair() -> None:
    seeds = range(2_000)
    found = Counter(item for seed in seeds for item in sample("abcdefghij", 10, 3, seed))
    assert found.total() == 3 * len(seeds)
    # 600 of each are expected, with a standard deviation of 20.
    assert all(500 < found[item] < 700 for item in "abcdefghij")
    assert all(list(chosen) == sorted(chosen) for chosen in (list(sample("abcdefghij", 10, 3, seed)) for seed in seeds))


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_the_same_sample_gives_the_same_tokenizer(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tsv, found = corpus(tmp_path), {}
    for name, more in {"a": {"chunk": 50}, "b": {"chunk": 7}, "seed": {"seed": 2}}.items():
        how = {"train_tokenizer": kind, "vocab_size": 70, "tokenizer_sample": 60, "aligner": "fast_align", **more}
        pipeline.run(options(tsv, tmp_path / name, **how))
        found[name] = (tmp_path / name / "tokenizer" / "tokenizer.json").read_bytes()
    assert found["a"] == found["b"] != found["seed"]
    assert "trained on 60 of 562 sentences (--tokenizer-sample)" in caplog.text
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["options"]["tokenizer_sample"] == 60
    assert "sentencepiece" in manifest["versions"]


@pytest.mark.parametrize("tokenizer", [["--train-tokenizer", "wordpiece", "--vocab-size", "90"], ["--tokenizer", "x"]])
def test_who_needs_no_sample(tokenizer: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--pair", "en-de=x.tsv", "--destdir", "bin", "--tokenizer-sample", "9"]
    assert cli.main([*words, *tokenizer]) == 2
    assert "--tokenizer-sample is for --train-tokenizer bpe and unigram, which hold" in capsys.readouterr().err
