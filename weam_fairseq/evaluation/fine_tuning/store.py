"""The folder of one fine-tuning: unfinished, its state; finished, a Hugging Face folder and what made it.

    fine-tuning.json     what the folder's name is the hash of: checkpoint, data, recipe, seed, selection
    state.pt, epochs/N.safetensors      while it trains (and, for --oracle, afterwards the epochs)
    config.json, model.safetensors, tokenizer files, finished.json      when it is finished
    predictions/         what was predicted with it

Every file is written beside and renamed, and finished.json is the last.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import whole_file, write_json
from weam_fairseq.common.lock import locked
from weam_fairseq.common.tokenizers import TOKENIZER_FILES


class Store:
    """One fine-tuning's folder, `<kind>-<hash of what made it>`."""

    def __init__(self, work: Path, kind: str, made_of: Mapping[str, Any], save_every: int = 500) -> None:
        """`made_of` is all that the weights depend on; `save_every` counts updates."""
        text = json.dumps(made_of, sort_keys=True, ensure_ascii=False)
        self.path = work / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self.made_of = dict(made_of)
        self.save_every = save_every

    def locked(self) -> AbstractContextManager[int]:
        """Two runs that need one model at the same time: the second waits, and finds it finished."""
        self.path.mkdir(parents=True, exist_ok=True)
        return locked(self.path / "lock", wait=True, keep=True)

    @property
    def finished(self) -> dict[str, Any] | None:
        """What training left to say; None while it is not finished."""
        path = self.path / "finished.json"
        return read_json(path, dict) if path.is_file() else None

    def begin(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "fine-tuning.json", self.made_of, indent=2)

    def save_state(self, state: dict[str, Any]) -> None:
        import torch

        with whole_file(self.path / "state.pt") as partial:
            torch.save(state, partial)

    def load_state(self) -> dict[str, Any] | None:
        import pickle

        import torch

        path = self.path / "state.pt"
        if not path.is_file():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(
                f"{path} is damaged ({type(error).__name__}). Remove it to train from the start."
            ) from None

    def save_epoch(self, epoch: int, weights: Mapping[str, Any], best: int) -> None:
        """Keeps an epoch's weights; without --oracle only the best so far."""
        from safetensors.torch import save_file

        if epoch == best or self.keeps_epochs:
            self._epoch(epoch).parent.mkdir(exist_ok=True)
            kept = {name: values.detach().cpu().contiguous().clone() for name, values in weights.items()}
            with whole_file(self._epoch(epoch)) as partial:
                save_file(kept, partial)
        if not self.keeps_epochs:
            for path in self.path.glob("epochs/*.safetensors"):
                if path != self._epoch(best):
                    path.unlink()

    def load_epoch(self, epoch: int) -> dict[str, Any]:
        from safetensors.torch import load_file

        return load_file(self._epoch(epoch))

    @property
    def keeps_epochs(self) -> bool:
        return bool(self.made_of.get("keep_epochs"))

    def finish(self, model: Any, source: Path, told: Mapping[str, Any]) -> None:
        """Writes the Hugging Face folder, then finished.json, and removes what only a restart would need."""
        model.save_pretrained(self.path)
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, self.path / name)
        write_json(self.path / "finished.json", told, indent=2)
        (self.path / "state.pt").unlink(missing_ok=True)
        if not self.keeps_epochs:
            shutil.rmtree(self.path / "epochs", ignore_errors=True)

    def _epoch(self, epoch: int) -> Path:
        return self.path / "epochs" / f"{epoch}.safetensors"
