"""The training loop, and the folder of one fine-tuning, from which an interrupted training resumes.

The loop is AdamW with a linear schedule and one evaluation per epoch. transformers' Trainer would need the package
`accelerate` and more configuration than this loop has lines. The result depends only on the seed, the rows and the
recipe: the seed determines the head, (seed, epoch) determine each epoch's order, and the saved state contains the
random generators used by dropout.

    fine-tuning.json     what the folder's name is the hash of: checkpoint, data, recipe, seed, selection
    state.pt, epochs/N.safetensors      during training (with --oracle, the epochs are kept)
    config.json, model.safetensors, tokenizer files, finished.json      after training; finished.json is written last
    predictions/         predictions of the model
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import whole_file, write_json
from weam_fairseq.common.lock import locked
from weam_fairseq.common.tokenizers import TOKENIZER_FILES
from weam_fairseq.evaluation.fine_tuning.head import Arithmetic, Head, Rows, padded
from weam_fairseq.evaluation.fine_tuning.recipe import Recipe
from weam_fairseq.evaluation.terminal import progress_bar

_MAX_NORM = 1.0
_ADAM_EPS = 1e-8

# The shuffled order is sorted by length within stretches of this many batches: little padding, and a different order in
# every epoch.
_BATCHES_SORTED_TOGETHER = 32


@dataclass
class Progress:
    """The progress of a training. `dev` has one figure per finished epoch; `best` counts epochs from 1 (0: none)."""

    epoch: int = 0
    batch: int = 0
    update: int = 0
    best: int = 0
    dev: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)


def train(
    model: Any,
    head: Head,
    rows: Rows,
    recipe: Recipe,
    seed: int,
    machine: Arithmetic,
    store: Store,
    evaluate: Callable[[Any], float] | None,
    label: str,
) -> Progress:
    """Trains `model` in place and leaves the chosen epoch's weights in it.

    Args:
        evaluate: a figure on dev, the higher the better; None keeps the last epoch.

    Raises:
        InputError: the loss is not finite.
    """
    import torch

    optimizer = _optimizer(model, recipe)
    updates = recipe.epochs * -(-len(rows) // recipe.batch_size)
    torch.manual_seed(seed)  # for dropout, independent of earlier draws
    progress = _restore(store, model, optimizer) or Progress()
    bar = progress_bar(label, "updates", updates, initial=progress.update)
    while progress.epoch < recipe.epochs:
        batches = batches_of_epoch(rows, recipe.batch_size, seed, progress.epoch)
        for units in batches[progress.batch :]:
            _set_learning_rate(optimizer, recipe, progress.update, updates)
            progress.loss.append(_update(model, head, rows, units, optimizer, machine, progress.update))
            progress.batch += 1
            progress.update += 1
            bar.update()
            if progress.update % store.save_every == 0 and progress.batch < len(batches):
                _save(store, model, optimizer, progress)
        _end_epoch(model, progress, store, evaluate)
        _save(store, model, optimizer, progress)
    bar.close()
    if evaluate is not None:
        model.load_state_dict(store.load_epoch(progress.best))
    model.eval()
    return progress


def batches_of_epoch(rows: Rows, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Every unit once, in an order determined by the seed and the epoch."""
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)))
    order = rng.permutation(len(rows)).tolist()
    batches = []
    step = batch_size * _BATCHES_SORTED_TOGETHER
    for start in range(0, len(order), step):
        together = sorted(order[start : start + step], key=lambda unit: -rows.length(unit))
        batches += [together[first : first + batch_size] for first in range(0, len(together), batch_size)]
    return [batches[number] for number in rng.permutation(len(batches)).tolist()]


def learning_rate(recipe: Recipe, update: int, updates: int) -> float:
    """Rises linearly to the recipe's rate, then falls linearly to 0 (BERT's schedule, as in transformers)."""
    warmup = recipe.warmup_of(updates)
    if update < warmup:
        return recipe.learning_rate * update / warmup
    return recipe.learning_rate * (updates - update) / max(1, updates - warmup)


def _update(
    model: Any, head: Head, rows: Rows, units: Sequence[int], optimizer: Any, machine: Arithmetic, number: int
) -> float:
    import torch

    model.train()
    with machine.autocast():
        output = model(**padded(rows, units, model, machine.pad_piece, machine.device))
    loss = head.loss(output, [rows.targets[unit] for unit in units])
    value = float(loss.detach())
    if not np.isfinite(value):
        raise InputError(f"the loss is not finite at update {number + 1:,}: training diverged. Lower --learning-rate.")
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), _MAX_NORM)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return value


def _end_epoch(model: Any, progress: Progress, store: Store, evaluate: Callable[[Any], float] | None) -> None:
    progress.epoch += 1
    progress.batch = 0
    if evaluate is not None:
        figure = evaluate(model)
        better = not progress.dev or figure > max(progress.dev)
        progress.dev.append(figure)
        if better:
            progress.best = progress.epoch
    else:
        progress.best = progress.epoch
    if evaluate is not None or store.keeps_epochs:  # the last epoch's weights are in the state
        store.save_epoch(progress.epoch, model.state_dict(), best=progress.best)


def _optimizer(model: Any, recipe: Recipe) -> Any:
    import torch

    # Biases and LayerNorm, under any name.
    plain = {name for name, values in model.named_parameters() if values.dim() < 2}
    groups = [
        {
            "params": [values for name, values in model.named_parameters() if name not in plain],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [values for name, values in model.named_parameters() if name in plain], "weight_decay": 0.0},
    ]
    # On CPUs torch's default step takes seven times as long, and 0.7 GB more with e5 (docs/evaluation.md).
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, eps=_ADAM_EPS, fused=True)


def _set_learning_rate(optimizer: Any, recipe: Recipe, update: int, updates: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, update, updates)


def _save(store: Store, model: Any, optimizer: Any, progress: Progress) -> None:
    import torch

    store.save_state(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "progress": vars(progress),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
    )


def _restore(store: Store, model: Any, optimizer: Any) -> Progress | None:
    import torch

    state = store.load_state()
    if state is None:
        return None
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    if state["cuda_rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    return Progress(**state["progress"])


class Store:
    """One fine-tuning's folder, `<kind>-<hash of what made it>`."""

    def __init__(self, work: Path, kind: str, made_of: Mapping[str, Any], save_every: int = 500) -> None:
        """`made_of` is everything that the weights depend on; `save_every` counts updates."""
        text = json.dumps(made_of, sort_keys=True, ensure_ascii=False)
        self.path = work / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self.made_of = dict(made_of)
        self.save_every = save_every

    def locked(self) -> AbstractContextManager[int]:
        """If two runs need one model at the same time, the second waits and finds it finished."""
        self.path.mkdir(parents=True, exist_ok=True)
        return locked(self.path / "lock", wait=True, keep=True)

    @property
    def finished(self) -> dict[str, Any] | None:
        """The result of the training; None while it is unfinished."""
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

    def finish(self, model: Any, source: Path, result: Mapping[str, Any]) -> None:
        """Writes the Hugging Face folder, then finished.json, and removes the saved state."""
        model.save_pretrained(self.path)
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, self.path / name)
        write_json(self.path / "finished.json", result, indent=2)
        (self.path / "state.pt").unlink(missing_ok=True)
        if not self.keeps_epochs:
            shutil.rmtree(self.path / "epochs", ignore_errors=True)

    def _epoch(self, epoch: int) -> Path:
        return self.path / "epochs" / f"{epoch}.safetensors"
