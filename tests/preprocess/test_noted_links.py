"""Kept pairs without links are counted, and those that are too long for the aligner."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import GERMAN, write_tsv
from small_runs import options
from weam_preprocess import pipeline
from weam_preprocess.aligners.eflomal import EflomalSampler
from weam_preprocess.cleaning import Rules
from weam_preprocess.report import render


def test_the_limit_is_that_of_thot() -> None:
    from thot.alignment import EflomalAlignmentModel

    assert EflomalSampler.max_words == EflomalAlignmentModel().max_sentence_length


def test_long_pairs_get_no_links_and_are_counted(tmp_path: Path) -> None:
    """1,024 and 1,025 words."""
    numbers = [" ".join(["house", *map(str, range(count))]) for count in (1023, 1024)]
    tsv = write_tsv(tmp_path / "en-de.tsv", [*GERMAN, *((text, text.replace("house", "Haus")) for text in numbers)])
    more = {
        "aligner": "eflomal",
        "symmetrize": "forward",
        "valid_size": 0,
        "max_pieces": 10_000,
        "rules": Rules(max_chars=None),
    }
    asked = options(tsv, tmp_path / "bin", **more)
    report = pipeline.run(asked)
    noted = json.loads((tmp_path / "bin" / "manifest.json").read_text(encoding="utf-8"))["pairs"]["en-de"]["noted"]
    assert noted["over 1,024 words, which the aligner leaves without links"] == 1
    assert noted["no word link"] >= 1
    assert "over 1,024 words, which the aligner leaves without links 1" in render(report)


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
