"""What XTREME's scripts/download_data.sh leaves is found under --data download: every task's files, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from weam_fairseq.evaluation.benchmark import Setting, Training
from weam_fairseq.evaluation.benchmarks import find_benchmark
from weam_fairseq.evaluation.benchmarks.lareqa import LANGUAGES as LAREQA
from weam_fairseq.evaluation.data_files import data_files, find_files

# Task, language, and its test files in the order in which they are read.
TEST = [
    ("xnli", "de", ["xnli/test-de.tsv"]),
    ("pawsx", "de", ["pawsx/test-de.tsv"]),
    ("xcopa", "et", ["xcopa/test.et.jsonl"]),
    ("mlqa", "de", ["mlqa/MLQA_V1/test/test-context-de-question-de.json"]),
    ("mlqa", "en-de", ["mlqa/MLQA_V1/test/test-context-en-question-de.json"]),
    ("xquad", "de", ["xquad/xquad.de.json"]),
    ("tydiqa", "sw", ["tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.sw.dev.json"]),
    ("udpos", "de", ["udpos/test-de.tsv"]),
    ("panx", "de", ["panx/test-de.tsv"]),
    ("tatoeba", "de", ["tatoeba/de-en.de", "tatoeba/de-en.en"]),
    ("bucc", "de", [f"bucc2018/de-en.{split}.{side}" for split in ("dev", "test") for side in ("de", "en", "gold")]),
    ("mewslix", "de", ["mewslix/candidate_set_entities.jsonl", "mewslix/wikinews_mentions-test.jsonl"]),
    ("lareqa", "de", [f"lareqa/xquad-r/{language}.json" for language in LAREQA]),
]
# Task, its English training file, and the one that the epoch is chosen on.
TRAINING = [
    ("xnli", "xnli/train-en.tsv", "xnli/dev-en.tsv"),
    ("pawsx", "pawsx/train-en.tsv", "pawsx/dev-en.tsv"),
    ("xcopa", "xcopa/train.en.jsonl", "xcopa/val.en.jsonl"),
    ("mlqa", "squad/train-v1.1.json", "squad/dev-v1.1.json"),
    ("xquad", "squad/train-v1.1.json", "squad/dev-v1.1.json"),
    ("tydiqa", "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json", None),
    ("udpos", "udpos/train-en.tsv", "udpos/dev-en.tsv"),
    ("panx", "panx/train-en.tsv", "panx/dev-en.tsv"),
]
SOCIAL_IQA = ("siqa/socialIQa_v1.4_trn.jsonl", "siqa/socialIQa_v1.4_dev.jsonl")


def _download(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        (root / "download" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "download" / name).touch()
    return root / "download"


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(("task", "language", "names"), TEST)
def test_test_files(task: str, language: str, names: list[str], ending: str, tmp_path: Path) -> None:
    row = find_benchmark(task)
    names = [name + ending for name in names]
    data = _download(tmp_path, names)
    found = data_files(row, Setting(data, (language,), split=row.splits[0]))
    assert found == {language: [data / name for name in names]}


def training_of(task: str) -> Training:
    tuned = find_benchmark(task).fine_tuned
    assert tuned is not None
    return tuned.training


def _found(task: str, training: Training, data: Path) -> list[list[Path]]:
    setting = Setting(data, ("de",), split="test")
    return [
        find_files(setting, find_benchmark(task), names, "en")
        for names in (training.files["english"], training.dev)
        if names
    ]


@pytest.mark.parametrize(("task", "train", "dev"), TRAINING)
def test_training_files(task: str, train: str, dev: str | None, tmp_path: Path) -> None:
    training = training_of(task)
    names = [name for name in (train, dev) if name is not None]
    data = _download(tmp_path, names)
    assert _found(task, training, data) == [[data / name] for name in names]
    if task == "xcopa":
        assert training.before is not None
        _download(tmp_path, SOCIAL_IQA)
        assert _found(task, training.before, data) == [[data / name] for name in SOCIAL_IQA]


def test_xcopa_as_the_newer_script_names_it(tmp_path: Path) -> None:
    training = training_of("xcopa")
    names = ("xcopa/train-en.jsonl", "xcopa/val-en.jsonl")
    data = _download(tmp_path, names)
    assert _found("xcopa", training, data) == [[data / name] for name in names]
