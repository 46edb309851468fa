"""A study's folder as weam-study writes it; the figures are made up, so that every gain can be worked out by hand.

Of 20 Tatoeba sentences a model finds 6, 4 more with weam_mini, 1 more with seed 2. WEAM finds 1 more than TLM,
another 1 with 3 pairs, and another 1 in a language that it has seen; shuffled links change nothing. In word alignment
TLM has half of all links right, WEAM a tenth of all links more, and with 3 pairs another tenth.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from tests.report.scores import score, with_items, write_lines

PAIR_SETS = {1: ["en-de"], 3: ["en-de", "en-es", "en-zh"]}
ARCHS = {"weam_tiny": 1_000_000, "weam_mini": 4_000_000}
OBJECTIVES = ("tlm", "weam", "shuffled")
LANGUAGES = ("de", "es", "zh", "hi")
GOLD = ("de-en", "en-hi")
SENTENCES = 20

Line = dict[str, Any]
Edit = Callable[[list[Line]], object]


def cell(objective: str, pairs: Sequence[str], arch: str, seed: int, **own: Any) -> Line:
    """A line of cells.jsonl; `own` replaces or adds fields."""
    count = f"{len(pairs)} pair{'' if len(pairs) == 1 else 's'}"
    name = f"{objective}.{count.replace(' ', '-')}.{arch}.s{seed}"
    ratio = 1.5 if objective == "weam" else 1.0
    return {
        "cell": name,
        "model": f"{objective} · {count} · {arch}",
        "seed": seed,
        "objective": objective,
        "pairs": list(pairs),
        "arch": arch,
        "aligner": "eflomal",
        "symmetrize": "intersect",
        "options": {},
        "group": "core",
        "cost": {
            "parameters": ARCHS.get(arch, 9_000_000),
            "updates": 400,
            "pieces": 100_000,
            "seconds": 200.0 * ratio * ARCHS.get(arch, 9_000_000) / 1_000_000,
            "peak_memory_bytes": 512 * 2**20,
            "base_seconds": 600.0,
            "base_updates": 1200,
            "base_pieces": 300_000,
        },
        "machine": "a machine, 2 cores",
        "train_log": f"cells/{name}/train.log",
        **own,
    }


def grid(
    objectives: Iterable[str] = OBJECTIVES, seeds: Iterable[int] = (1, 2, 3), archs: Iterable[str] = tuple(ARCHS)
) -> list[Line]:
    return [
        cell(objective, pairs, arch, seed)
        for objective, pairs, arch, seed in product(objectives, PAIR_SETS.values(), archs, seeds)
    ]


def found(line: Line, language: str) -> int:
    """How many of the Tatoeba sentences."""
    seen = any(language in pair.split("-") for pair in line["pairs"])
    gain = 1 + (len(line["pairs"]) > 1) + seen if line["objective"] == "weam" else 0
    return 6 + 4 * (line["arch"] == "weam_mini") + (line["seed"] == 2) + gain


def right_links(line: Line) -> list[int]:
    """Of ten links in each of four sentences."""
    gain = 1 + (len(line["pairs"]) > 1) if line["objective"] == "weam" else 0
    return [each + gain for each in (4, 6, 5, 5)]


def scores_of(folder: Path, line: Line) -> list[Line]:
    """One cell's lines of scores, its items beside them."""
    lines = []
    for language in LANGUAGES:
        hits = found(line, language)
        items = [{"accuracy": 100.0 * (number < hits)} for number in range(SENTENCES)]
        bare = score(line["model"], language, 100.0 * hits / SENTENCES, seed=line["seed"], task="tatoeba")
        lines.append(with_items(folder, bare, items))
    for language in GOLD:
        right = right_links(line)
        items = [{"in_sure": each, "in_possible": each, "predicted": 10, "sure": 10} for each in right]
        bare = score(
            line["model"],
            language,
            100.0 - 100.0 * 2 * sum(right) / 80,
            seed=line["seed"],
            task="word-alignment",
            metric="aer",
        )
        lines.append(with_items(folder, bare, items))
    return lines


def write_log(path: Path, line: Line) -> None:
    """Falling losses; WEAM's cp_loss is half a nat lower, seed 2 a tenth higher. Training has no cp_loss for TLM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ["2026-11-22 17:01:00 | INFO | fairseq_cli.train | Namespace()"]
    steps = [("train_inner", "", update) for update in range(10, 401, 10)]
    for kind, prefix, update in [*steps, *(("valid", "valid_", update) for update in (100, 200, 300, 400))]:
        values: Line = {"epoch": 1, f"{prefix}num_updates": str(update)}
        for number, pair in enumerate(line["pairs"]):
            mp = 6.0 - update / 200 + 0.1 * (line["seed"] == 2) + number
            cp = mp + (0.5 if line["objective"] == "weam" else 1.0)
            values |= {f"{prefix}{pair}:mp_loss": f"{mp:.3f}"}
            if kind == "valid" or line["objective"] != "tlm":
                values |= {f"{prefix}{pair}:cp_loss": f"{cp:.3f}"}
        rows.append(f"2026-11-22 17:01:02 | INFO | {kind} | {json.dumps(values)}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_study(path: Path, cells: list[Line] | None = None, **described: Any) -> Path:
    """The whole folder; `described` adds to study.json, or replaces."""
    cells = grid() if cells is None else cells
    path.mkdir(parents=True)
    study = {
        "title": "Does the gain grow with the number of languages?",
        "question": "Does WEAM's gain over TLM grow with the number of pairs?",
        "hypotheses": ["WEAM beats TLM.", "It gains more with 3 pairs than with 1."],
        "decision_rule": "Both intervals of the average leave 0 out.",
        "baseline": "tlm",
        "config": {"pair_sets": {str(size): pairs for size, pairs in PAIR_SETS.items()}},
        "config_sha256": "4f" * 32,
        "planned": [line["cell"] for line in cells],
        **described,
    }
    (path / "study.json").write_text(json.dumps(study), encoding="utf-8")
    write_lines(path / "cells.jsonl", cells)
    write_lines(path / "scores.jsonl", [each for line in cells for each in scores_of(path, line)])
    for line in cells:
        if line["train_log"]:
            write_log(path / line["train_log"], line)
    return path


def change_lines(path: Path, edit: Edit) -> None:
    """Changes a file of JSON lines in place."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    edit(lines)
    write_lines(path, lines)
