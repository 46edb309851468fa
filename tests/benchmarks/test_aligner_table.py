"""benchmarks/aligners.py on a corpus of a few lines."""

from __future__ import annotations

import importlib.util
import json
import lzma
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "aligners.py"
BITEXT = [("the house", "das Haus"), ("the book", "das Buch"), ("a book", "ein Buch"), ("a house", "ein Haus")] * 3


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_aligners", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The gold set de-en: German first, in the bitext English first."""
    for name in ("bitext", "gold_alignments"):
        (tmp_path / name).mkdir()
    text = "".join(f"{english}\t{german}\n" for english, german in BITEXT)
    (tmp_path / "bitext" / "en-de.tsv.xz").write_bytes(lzma.compress(text.encode()))
    gold = tmp_path / "gold_alignments"
    (gold / "de-en.dev.src-tgt").write_text("Das Haus ||| The house\nein Buch ||| a book\n", encoding="utf-8")
    (gold / "de-en.dev.gold").write_text("0-0 1-1\n0-0 1--1 0p1\n", encoding="utf-8")
    return tmp_path


def test_rows_are_kept_and_the_table_goes_between_its_marks(
    benchmark: ModuleType, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without the programs, wherever they are
    results, page = tmp_path / "results.jsonl", tmp_path / "page.md"
    page.write_text(f"before\n{benchmark.BEGIN}\nold\n{benchmark.END}\nafter\n", encoding="utf-8")
    options = ["--results", str(results), "--table", str(page)]
    assert benchmark.main(["--data", str(data), "--pairs", "de-en", "--aligners", "fast_align", *options]) == 0
    row, apart = map(json.loads, results.read_text(encoding="utf-8").splitlines())
    assert apart["aligner"] == "fast_align (independent)"
    assert (row["pair"], row["aligner"], row["trained_on"], row["gold"]) == ("de-en", "fast_align (agreement)", 14, 2)
    # `1--1` is no link; the link 1-1 of the second pair is then no sure one, and all three sure ones are found.
    assert row["gold_items_left_out"] == 1
    assert row["scores"]["intersect"] == {"aer": pytest.approx(100 / 7), "precision": 75.0, "recall": 100.0}
    table = page.read_text(encoding="utf-8")
    assert table.startswith(f"before\n{benchmark.BEGIN}\n| pair |")
    assert table.endswith(f"{benchmark.END}\nafter\n")
    assert "| 14.3 (75.0 / 100.0) |" in table

    # What is measured is not measured again.
    before = results.read_bytes()
    benchmark.main(["--data", str(data), "--pairs", "de-en", "--aligners", "fast_align", *options])
    assert results.read_bytes() == before
