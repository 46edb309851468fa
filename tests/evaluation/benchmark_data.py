"""Each fine-tuned benchmark as a folder of small files in its published format. What is asked can be learnt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .conftest import write_lines

PLACES = ("town", "kitchen", "garage", "network")
NLI = (("the light is on", "entailment"), ("no device was found", "contradiction"), ("people read again", "neutral"))

# What weam-evaluate needs beyond the data to train on so little.
QUICK = ("--epochs", "3", "--learning-rate", "0.01", "--batch-size", "8", "--max-length", "32")


def write_xnli(path: Path) -> None:
    rows = [f"in the {place} {number}\t{text}\t{label}" for place in PLACES for number in (1, 2) for text, label in NLI]
    for name in ("train-en", "dev-en", "dev-de", "test-en", "test-de"):
        # Every file has sentences of its own, or training would have seen what is tested.
        write_lines(path / f"{name}.tsv", [f"{name} {row}" for row in rows])
    for language in ("en", "de"):
        write_lines(path / f"multinli.train.{language}.tsv", ["premise\thypo\tlabel", *(f"mt {row}" for row in rows)])


def write_pawsx(path: Path) -> None:
    for name in ("en/train", "en/dev_2k", "de/dev_2k", "de/test_2k", "de/translated_train"):
        rows = [
            f"{number}\t{name} {place} open\t{place} {word}\t{int(word == 'open')}"
            for place in PLACES
            for number, word in enumerate(("open", "left"))
        ]
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        write_lines(path / f"{name}.tsv", ["id\tsentence1\tsentence2\tlabel", *rows])


def write_xcopa(path: Path) -> None:
    def row(text: str, place: str, label: int) -> str:
        ends = [f"the {place} is late", f"the {place} was left open"]
        return json.dumps(
            {
                "premise": f"{text} door {place}",
                "choice1": ends[label],
                "choice2": ends[1 - label],
                "question": "effect",
                "label": label,
                "idx": 0,
                "changed": False,
            }
        )

    for name in ("train-en", "val-en", "data/et/val.et", "data/et/test.et"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        write_lines(path / f"{name}.jsonl", [row(name, place, label) for place in PLACES for label in (0, 1)])
    for name in ("train", "dev"):
        folder = path / "siqa" / "socialiqa-train-dev"
        folder.mkdir(parents=True, exist_ok=True)
        social = {"context": f"{name} people read", "question": "why?"}
        answers = {"answerA": "the town", "answerB": "no device", "answerC": "raining today"}
        write_lines(folder / f"{name}.jsonl", [json.dumps({**social, **answers}) for _ in range(6)])
        write_lines(folder / f"{name}-labels.lst", ["1", "2", "3", "1", "2", "3"])


def squad(name: str, places: Sequence[str] = PLACES, gold: bool = True) -> str:
    paragraphs = []
    for place in places:
        context = f"{name} people read that the door of the {place} was left open today again and again in town"
        answer = {"text": place, "answer_start": context.index(place)} if gold else {"text": "", "answer_start": 0}
        question = {"id": f"{name}-{place}", "question": "what was left open", "answers": [answer]}
        paragraphs.append({"context": context, "qas": [question]})
    return json.dumps({"version": "1.1", "data": [{"title": name, "paragraphs": paragraphs}]}, ensure_ascii=False)


def _write_questions(path: Path, *names: str) -> None:
    for name in names:
        file = path / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(squad(name.replace("/", " ")), encoding="utf-8")


def write_mlqa(path: Path) -> None:
    translated = [f"mlqa-translate-train/de_squad-translate-train-{part}-v1.1" for part in ("train", "dev")]
    pairs = [
        f"{split}/{split}-context-{context}-question-{question}"
        for split in ("dev", "test")
        for context, question in (("de", "de"), ("en", "en"), ("en", "de"))
    ]
    _write_questions(path, *pairs, *translated, "squad/train-v1.1", "squad/dev-v1.1")


def write_xquad(path: Path) -> None:
    _write_questions(path, "xquad.de", "squad/train-v1.1", "squad/dev-v1.1")


def write_tydiqa(path: Path) -> None:
    _write_questions(
        path,
        *("tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train", "tydiqa-goldp-v1.1-train/tydiqa.goldp.sw.train"),
        *("tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-swahili",),
    )


def write_udpos(path: Path) -> None:
    for name in ("en_a-ud-train", "en_a-ud-dev", "de_b-ud-test", "de_c-ud-test"):
        lines = []
        for place in PLACES:
            words = [("the", "DET"), (name, "X"), (place, "NOUN"), ("was", "AUX"), ("open", "ADJ")]
            lines += [f"{number}\t{word}\t_\t{tag}\t_\t_\t0\t_\t_\t_" for number, (word, tag) in enumerate(words, 1)]
            lines.append("")
        write_lines(path / f"{name}.conllu", lines)


def write_panx(path: Path) -> None:
    for language, split in (("en", "train"), ("en", "dev"), ("de", "dev"), ("de", "test")):
        (path / language).mkdir(parents=True, exist_ok=True)
        lines = []
        for place in PLACES:
            rows = (("in", "O"), (split, "O"), (language, "O"), ("old", "B-LOC"), (place, "I-LOC"))
            lines += [*(f"{language}:{word}\t{tag}" for word, tag in rows), ""]
        write_lines(path / language / split, lines)


WRITERS = {
    "xnli": write_xnli,
    "pawsx": write_pawsx,
    "xcopa": write_xcopa,
    "mlqa": write_mlqa,
    "xquad": write_xquad,
    "tydiqa": write_tydiqa,
    "udpos": write_udpos,
    "panx": write_panx,
}
LANGUAGES = {**dict.fromkeys(WRITERS, "de"), "xcopa": "et", "tydiqa": "sw"}


def write_benchmark(task: str, root: Path) -> Path:
    """`root/TASK` with the task's files; returns `root`, which is what --data takes."""
    (root / task).mkdir(parents=True, exist_ok=True)
    WRITERS[task](root / task)
    return root
