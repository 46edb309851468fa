"""Data files under their published names and those of XTREME's scripts, and rows of the Hub as files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import HubCopy, Setting, Training
from weam_fairseq.evaluation.benchmarks import BENCHMARKS, find_benchmark
from weam_fairseq.evaluation.benchmarks.lareqa import LANGUAGES as LAREQA
from weam_fairseq.evaluation.cli import main
from weam_fairseq.evaluation.data_files import data_files, download, find_files
from weam_fairseq.evaluation.fine_tuning.classification import Choice, LabelledPair
from weam_fairseq.evaluation.fine_tuning.tagging import TaggedSentence
from weam_fairseq.evaluation.scores import read_scores

from .benchmark_data import NLI, PLACES, QUICK
from .conftest import write_lines

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


NAMES = {"label": ["entailment", "neutral", "contradiction"], "ner_tags": ["O", "B-PER", "I-PER"]}


def copy_of(task: str) -> HubCopy:
    copy = find_benchmark(task).hub
    assert copy is not None
    return copy


def folder(task: str, data: str, languages: list[str], split: str, english: tuple[str, ...], work: Path) -> Path:
    return download(find_benchmark(task), data, languages, split, english, work)


# The Hub's fields of each benchmark, as its data card lists them.
ROWS: dict[str, tuple[dict[str, Any], Any]] = {
    "xnli": ({"premise": "a\tb", "hypothesis": "c\nd", "label": 2}, LabelledPair("a b", "c d", "contradiction")),
    "pawsx": ({"id": 1, "sentence1": "a", "sentence2": "b", "label": 1}, LabelledPair("a", "b", "1")),
    "xcopa": (
        {"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 1, "idx": 0, "changed": False},
        Choice("a What was the cause?", ("b", "c"), 1),
    ),
    "panx": (
        {"tokens": ["Anton", "."], "ner_tags": [1, 0], "langs": ["de", "de"], "spans": ["PER: Anton"]},
        TaggedSentence(("Anton", "."), ("B-PER", "O")),
    ),
}


@pytest.mark.parametrize("task", ROWS)
def test_a_row_comes_back_from_the_reader(task: str, tmp_path: Path) -> None:
    row, example = ROWS[task]
    source = copy_of(task)
    path = tmp_path / f"test-de{Path(source.file).suffix}"
    path.write_text(source.text([row, row], lambda column: NAMES[column]), encoding="utf-8")
    assert find_benchmark(task).read(path, language="de") == [example, example]


@pytest.mark.parametrize("task", ["mlqa", "xquad", "tydiqa"])
def test_questions_come_back_from_the_reader(task: str, tmp_path: Path) -> None:
    row = {"id": "swahili-1-0", "question": "b", "context": "c d", "answers": {"text": ["d"], "answer_start": [2]}}
    path = tmp_path / "f.json"
    path.write_text(copy_of(task).text([row], lambda column: []), encoding="utf-8")
    (question,) = find_benchmark(task).read(path, language="sw")
    assert (question.text, question.context, question.answers) == ("b", "c d", (("d", 2),))


@pytest.mark.parametrize("task", [each.name for each in BENCHMARKS if each.hub is not None])
def test_the_files_have_names_that_the_task_finds(task: str) -> None:
    assert copy_of(task).file in find_benchmark(task).files[0]


def test_from_a_local_folder_through_the_library(folder_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="the optional package datasets is not installed")
    classes = {"class_label": {"names": {str(number): name for number, name in enumerate(NAMES["label"])}}}
    features = [
        *({"name": name, "dtype": "string"} for name in ("premise", "hypothesis")),
        {"name": "label", "dtype": classes},
    ]
    configs, infos = [], []
    for language in ("de", "en"):
        files = []
        for split in ("train", "validation", "test"):
            rows = [
                {"premise": f"{language} {split} {place}", "hypothesis": text, "label": NAMES["label"].index(label)}
                for place in PLACES
                for text, label in NLI
            ]
            (tmp_path / "data" / language).mkdir(parents=True, exist_ok=True)
            write_lines(tmp_path / "data" / language / f"{split}.jsonl", [json.dumps(row) for row in rows])
            files.append({"split": split, "path": f"{language}/{split}.jsonl"})
        configs.append({"config_name": language, "data_files": files})
        infos.append({"config_name": language, "features": features})
    card = json.dumps({"configs": configs, "dataset_info": infos})  # JSON is YAML
    write_lines(tmp_path / "data" / "README.md", ["---", card, "---"])

    out = tmp_path / "scores.jsonl"
    words = ["xnli", "--model", str(folder_path), "--data", f"hub:{tmp_path / 'data'}", "--languages", "de"]
    assert main([*words, "--out", str(out), *QUICK]) == 0
    assert [score.n for score in read_scores(out)] == [12]


def test_without_the_library(
    folder_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    words = ["--model", str(folder_path), "--data", "hub:", "--languages", "de", "--out", str(tmp_path / "s.jsonl")]
    assert main(["xnli", *words]) == 2
    assert "--data hub: needs the package datasets: pip install datasets" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["udpos", "tatoeba"])
def test_a_task_that_the_hub_does_not_serve_is_said_first(
    task: str, folder_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is asked of --out, which such a task would not need."""
    assert main([task, "--model", str(folder_path), "--data", "hub:", "--languages", "de"]) == 2
    assert f"{task} cannot be read from the Hub; these tasks can: mlqa, panx, " in capsys.readouterr().err


class FakeHub:
    """`datasets` with one question for every data set; what was asked of it stands in `asked`."""

    __spec__ = ModuleSpec("datasets", None)  # transformers looks for it

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    def load_dataset(self, name: str, config: str, split: str) -> list[dict[str, Any]]:
        self.asked.append((name, config, split))
        texts = {"question": "what was left open", "context": f"{name} {config} {split}: the door"}
        answers = {"text": ["the door"], "answer_start": [len(texts["context"]) - 8]}
        return [{"id": f"{split}{number}", **texts, "answers": answers} for number in range(2)]


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub()
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return fake


def test_squad_comes_along_for_the_tasks_that_are_trained_on_it(
    folder_path: Path, tmp_path: Path, fake_hub: FakeHub
) -> None:
    out = tmp_path / "scores.jsonl"
    words = ["--model", str(folder_path), "--data", "hub:", "--out", str(out), *QUICK]
    assert main(["mlqa", *words, "--languages", "de,en-de"]) == 0
    squad = [("rajpurkar/squad", "plain_text", split) for split in ("train", "validation")]
    tests = [("facebook/mlqa", config, "test") for config in ("mlqa.de.de", "mlqa.en.de")]
    assert fake_hub.asked == tests + squad
    assert [score.language for score in read_scores(out)] == ["de", "de", "en-de", "en-de"]
    assert main(["mlqa", *words, "--languages", "de"]) == 0
    assert len(fake_hub.asked) == 4  # all is there


def test_nothing_is_asked_for_that_the_users_files_stand_for(tmp_path: Path, fake_hub: FakeHub) -> None:
    folder("xquad", "hub:", ["de"], "test", (), tmp_path)
    folder("xquad", "hub:other/xquad", ["de"], "test", ("dev",), tmp_path)
    assert fake_hub.asked == [
        ("google/xquad", "xquad.de", "validation"),
        ("other/xquad", "xquad.de", "validation"),
        ("rajpurkar/squad", "plain_text", "validation"),
    ]


def test_a_local_data_set_is_read_anew_and_goes_by_its_whole_path(
    tmp_path: Path, fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "xquad").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    folders = [folder("xquad", "hub:a/xquad", ["de"], "test", (), tmp_path) for _ in range(2)]
    assert len(fake_hub.asked) == 2
    monkeypatch.chdir(tmp_path / "a")
    assert folder("xquad", "hub:a/xquad", ["de"], "test", (), tmp_path) not in folders  # the Hub's
    assert folder("xquad", "hub:xquad", ["de"], "test", (), tmp_path) == folders[0]


def test_xcopa_has_no_training_data_there_which_is_said_before_anything_is_loaded(
    folder_path: Path, tmp_path: Path, fake_hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", str(folder_path), "--data", "hub:", "--languages", "et", "--out", str(tmp_path / "s.jsonl")]
    assert main(["xcopa", *words]) == 2
    assert "xcopa on the Hub has no English training data. Also give" in capsys.readouterr().err
    assert fake_hub.asked == []


def test_a_data_set_that_is_a_program_is_refused_in_one_sentence(
    tmp_path: Path, fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Dataset scripts are no longer supported, but found mlqa.py\nmore")

    monkeypatch.setattr(fake_hub, "load_dataset", refuse)
    sentence = r"no test data of facebook/mlqa, configuration mlqa\.de\.de: Dataset scripts .* mlqa\.py more\. Give"
    with pytest.raises(InputError, match=sentence):
        folder("mlqa", "hub:", ["de"], "test", (), tmp_path)


def test_rows_without_gold_are_refused() -> None:
    with pytest.raises(InputError, match="label -1, so this split has no gold labels"):
        copy_of("xnli").text([{"premise": "a", "hypothesis": "b", "label": -1}], lambda column: NAMES[column])
