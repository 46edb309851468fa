"""What a study will cost, without its data, models or a GPU."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.study.small_study import plan_of, small_config, write_config
from weam_fairseq.study.cli import main
from weam_fairseq.study.config import Estimate, Shape
from weam_fairseq.study.forecast import duration, operations
from weam_fairseq.study.step import TrainingFacts

CONFIGS = Path(__file__).resolve().parents[2] / "scripts" / "configs"


def test_the_study_at_paper_scale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(CONFIGS / "study_paper.yaml"), "--dry-run"]) == 0
    told = capsys.readouterr().out
    # rates: 3 models × 2 objectives × 3 rates; why: 3 × 5 × 3 seeds; languages: 3 × 3 more sets of pairs × 2 × 3;
    # size: 1 more model × 2 sets × 2 × 3; and the 4 models as they are.
    assert "133 cells, 801 jobs, 0 done: 3 data-bins, 4 imports, 129 trainings, 133 exports, 532 evaluations." in told
    assert len(re.findall(r"^\w+\.(?:1-pair|\d+-pairs)\.\w+(?:\.lr-\S+)?\.s[123] ", told, re.MULTILINE)) == 129
    hours = re.search(r"Estimated GPU hours .*: ([\d.]+), by counting operations .* at 40% of 989 TFLOP/s", told)
    assert hours is not None
    assert 100 < float(hours[1]) < 200
    assert list(tmp_path.iterdir()) == []


def test_the_small_study_has_the_core(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(CONFIGS / "study_small.yaml"), "--study-dir", str(tmp_path / "study"), "--root", str(tmp_path)]
    assert main([*words, "--dry-run"]) == 0
    told = capsys.readouterr().out
    for objective in ("tlm", "weam", "shuffled"):
        for pairs in ("1-pair", "3-pairs", "14-pairs"):
            assert all(f"{objective}.{pairs}.weam_mini.s{seed} " in told for seed in (1, 2, 3))
    for objective in ("tlm", "weam"):
        for arch in ("weam_tiny", "weam_mini", "weam_small"):
            assert all(f"{objective}.3-pairs.{arch}.s{seed} " in told for seed in (1, 2, 3))
    assert "42 cells" in told
    assert "No time is estimated" in told
    assert not (tmp_path / "study").exists()


def test_operations_are_those_of_docs_scaling() -> None:
    """docs/gpu.md: 0.81 GFLOP a piece for mBERT base, 2.6 for XLM-R large, 0.51 projected rows a piece."""
    estimate = Estimate(pieces_per_update=1)
    mbert = TrainingFacts("weam_mbert_base", "weam", 1, 119_547, {"mask-prob": 0.3}, is_base=False)
    large = TrainingFacts("weam_xlmr_large", "weam", 1, 250_002, {}, is_base=False)
    assert operations(mbert, estimate) == pytest.approx(0.81e9, rel=0.01)
    assert operations(large, estimate) == pytest.approx(2.6e9, rel=0.02)
    by_hand = 3 * (12 * (24 * 768**2 + 4 * 128 * 768) + 0.51 * (2 * 768**2 + 2 * 768 * 119_547))
    assert operations(mbert, estimate) == pytest.approx(by_hand)


def test_a_published_model_can_have_a_shape_for_estimates() -> None:
    estimate = Estimate(pieces_per_update=1)
    shape = Shape(layers=12, width=768, feed_forward=3072)
    published = TrainingFacts("mbert", "weam", 1, 119_547, {}, is_base=False, shape=shape)
    named = TrainingFacts("weam_mbert_base", "weam", 1, 119_547, {}, is_base=False)
    assert operations(published, estimate) == operations(named, estimate)
    assert operations(replace(published, shape=None), estimate) is None


def test_what_is_not_known_is_not_estimated() -> None:
    training = TrainingFacts("weam_mini", "tlm", 10, None, {}, is_base=False)
    assert operations(training, Estimate(pieces_per_update=1)) is None
    assert operations(training, Estimate()) is None
    base = TrainingFacts("weam_mini", "mlm", 10, 100, {}, is_base=True)
    assert operations(base, Estimate(pieces_per_update=1)) is None
    one = operations(base, Estimate(base_pieces_per_update=1))
    two = operations(base, Estimate(base_pieces_per_update=2))
    assert one is not None
    assert two == 2 * one


def test_shape_options_count() -> None:
    estimate = Estimate(pieces_per_update=1)
    full = operations(TrainingFacts("weam_mini", "tlm", 1, 100, {}, is_base=False), estimate)
    half = operations(TrainingFacts("weam_mini", "tlm", 1, 100, {"layers": 2}, is_base=False), estimate)
    assert full is not None
    assert half is not None
    assert half < full


def test_time_is_estimated_from_what_finished_cells_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_config()
    config["grid"][0]["arch"] = ["weam_tiny", "weam_mini"]
    plan = plan_of(tmp_path, config)
    trained = plan.cells[0].trained
    assert trained is not None
    folder = plan.paths.study / trained
    folder.mkdir(parents=True)
    (folder / "done.json").write_text('{"seconds": 9.0}')
    record = {"num_updates": "40", "wpb": "100"}
    lines = f"2026-01-01 12:00:00 | INFO | …\n2026-01-01 13:00:00 | INFO | train_inner | {json.dumps(record)}\n"
    (folder / "train.log").write_text(f"$ weam-train\n{lines}")
    words = [str(write_config(tmp_path, config)), "--root", str(tmp_path), "--study-dir", str(plan.paths.study)]
    assert main([*words, "--dry-run"]) == 0
    told = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in told.splitlines() if re.match(r"(tlm|weam)\.", line)}
    assert rows["weam.1-pair.weam_tiny.s2"][-1] == "1.00"  # hours, as that of the same size
    assert rows["tlm.1-pair.weam_mini.s1"][-1] == "–"  # nothing is known of another size
    assert rows["tlm.1-pair.weam_tiny.s1"][-1] == "0.00"
    # 3 trainings of 40 updates that are to be made, and the base.
    assert "(measured): 4 h 0 min, one job at a time" in told
    assert main([*words, "--list"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"tlm.1-pair.weam_tiny.s1 +1 of 5 steps", listed)
    assert "0 of 8 cells are done." in listed


def test_planned_seconds_stand_in_for_what_was_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_config()
    planned = {"preprocess": 60, "base": 1.0, "train": 3.0, "export": 10, "tatoeba": 100}
    config["estimate"] = {"seconds": planned}
    plan = plan_of(tmp_path, config)
    words = [str(write_config(tmp_path, config)), "--root", str(tmp_path), "--study-dir", str(tmp_path / "study")]
    assert main([*words, "--dry-run"]) == 0
    told = capsys.readouterr().out
    expected = 0.0
    for step in plan.steps.values():
        each = planned["tatoeba" if step.kind == "evaluate" else step.kind]
        expected += each * (step.training.updates if step.training else 1)
    assert f"from the config's `estimate.seconds`: {duration(expected)}, one job at a time" in told
    config["estimate"] = {"seconds": {"tatoba": 1}}
    assert main([str(write_config(tmp_path, config)), *words[1:], "--dry-run"]) == 2
    assert "`estimate.seconds` has no key `tatoba`. Did you mean tatoeba?" in capsys.readouterr().err


def test_what_is_not_there_is_said_before_anything_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, small_config())
    words = [str(config), "--root", str(tmp_path), "--study-dir", str(tmp_path / "study")]
    assert main(words) == 2
    assert f"must exist, but these are missing: {tmp_path}/en-de.tsv, {tmp_path}/tatoeba." in capsys.readouterr().err
    (tmp_path / "en-de.tsv").touch()
    (tmp_path / "tatoeba").mkdir()
    assert main(words) == 2
    assert "evaluation tatoeba: tatoeba needs" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_cells_are_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(write_config(tmp_path, small_config())), "--dry-run", "--root", str(tmp_path)]
    assert main([*words, "--only", "weam.*"]) == 0
    assert "2 cells, 8 jobs" in capsys.readouterr().out
    assert main([*words, "--only", "wean.1-pair.weam_tiny.s1"]) == 2
    assert "Did you mean weam.1-pair.weam_tiny.s1" in capsys.readouterr().err
