"""Where a study's things are on this machine. No step's identity depends on it.

STUDY/study.json, configs/                what is studied, and each config that it was run with
STUDY/cells.jsonl, scores.jsonl           what weam-report reads (tables.py)
STUDY/data/NAME-DIGEST/                   a data-bin
STUDY/bases/NAME-DIGEST/train|import/     the checkpoint that cells go on from
STUDY/cells/NAME-DIGEST/train/            a cell's training, its train.log and its checkpoints
               …/export/hf/               the model, as a Hugging Face folder
               …/TASK-DIGEST/             an evaluation: scores.jsonl, items/

Each folder of a step holds its command, its log and how it ended (step_folder.py). To have a step made again, remove
its folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.hub import is_name


class Place(NamedTuple):
    """Absolute paths: `root`, which relative paths of the config start from and commands run in; the data folder; the
    study's folder."""

    root: Path
    data: Path
    study: Path

    def at(self, name: str) -> Path:
        """What the config names outside of the data folder."""
        return self.root / name

    def is_on_hub(self, name: str) -> bool:
        """Whether a published model or tokenizer is a name on the Hugging Face Hub, as no such folder is here."""
        return not self.at(name).exists() and is_name(name)

    def find(self, kind: str, name: str, identity: str) -> str:
        """The folder `kind/name-identity`; one that is there under another name stays."""
        found = sorted((self.study / kind).glob(f"*-{identity}"))
        return f"{kind}/{found[0].name if found else f'{name}-{identity}'}"

    def shown(self, path: Path) -> str:
        """As a command typed in `root` names it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def find_place(root: Path, data: Path | None, data_of_config: str, study: Path) -> Place:
    """Args: as given on the command line, relative to the current folder; `data` wins over the config's."""
    absolute = root.absolute()
    return Place(absolute, absolute / data_of_config if data is None else data.absolute(), study.absolute())
