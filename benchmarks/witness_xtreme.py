"""A witness for weam-score: XTREME's own evaluate.py scores the same files of predictions.

    git clone https://github.com/google-research/xtreme
    python benchmarks/witness_xtreme.py xtreme

XTREME's repository holds mock predictions and gold of ten tasks (mock_test_data). Its evaluate.py needs seqeval. The
exit code is 1 where a figure differs by more than 1e-9.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weam_fairseq.evaluation.benchmark import Request
from weam_fairseq.evaluation.benchmarks import find_benchmark
from weam_fairseq.evaluation.score import score

TOLERANCE = 1e-9

# Folders of the mock data that are called otherwise than our tasks.
_OUR_NAMES = {"bucc2018": "bucc"}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("xtreme", type=Path, help="a checkout of google-research/xtreme")
    root = parser.parse_args().xtreme
    sys.path.insert(0, str(root))
    theirs = importlib.import_module("evaluate")
    pairs = list(file_pairs(root / "mock_test_data"))
    if not pairs:
        parser.error(f"{root} must be a checkout of google-research/xtreme, but holds no mock_test_data")
    differing = 0
    for task, language, gold, predictions in pairs:
        expected = theirs.evaluate_one_task(str(predictions), str(gold), task, language=language)
        found = ours(task, language, gold, predictions)
        both = expected.keys() & found.keys()  # XTREME also gives precision and recall of tags
        assert both, (task, expected, found)
        apart = [name for name in sorted(both) if abs(expected[name] - found[name]) > TOLERANCE]
        differing += bool(apart)
        for name in apart:
            print(f"{task} {language} {name}: XTREME {expected[name]!r}, weam-score {found[name]!r}")
    tasks = {task for task, *_ in pairs}
    print(f"{len(pairs)} pairs of files, {len(tasks)} tasks; {differing} differ by more than {TOLERANCE:g}")
    return int(differing > 0)


def file_pairs(mock: Path) -> Iterator[tuple[str, str, Path, Path]]:
    """XTREME's task, the language, gold and predictions."""
    for gold in sorted(mock.glob("labels/*/test-*")):
        task = gold.parent.name
        yield task, gold.stem.removeprefix("test-"), gold, mock / "predictions" / task / gold.name


def ours(task: str, language: str, gold: Path, predictions: Path) -> dict[str, Any]:
    """A missing prediction counts 0, as in XTREME, if predictions have ids."""
    benchmark = find_benchmark(_OUR_NAMES.get(task, task))
    assert benchmark.scoring is not None
    request = Request(gold, predictions, language, missing_as_zero=benchmark.scoring.by_id)
    return score(benchmark, request).scores


if __name__ == "__main__":
    sys.exit(main())
