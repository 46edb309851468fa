"""A study with the real commands: killed in the middle, resumed, and read by weam-report's readers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.study.small_study import small_config, write_config, write_data
from weam_fairseq.common.lock import locked
from weam_fairseq.study.cli import main

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_WAIT_POLICY": "PASSIVE"}


class Ended:
    """A study that was killed during the training of a cell and run again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.study = folder, folder / "study"
        write_data(folder)
        words = [str(write_config(folder, one_seed())), "--root", str(folder), "--study-dir", str(self.study)]
        self.words = [sys.executable, "-m", "weam_fairseq.study.cli", *words, "--jobs", "2"]
        first = subprocess.Popen(
            self.words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        deadline = time.monotonic() + 300
        while not (killed := self._in_training()):
            if first.poll() is not None:
                said, _ = first.communicate()
                raise AssertionError(said.decode())
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
        for file in self.study.rglob("launch.json"):  # each job leads a process group of its own
            with suppress(ProcessLookupError):
                os.killpg(int(json.loads(file.read_text())["jobs"][-1]["id"]), signal.SIGKILL)
        self.killed = [path for path in killed if not (path / "launch" / "ended.json").is_file()]
        self.before = self._done()
        self.second = subprocess.run(self.words, env=ENVIRONMENT, capture_output=True, text=True)

    def _in_training(self) -> list[Path]:
        """Trainings of cells that have saved a checkpoint and are not done."""
        saved = (path.parent.parent for path in self.study.glob("cells/*/train/checkpoints/checkpoint_last.pt"))
        return [path for path in saved if not (path / "done.json").is_file()]

    def _done(self) -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in self.study.rglob("done.json")}

    def lines(self, name: str) -> list[dict]:
        return [json.loads(line) for line in (self.study / name).read_text(encoding="utf-8").splitlines()]

    def starts(self, step: Path) -> int:
        log = next(path for path in (step / "train.log", step / "log.txt") if path.is_file())
        return sum(line.startswith("$ ") for line in log.read_text(encoding="utf-8").splitlines())


def one_seed() -> dict[str, Any]:
    """One objective on one base."""
    config = small_config()
    config["grid"][0] |= {"objective": "weam", "seed": 1}
    return config


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return Ended(tmp_path_factory.mktemp("small"))


def test_it_goes_on_and_makes_nothing_twice(ended: Ended) -> None:
    assert ended.second.returncode == 0, ended.second.stdout + ended.second.stderr
    assert any("/base" in path for path in ended.before)
    after = ended._done()
    assert {path: after[path] for path in ended.before} == ended.before
    steps = [path.parent.parent for path in ended.study.rglob("launch.json")]
    assert len(steps) == 5  # data-bin, base; train, export, evaluate
    assert ended.killed
    for step in steps:
        # What was starting up when everything was killed has started twice as well.
        assert ended.starts(step) == 1 or f"{step}/done.json" not in ended.before, step
    for step in ended.killed:
        assert ended.starts(step) == 2
        log = (step / "train.log").read_text(encoding="utf-8")
        assert "Loaded checkpoint" in log.split("\n$ ")[1]


def test_cells_have_their_cost(ended: Ended) -> None:
    cells = ended.lines("cells.jsonl")
    assert [cell["cell"] for cell in cells] == ["weam.1-pair.weam_tiny.s1"]
    parameters = {cell["cost"]["parameters"] for cell in cells}
    # 120 pieces at most × 16 tied, positions 512 × 16, two layers: by hand within a tenth.
    assert len(parameters) == 1
    assert 12_000 < parameters.pop() < 16_000
    for cell in cells:
        cost = cell["cost"]
        assert cost["updates"] == 40
        assert cost["pieces"] > 0
        assert cost["seconds"] > 0
        assert cost["base_updates"] == 40
        assert cost["base_pieces"] > 40 * 16 * 8  # 16 pairs of 8 pieces and more
        assert cost["base_seconds"] > 0
        assert 50 << 20 < cost["peak_memory_bytes"] < 8 << 30
        assert (ended.study / cell["train_log"]).is_file()
        assert (ended.study / cell["base"]).is_dir()
        assert cell["pairs"] == ["en-de"]
        assert cell["aligner"] == "fast_align"


def test_scores_and_their_items_are_there(ended: Ended) -> None:
    scores = ended.lines("scores.jsonl")
    cells = ended.lines("cells.jsonl")
    assert Counter((s["model"], s["seed"]) for s in scores) == Counter((c["model"], c["seed"]) for c in cells)
    for score in scores:
        assert (score["task"], score["language"]) == ("tatoeba", "de")
        items = (ended.study / score["detail"]["items"]).read_text(encoding="utf-8").splitlines()
        assert len(items) == score["n"] == 30


def test_the_study_says_what_it_is(ended: Ended) -> None:
    told = json.loads((ended.study / "study.json").read_text(encoding="utf-8"))
    assert told["title"] == "Small"
    assert told["hypotheses"] == ["H1: it does."]
    assert len(told["planned"]) == 1
    assert told["config"]["grid"][0]["name"] == "main"
    (copy,) = (ended.study / "configs").iterdir()
    assert copy.name == f"small.{told['config_sha256'][:12]}.yaml"
    assert copy.read_bytes() == (ended.folder / "small.yaml").read_bytes()


def test_its_files_are_those_that_the_report_reads(ended: Ended) -> None:
    from weam_fairseq.report.study_folder import read_study

    study = read_study(ended.study)
    assert [cell.name for cell in study.cells] == study.planned
    assert len(study.scores.entries) == 1
    assert study.early == {}


def test_any_step_can_be_typed(ended: Ended) -> None:
    """The commands are there as a person would give them in the root."""
    for file in ended.study.rglob("launch.json"):
        launch = json.loads(file.read_text(encoding="utf-8"))["launch"]
        assert launch["command"][0].startswith("weam-")
        assert launch["directory"] == str(ended.folder)


def test_a_further_seed_adds_a_cell(ended: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    config = one_seed()
    config["grid"][0]["seed"] = [1, 2]
    path = write_config(ended.folder / "more", config)
    words = [str(path), "--root", str(ended.folder), "--study-dir", str(ended.study)]
    assert main([*words, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "2 cells, 8 jobs, 5 done: " in told
    assert "2 trainings (1 done)" in told
    assert "1 base training (1 done)" in told
    assert "(measured)" in told
    assert main([*words, "--list"]) == 0
    listed = capsys.readouterr().out
    assert "1 of 2 cells are done." in listed


def test_another_weam_study_in_the_same_folder_is_refused(ended: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(ended.study / "lock", keep=True):
        assert main(ended.words[3:]) == 2
    assert "is in use by" in capsys.readouterr().err
