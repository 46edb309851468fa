"""The commands of the steps, as a person would type them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weam_fairseq.study.config import updates_of
from weam_fairseq.study.options import words
from weam_fairseq.study.place import Place
from weam_fairseq.study.settings import Config, Evaluation
from weam_fairseq.study.step import LANGUAGES, from_hub
from weam_fairseq.study.yaml_file import Options

# Files that weam-evaluate's options name lie in the data folder.
_FILES = ("train-file", "dev-file")


def preprocess(
    config: Config,
    place: Place,
    folder: Path,
    pairs: Sequence[str],
    tokenizer: Sequence[str],
    links: tuple[str, str],
) -> list[str]:
    """Args: tokenizer: the words that choose it. links: aligner and symmetrization."""
    found = ["weam-preprocess"]
    for pair in pairs:
        for name in config.data.of_pair(pair):
            sides = ",".join(place.shown(place.data / side) for side in name.split(","))
            found += ["--pair", f"{pair}={sides}"]
    for name in config.data.exclude:
        found += ["--exclude", place.shown(place.data / name)]
    found += [*tokenizer, "--aligner", links[0], "--symmetrize", links[1]]
    found += words({**config.machine.preprocess, **config.data.options}, repeat=True)
    return [*found, "--destdir", place.shown(folder), "--resume"]


def import_published(place: Place, folder: str, checkpoint: Path) -> list[str]:
    return ["weam-from-hf", place.shown(place.at(folder)), place.shown(checkpoint)]


def train(
    config: Config,
    place: Place,
    data_bin: Path,
    start: Sequence[str],
    what: tuple[str, Sequence[str], int],
    options: Options,
    save_dir: Path,
) -> list[str]:
    """Args: start: the words for the architecture or the checkpoint. what: objective, pairs, seed."""
    objective, pairs, seed = what
    found = ["weam-train", place.shown(data_bin), *start, "--pairs", ",".join(pairs)]
    found += ["--objective", objective, "--seed", str(seed)]
    defaults: Options = {
        "save-interval-updates": max(1, updates_of(options) // 10),
        "keep-interval-updates": 1,
        "no-epoch-checkpoints": True,
        "log-interval": 10,
    }
    found += words({**defaults, **config.machine.train, **options})
    return [*found, "--log-format", "json", "--save-dir", place.shown(save_dir)]


def export(place: Place, checkpoint: Path, folder: Path) -> list[str]:
    return ["weam-to-hf", place.shown(checkpoint), place.shown(folder)]


def evaluate(
    config: Config, place: Place, evaluation: Evaluation, model: tuple[Path, str, int], folder: Path
) -> list[str]:
    """Args: model: its folder, name and seed."""
    options: Options = {**config.machine.evaluate, **evaluation.options}
    for name in _FILES:
        if name in options:
            given = options[name]
            files = given if isinstance(given, list) else [given]
            options[name] = [place.shown(place.data / str(file)) for file in files]
    data = evaluation.data if from_hub(evaluation.data) else place.shown(place.data / evaluation.data)
    found = ["weam-evaluate", *evaluation.tasks, "--model", place.shown(model[0]), "--name", model[1]]
    found += ["--data", data, LANGUAGES, ",".join(evaluation.languages), "--seeds", str(model[2])]
    found += ["--out", place.shown(folder / "scores.jsonl"), "--predictions", place.shown(folder / "items")]
    return [*found, *words(options, repeat=True)]
