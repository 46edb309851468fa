"""A study of seconds: invented words, a model of two layers of width 16."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

from weam_fairseq.study.config import read_config
from weam_fairseq.study.paths import Files, study_paths
from weam_fairseq.study.plan import Plan, make_plan

SYLLABLES = ["ba", "do", "ki", "lu", "me", "no", "pi", "ra", "su", "te"]


def small_config() -> dict[str, Any]:
    """Two objectives × two seeds on one base."""
    shape = {"layers": 2, "width": 16, "heads": 2, "feed-forward": 32}
    training = {"batch-size": 16, "optimizer": "adam", "lr": 1e-3, "lr-scheduler": "fixed", "max-update": 40}
    return {
        "title": "Small",
        "question": "Does it run?",
        "hypotheses": ["H1: it does."],
        "decision_rule": "H1 stands if it does.",
        "data": {
            "bitext": "{pair}.tsv",
            "tokenizer": {"train": "wordpiece", "vocab_size": 120},
            "pairs": "1",
            "aligner": "fast_align",
            "preprocess": {"valid-size": 16},
        },
        "pair_sets": {1: ["en-de"]},
        "base": {"train": {**shape, **training}},
        "continued": {**training, "cp-weight": 1.0},
        "grid": [
            {"name": "main", "pairs": 1, "arch": "weam_tiny", "objective": ["tlm", "weam"], "seed": [1, 2]},
        ],
        "evaluations": [{"task": "tatoeba", "data": "tatoeba", "languages": ["de"]}],
        "machine": {"train": {"save-interval-updates": 5, "num-workers": 0, "log-interval": 5}},
    }


def write_config(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def plan_of(folder: Path, config: dict[str, Any]) -> Plan:
    """The plan of a study in `folder/study` with its data in `folder`."""
    read = read_config(write_config(folder, config))
    paths = study_paths(folder, None, read.data.folder, folder / "study")
    return make_plan(read, paths, Files(paths.study))


def made_up_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences of 4 to 7 invented words; the "German" is each word reversed, in reverse order."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 3))) for _ in range(30)]
    chosen = [rng.choices(words, k=rng.randint(4, 7)) for _ in range(count)]
    return [(" ".join(each) + ".", " ".join(word[::-1] for word in reversed(each)) + ".") for each in chosen]


def write_data(folder: Path) -> None:
    """en-de.tsv, and Tatoeba in LASER's names."""
    pairs = list(dict.fromkeys(made_up_pairs(260, 1)))
    train, held_out = pairs[:-30], pairs[-30:]
    (folder / "tatoeba").mkdir(parents=True)
    (folder / "en-de.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in train), encoding="utf-8")
    for side, name in ((0, "eng"), (1, "deu")):
        text = "".join(f"{pair[side]}\n" for pair in held_out)
        (folder / "tatoeba" / f"tatoeba.deu-eng.{name}").write_text(text, encoding="utf-8")
