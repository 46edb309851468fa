"""A run folder with contents as the demo writes them; the figures are made up."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODELS = ["base", "mlm", "tlm", "weam", "shuffled"]
PAIRS = ["en-de", "en-es", "en-zh"]
GAIN = {"base": 0.0, "mlm": 1.0, "tlm": 2.0, "weam": 8.0, "shuffled": 3.0}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


@pytest.fixture
def change_json() -> Callable[[Path, Callable[[Any], None]], None]:
    """Changes a JSON file in place."""

    def change(path: Path, edit: Callable[[Any], None]) -> None:
        value = json.loads(path.read_text(encoding="utf-8"))
        edit(value)
        path.write_text(json.dumps(value), encoding="utf-8")

    return change


def write_run(path: Path) -> Path:
    (path / "data-bin").mkdir(parents=True)
    _write_json(path / "settings.json", _settings())
    _write_json(path / "data-bin" / "manifest.json", _manifest())
    _write_json(path / "examples.json", {"models": ["weam"], "examples": [_german(), _chinese()]})
    (path / "scores.jsonl").write_text("".join(json.dumps(score) + "\n" for score in _scores()), encoding="utf-8")
    for model in MODELS:
        (path / "models" / model).mkdir(parents=True)
        (path / "models" / model / "train.log").write_text(_log(model), encoding="utf-8")
    return path


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def _settings() -> dict[str, Any]:
    return {
        "title": "WEAM demo: en–de, en–es and en–zh in one small model",
        "models": MODELS,
        "commands": {
            "preprocess": "weam-preprocess --pair en-de=corpus/train.en-de.tsv --pair en-es=corpus/train.en-es.tsv "
            "--pair en-zh=corpus/train.en-zh.tsv --train-tokenizer wordpiece --vocab-size 16000 --destdir data-bin",
            "train weam": "weam-train data-bin --task weam --criterion weam --arch weam_small --objective weam "
            "--pairs en-de,en-es,en-zh --mask-prob 0.3 --cp-weight 1.0 --updates 500",
        },
        "options": {
            "arch": "weam_small",
            "mask_prob": 0.3,
            "cp_weight": 1.0,
            "lr": 5e-4,
            "updates": {"base": 1200, "then": 500},
        },
        "versions": {"python": "3.11.9", "torch": "2.13.0", "transformers": "5.23.0", "weam-fairseq": "0.1.0"},
        "seconds": {
            "corpus": 33.0,
            "preprocess": 41.2,
            **{f"train {model}": 90.0 + len(model) for model in MODELS},
            **{f"evaluate {model}: masked-pieces": 7.5 for model in MODELS},
        },
        "corpus": {
            "sources": [
                {"package": "homeassistant==2025.4.4", "sha256": "4f" * 32, "licence": "Apache-2.0"},
                {
                    "package": "jupyterlab-language-pack-de-DE==4.4",
                    "sha256": "a0" * 32,
                    "licence": "BSD-3-Clause",
                },
            ]
        },
    }


def _manifest() -> dict[str, Any]:
    def pair(train: int, side: str, shares: tuple[float, float]) -> dict[str, Any]:
        return {
            "read": train + 700,
            "dropped": {"empty side": 12, "over 128 pieces": 31, "in an excluded file": 157},
            "train": train,
            "valid": 500,
            "word_links": train * 5,
            "piece_links": train * 7,
            "linked_pieces": dict(zip(("en", side), shares, strict=True)),
        }

    return {
        "pairs": {
            "en-de": pair(9034, "de", (0.71, 0.68)),
            "en-es": pair(8512, "es", (0.74, 0.70)),
            "en-zh": pair(8120, "zh", (0.66, 0.61)),
        },
        "aligner": {"name": "fast_align", "version": "sil-thot 3.5.3", "symmetrize": "intersect"},
        "tokenizer": {"vocab_size": 16000},
    }


def _scores() -> list[dict[str, Any]]:
    scores = []
    for model in MODELS:
        for number, pair in enumerate(PAIRS):
            for task, metric, start in (
                ("sentence-retrieval", "accuracy@1", 31.0),
                ("word-retrieval", "precision@1", 44.0),
            ):
                value = start - 3 * number + GAIN[model]
                target = pair.split("-")[1]
                detail = {
                    "directions": {f"en>{target}": value + 1, f"{target}>en": value - 1},
                    "layer": 3,
                    "shared_pieces": 21.5 - number,
                    "dev_by_layer": [],
                }
                scores.append(_score(task, model, pair, metric, value, 250 if number else 248, detail))
        for number, language in enumerate(["en", "de", "es", "zh"]):
            for metric, value, bound in (("accuracy@5", 47.0, 24.1), ("accuracy@1", 29.0, 9.3)):
                shift = GAIN[model] / 4 - 2 * number
                scores.append(
                    _score(
                        "masked-pieces", model, language, metric, value + shift, 900, {"unigram_bound": bound + number}
                    )
                )
    return scores


def _score(
    task: str, model: str, language: str, metric: str, value: float, n: int, detail: dict[str, Any]
) -> dict[str, Any]:
    checkpoint = f"{MODELS.index(model):x}" * 12
    return {
        "task": task,
        "model": model,
        "checkpoint": checkpoint,
        "language": language,
        "split": "heldout",
        "metric": metric,
        "value": value,
        "n": n,
        "detail": detail,
        "seed": 1,
        "signature": f"{task}|lang:{language}|split:heldout|metric:{metric}|ckpt:{checkpoint}|data:0f3a5c7e9b1d|seed:1|"
        "v:0.1.0|transformers:5.23.0|torch:2.13.0",
    }


def _log(model: str) -> str:
    """Falling losses with a ripple, between lines of ordinary log text."""
    start, end, last = (9.6, 4.9, 1200) if model == "base" else (4.9, 4.4 - GAIN[model] / 30, 500)
    lines = ["2026-11-22 17:01:00 | INFO | fairseq_cli.train | Namespace(arch='weam_small')"]
    for update in range(25, last + 1, 25):
        train: dict[str, Any] = {"epoch": 1, "num_updates": str(update), "lr": "0.0005", "wall": str(update / 5)}
        valid: dict[str, Any] = {"epoch": 1, "valid_num_updates": str(update)}
        for number, pair in enumerate(PAIRS):
            mp = end + (start - end) * math.exp(-3 * update / last) + 0.2 * number
            gap = 0.6 if model in ("weam", "shuffled") else 1.1
            ripple = 0.08 * math.sin(update * (number + 1))
            train |= {f"{pair}:mp_loss": f"{mp + ripple:.3f}", f"{pair}:cp_loss": f"{mp + gap + ripple:.3f}"}
            valid |= {f"valid_{pair}:mp_loss": f"{mp + 0.1:.3f}", f"valid_{pair}:cp_loss": f"{mp + gap + 0.1:.3f}"}
        lines.append(f"2026-11-22 17:01:02 | INFO | train_inner | {json.dumps(train)}")
        if update % 100 == 0:
            lines.append(f"2026-11-22 17:01:02 | INFO | valid | {json.dumps(valid)}")
    return "\n".join(lines) + "\n"


def _german() -> dict[str, Any]:
    source = ["Turn", "on", "the", "light", "in", "the", "living", "room", "when", "it", "gets", "dark", "."]
    target = ["Schalte", "das", "Licht", "im", "Wohnzimmer", "ein", ",", "wenn", "es", "dunkel", "wird", "."]
    return {
        "pair": "en-de",
        "index": 3,
        "source": {"language": "en", "words": source, "pieces": [word.lower() for word in source]},
        "target": {
            "language": "de",
            "words": target,
            "pieces": [
                "schalte",
                "das",
                "licht",
                "im",
                "wohn",
                "##zimmer",
                "ein",
                ",",
                "wenn",
                "es",
                "dunkel",
                "wird",
                ".",
            ],
        },
        "word_links": [[0, 0], [2, 1], [3, 2], [4, 3], [6, 4], [8, 7], [9, 8], [11, 9], [10, 10], [12, 11]],
        "piece_links": [[0, 0], [2, 1], [3, 2], [4, 3], [6, 4], [6, 5], [8, 8], [9, 9], [11, 10], [10, 11], [12, 12]],
        "masked": [
            {
                "side": "source",
                "piece_idx": 3,
                "piece": "light",
                "input_piece": "[MASK]",
                "exchanged_with": [{"side": "target", "piece_idx": 2, "piece": "licht"}],
                "own_top": ["device", "light", "time", "alarm", "sensor"],
                "exchanged_top": ["light", "lights", "lamp", "device", "brightness"],
            },
            {
                "side": "target",
                "piece_idx": 6,
                "piece": "ein",
                "input_piece": "nein",
                "exchanged_with": [],
                "own_top": ["ein", "aus", "an", "nein", "##n"],
                "exchanged_top": ["ein", "aus", "an", "nein", "##n"],
            },
        ],
    }


def _chinese() -> dict[str, Any]:
    return {
        "pair": "en-zh",
        "index": 41,
        "source": {
            "language": "en",
            "words": ["Is", "it", "raining", "today", "?"],
            "pieces": ["is", "it", "raining", "today", "?"],
        },
        "target": {"language": "zh", "words": ["今天", "下雨", "吗", "？"], "pieces": ["今天", "下雨", "吗", "？"]},
        "word_links": [[3, 0], [2, 1], [4, 3]],
        "piece_links": [[3, 0], [2, 1], [4, 3]],
        "masked": [
            {
                "side": "source",
                "piece_idx": 2,
                "piece": "raining",
                "input_piece": "[MASK]",
                "exchanged_with": [{"side": "target", "piece_idx": 1, "piece": "下雨"}],
                "own_top": ["on", "off", "unavailable", "connected", "available"],
                "exchanged_top": ["rain", "raining", "weather", "water", "wind"],
            }
        ],
    }
