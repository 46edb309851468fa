"""Kept pairs without links are counted, and those that are too long for the aligner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import GERMAN, write_tsv
from small_runs import options
from weam_preprocess import pipeline
from weam_preprocess.aligners.eflomal import EflomalSampler
from weam_preprocess.report import render


def test_the_limit_is_that_of_thot() -> None:
    from thot.alignment import EflomalAlignmentModel

    assert EflomalSampler.max_words == EflomalAlignmentModel().max_sentence_length


def test_long_pairs_get_no_links_and_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """19 and 20 words; the limit itself is too long for a quick test."""
    monkeypatch.setattr(EflomalSampler, "max_words", 19)
    numbers = [" ".join(["house", *map(str, range(count))]) for count in (18, 19)]
    tsv = write_tsv(tmp_path / "en-de.tsv", [*GERMAN, *((text, text.replace("house", "Haus")) for text in numbers)])
    report = pipeline.run(options(tsv, tmp_path / "bin", aligner="eflomal", symmetrize="forward", valid_size=0))
    noted = json.loads((tmp_path / "bin" / "manifest.json").read_text(encoding="utf-8"))["pairs"]["en-de"]["noted"]
    assert noted["over 19 words, which the aligner leaves without links"] == 1
    assert "over 19 words, which the aligner leaves without links 1" in render(report)


def test_given_lines_without_links_are_counted(tmp_path: Path) -> None:
    tsv = write_tsv(tmp_path / "en-de.tsv", [*GERMAN, GERMAN[0], ("", "leer")])
    (tmp_path / "links").write_text("0-0\n\n\n" + "0-0\n" * 5 + "\n\n")
    asked = options(
        tsv, tmp_path / "bin", valid_size=2, aligner="precomputed", links={"en-de": tmp_path / "links"}, chunk=3
    )
    report = pipeline.run(asked)
    # Those of dropped pairs do not count.
    assert report.pairs[0].account.noted == {"no word link": 2}
    assert "en-de noted: no word link 2" in render(report)
