"""benchmarks/training with shapes of a second: what CI runs of it. No time is judged."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "benchmarks" / "training"
BENCH_IN_FORKS = Path(__file__).with_name("bench_in_forks.py")
sys.path[:0] = [str(BENCH), str(ROOT / "tests" / "plugin")]

import links  # noqa: E402
from figures import table  # noqa: E402
from hand_made_data_bin import random_examples, write_data_bin  # noqa: E402
from shapes import WORKLOADS, operations  # noqa: E402
from texts import evenly, full_rows, open_text  # noqa: E402
from warm_process import run  # noqa: E402


@pytest.fixture(scope="module")
def data_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pairs = {pair: {"train": random_examples(90, seed)} for seed, pair in enumerate(["en-de", "en-es"])}
    return write_data_bin(tmp_path_factory.mktemp("data") / "bin", pairs)


def test_the_smoke_run_measures_all_contestants_and_goes_on_where_it_stopped(data_bin: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    command = (BENCH_IN_FORKS, "--smoke", "--data-bins", data_bin, "--threads", "1")
    command += ("--results", results, "--scratch", tmp_path)
    told = run(*command)
    assert told.returncode == 0, told.stderr
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    full = [row for row in rows if row["part"] == "full"]
    assert [row["contestant"] for row in full] == ["weam", "tlm", "fairseq", "hf", "weam", "tlm", "fairseq"]
    assert all(row["pieces"] == row["grid"] == 4 * 64 for row in full), "full rows have no padding"
    assert len({row["masked"] for row in full if row["round"] == 0}) == 1, "the same tensors for every contestant"
    assert all(0 < row["linked"] <= row["masked"] for row in full if row["contestant"] == "weam")
    # New weights: every piece of the vocabulary is about as likely.
    for row in full:
        losses = 2 if row["contestant"] == "weam" else 1
        assert row["loss"] == pytest.approx(losses * np.log(2000), rel=0.1), row
    assert "| 1. two losses against one of ours | smoke fp32 |" in told.stdout
    assert "| 3. pieces/s, full rows | smoke fp32 |" in told.stdout

    again = run(*command)
    assert again.stdout == told.stdout
    assert len(results.read_text().splitlines()) == len(rows)


def test_full_rows_are_real_pairs_end_to_end_with_links_inside(data_bin: Path) -> None:
    data = open_text([data_bin], one_segment=False).data
    for pairs in full_rows(data, rows=3, length=40, batches=2):
        for pair in pairs:
            assert len(pair.source) + len(pair.target) + data.vocabulary.pair.special_count() == 40
            assert len(pair.links) > 5
            assert (pair.links < [len(pair.source), len(pair.target)]).all()
            # random_examples translates a piece as itself + 15; fairseq ids keep that distance here.
            assert (pair.target[pair.links[:, 1]] == pair.source[pair.links[:, 0]] + 15).all()
            assert (np.diff(pair.source_words) >= 0).all()


def test_batches_that_stand_for_an_epoch_are_spread_over_its_sizes() -> None:
    sizes = np.random.default_rng(1).permutation(100)
    assert evenly(list(sizes), sizes, 4) == [12, 37, 62, 87]


def test_operations_of_one_update_by_hand() -> None:
    """One layer: 12 D² weights and two products of T × D per piece; the head D² + D V per row; three times for all."""
    shape = WORKLOADS["smoke"]._replace(layers=1, width=8, feed_forward=32, vocabulary=100, length=16)
    assert operations(shape, pieces=16, projected=5) == 3 * (16 * (2 * 12 * 64 + 4 * 16 * 8) + 5 * 2 * (64 + 800))


def test_a_ratio_is_of_the_same_round_and_the_bound_of_figure_1_is_printed() -> None:
    common = {"part": "full", "workload": "A", "precision": "fp32", "device": "cpu", "parameters": 1, "threads": 1}
    common |= {"torch": "2", "python": "3", "machine": "m", "pieces": 100, "masked": 30, "grid": 100}
    rows = []
    for round_, (weam, tlm) in enumerate([(3.0, 2.0), (6.0, 4.0), (9.0, 6.0)]):
        rows.append({**common, "contestant": "weam", "round": round_, "seconds": weam, "linked": 15})
        rows.append({**common, "contestant": "tlm", "round": round_, "seconds": tlm, "linked": 15, "head_seconds": 2.0})
    # It had its turn in every other round only.
    rows += [{**common, "contestant": "hf", "round": n, "seconds": s, "linked": 0} for n, s in ((0, 9.0), (2, 27.0))]
    lines = list(table(rows))
    line = next(line for line in lines if line.startswith("| 1. "))
    assert "| 1.50 (1.50–1.50) | ≤ 1.31 = 1.05 × (1 + 0.50 · 0.50) |" in line
    assert "| 3.00 (3.00–3.00) | ≥ 1.5 |" in next(line for line in lines if line.startswith("| 3. "))


def test_utilisation_of_a_gpu_by_hand() -> None:
    """1e14 operations in a second are 10 % of 1,000 TFLOP/s; Hugging Face projects every piece."""
    pieces, linked, masked = 4096, 700, 1200
    common = {
        "part": "full",
        "workload": "G × 32",
        "precision": "bf16",
        "device": "cuda",
        "parameters": 1,
        "threads": 1,
    }
    common |= {"torch": "2", "python": "3", "machine": "m", "gpu": "a GPU", "peak_tflops": 1000.0, "round": 0}
    common |= {"pieces": pieces, "masked": masked, "linked": linked, "grid": pieces}
    rows = [
        {**common, "contestant": "weam", "seconds": operations(WORKLOADS["G"], pieces, masked + linked) / 1e14},
        {**common, "contestant": "hf", "linked": 0, "seconds": operations(WORKLOADS["G"], pieces, pieces) / 5e14},
    ]
    lines = list(table(rows))
    assert lines[0].startswith("a GPU; m; ")
    weam, hf = (line for line in lines if line.startswith("| 8. on a GPU | G × 32 bf16 |"))
    assert "| 100 TFLOP/s, 10 % of the peak | ≥ 40 % at the best batch |" in weam
    assert "| 500 TFLOP/s, 50 % of the peak |  |" in hf


def test_links_are_counted_and_aligners_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words = tmp_path / "en-de.tsv", tmp_path / "words.txt"
    text.write_text("the house\tdas Haus\nthe book\tdas Buch\n" * 10)
    links.write_words(text, ("en", "de"), words)
    assert words.read_text().splitlines()[:2] == ["the house ||| das haus", "the book ||| das buch"]
    links._align("fast_align", words)
    assert capsys.readouterr().out == "20 40\n"
    common = {"part": "links", "pairs": 8000, "links": 1, "machine": "m", "python": "3"}
    rows = [{**common, "aligner": name, "cpu_seconds": cpu} for name, cpu in (("fast_align", 4.0), ("eflomal", 80.0))]
    line = next(line for line in table(rows) if "links by fast_align" in line)
    assert "| 8,000 pairs en-de | 2,000 pairs/s of one core | eflomal 100 | 0.05 |" in line
