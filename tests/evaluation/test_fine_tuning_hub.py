"""Rows of the Hugging Face Hub become files that the benchmarks' readers read."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from weam_fairseq.errors import InputError
from weam_fairseq.evaluation import hub
from weam_fairseq.evaluation.by_name import find_by_name
from weam_fairseq.evaluation.cli import main
from weam_fairseq.evaluation.fine_tuning.examples import Choice, SentencePair, TaggedSentence
from weam_fairseq.evaluation.scores import read_scores
from weam_fairseq.evaluation.tasks import TASKS

from .benchmark_data import NLI, PLACES, QUICK
from .conftest import write_lines

NAMES = {"label": ["entailment", "neutral", "contradiction"], "ner_tags": ["O", "B-PER", "I-PER"]}

# The Hub's fields of each benchmark, as its data card lists them.
ROWS: dict[str, tuple[dict[str, Any], Any]] = {
    "xnli": ({"premise": "a\tb", "hypothesis": "c\nd", "label": 2}, SentencePair("a b", "c d", "contradiction")),
    "pawsx": ({"id": 1, "sentence1": "a", "sentence2": "b", "label": 1}, SentencePair("a", "b", "1")),
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
    source = hub.SOURCES[task]
    path = tmp_path / source.file.format(split="test", language="de")
    path.write_text(source.text([row, row], lambda column: NAMES[column]), encoding="utf-8")
    assert find_by_name(TASKS, task).read(path, language="de") == [example, example]


@pytest.mark.parametrize("task", ["mlqa", "xquad", "tydiqa"])
def test_questions_come_back_from_the_reader(task: str, tmp_path: Path) -> None:
    row = {"id": "swahili-1-0", "question": "b", "context": "c d", "answers": {"text": ["d"], "answer_start": [2]}}
    path = tmp_path / "f.json"
    path.write_text(hub.SOURCES[task].text([row], lambda column: []), encoding="utf-8")
    (question,) = find_by_name(TASKS, task).read(path, language="sw")
    assert (question.text, question.context, question.answers) == ("b", "c d", (("d", 2),))


@pytest.mark.parametrize("task", hub.SOURCES)
def test_the_files_have_names_that_the_task_finds(task: str) -> None:
    names = find_by_name(TASKS, task).files[0]
    shown = [name.replace("{context}", "{language}").replace("{question}", "{language}") for name in names]
    assert hub.SOURCES[task].file in shown


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
    with pytest.raises(InputError, match="udpos cannot be read from the Hub; these can: xnli, pawsx"):
        hub.folder_of("udpos", "hub:", ["de"], "test", tmp_path)
