"""Fine-tuning on a GPU: it trains, stops, goes on from its last state, and predicts. Skipped where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from weam_fairseq.evaluation.cli import main
from weam_fairseq.evaluation.fine_tuning import tune
from weam_fairseq.evaluation.scores import Score, read_scores

from .benchmark_data import LANGUAGES, QUICK, write_benchmark

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def _words(task: str, model: Path, data: Path, out: Path, precision: str) -> list[str]:
    words = [task, "--model", str(model), "--data", str(data), "--languages", LANGUAGES[task], "--out", str(out)]
    return [*words, *QUICK, "--device", "cuda", "--precision", precision, "--save-every", "2"]


def _scores(task: str, model: Path, data: Path, out: Path, precision: str) -> list[Score]:
    assert main(_words(task, model, data, out, precision)) == 0
    return read_scores(out)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("task", ["xnli", "xquad", "udpos"])
def test_an_interrupted_run_goes_on_and_predicts(
    task: str, precision: str, folder_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_benchmark(task, tmp_path / "data")
    whole = _scores(task, folder_path, data, tmp_path / "a" / "scores.jsonl", precision)
    run_update, done = tune.train.__globals__["_update"], 0

    def stop_at_the_third(*arguments: object) -> float:
        nonlocal done
        done += 1
        if done == 3:
            raise KeyboardInterrupt
        return run_update(*arguments)

    out = tmp_path / "b" / "scores.jsonl"
    monkeypatch.setitem(tune.train.__globals__, "_update", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        main(_words(task, folder_path, data, out, precision))
    assert list((tmp_path / "b" / "fine-tuned").glob("*/state.pt"))
    again = _scores(task, folder_path, data, out, precision)
    # Sums on a GPU may come in another order, so the two runs are not compared weight by weight (they are on a CPU).
    assert [(score.metric, score.n) for score in again] == [(score.metric, score.n) for score in whole]
    assert _updates(tmp_path / "b", again) == _updates(tmp_path / "a", whole)
    assert done == 3 + _updates(tmp_path / "a", whole) - 2  # of which 2 were saved
    assert (out.parent / again[0].detail["predictions"]).read_text(encoding="utf-8").strip()


def _updates(root: Path, scores: list[Score]) -> int:
    told = root / "fine-tuned" / scores[0].detail["fine_tuned"] / "finished.json"
    return json.loads(told.read_text(encoding="utf-8"))["updates"]
