"""The steps of models: bases, trainings on from them, exports, evaluations; each is made once and shared."""

from __future__ import annotations

from typing import NamedTuple

from weam_fairseq.study import commands
from weam_fairseq.study.config import updates_of
from weam_fairseq.study.data_bins import DataBins, Made
from weam_fairseq.study.identity import Files, digest
from weam_fairseq.study.machine_config import processes
from weam_fairseq.study.place import Place
from weam_fairseq.study.settings import Config, Evaluation, Model
from weam_fairseq.study.step import Step, Training, from_hub
from weam_fairseq.study.yaml_file import Options

CHECKPOINTS, LAST = "checkpoints", "checkpoint_last.pt"


class Base(NamedTuple):
    """What cells go on from. `made` is the checkpoint; `trained`: id of its training, None for a published one."""

    arch: str
    seed: int
    folder: str
    made: Made
    trained: str | None


class Steps(NamedTuple):
    """Ids of a model's steps."""

    folder: str
    trained: str | None
    exported: str
    evaluated: tuple[str, ...]


class ModelSteps:
    """Collects steps in `steps`, each after those that it needs."""

    def __init__(self, config: Config, place: Place, files: Files) -> None:
        self.steps: dict[str, Step] = {}
        self._config, self._place, self._files = config, place, files
        self._data = DataBins(config, place, files, self.steps)
        self._cells: dict[str, Steps] = {}

    def base(self, arch: str, seed: int) -> Base:
        """The base of a cell with this seed."""
        model = self._config.models[arch]
        if model.published is not None:
            return self._published(model)
        config, place = self._config, self._place
        base_seed = seed if config.base_seed is None else config.base_seed
        options = {**config.base_options, **(model.base or {})}
        data = self._data.of_pool(model)
        pairs = config.pair_sets[config.data.pool]
        about = {"arch": arch, "pairs": pairs, "seed": base_seed, "options": options, "data": data.identity}
        identity = digest({"step": "base", **about, **self._processes("base")})
        folder = place.find("bases", f"{arch}.s{base_seed}", identity)
        save_dir = place.study / folder / "train" / CHECKPOINTS
        words = commands.train(config, place, data.path, ["--arch", arch], ("mlm", pairs, base_seed), options, save_dir)
        step = Step(
            id=f"{folder}/train",
            kind="base",
            about=f"base {arch}, seed {base_seed}",
            words=tuple(words),
            needs=data.needs,
            log="train.log",
            arch=arch,
            training=Training(arch, "mlm", updates_of(options), self._vocabulary(model), options, is_base=True),
        )
        made = Made(save_dir / LAST, identity, (self._add(step),))
        return Base(arch, base_seed, folder, made, step.id)

    def cell(
        self, base: Base, names: tuple[str, str], what: tuple[str, str, int], links: tuple[str, str], options: Options
    ) -> Steps:
        """Training on from a base, export and evaluations.

        Args:
            names: the cell's and the model's.
            what: objective, pair set, seed.
            links: aligner and symmetrization.
        """
        config, place = self._config, self._place
        objective, pair_set, seed = what
        model, pairs = config.models[base.arch], config.pair_sets[pair_set]
        data = self._data.of_cell(model, pair_set, links)
        about = {"objective": objective, "pairs": pairs, "seed": seed, "options": options, "data": data.identity}
        identity = digest({"step": "train", "base": base.made.identity, **about, **self._processes("train")})
        if identity in self._cells:  # the same under another name
            return self._cells[identity]
        folder = place.find("cells", names[0], identity)
        save_dir = place.study / folder / "train" / CHECKPOINTS
        start = ["--finetune-from-model", place.shown(base.made.path)]
        words = commands.train(config, place, data.path, start, (objective, pairs, seed), options, save_dir)
        vocabulary = self._vocabulary(model)
        step = Step(
            id=f"{folder}/train",
            kind="train",
            about=f"train {names[0]}",
            words=tuple(words),
            needs=(*data.needs, *base.made.needs),
            log="train.log",
            arch=base.arch,
            training=Training(base.arch, objective, updates_of(options), vocabulary, options, is_base=False),
        )
        made = Made(save_dir / LAST, identity, (self._add(step),))
        self._cells[identity] = self._measured(folder, base.arch, names, seed, made)._replace(trained=step.id)
        return self._cells[identity]

    def base_cell(self, base: Base, names: tuple[str, str]) -> Steps:
        """Export and evaluations of a base as it is."""
        return self._measured(base.folder, base.arch, names, base.seed, base.made)

    def _published(self, model: Model) -> Base:
        assert model.published is not None
        place = self._place
        source, on_hub = place.at(model.published), place.is_on_hub(model.published)
        identity = digest({"step": "import", "folder": self._files.identity(source, model.published)})
        folder = place.find("bases", model.arch, identity)
        checkpoint = place.study / folder / "import" / "checkpoint.pt"
        step = Step(
            id=f"{folder}/import",
            kind="import",
            about=f"import {model.published}",
            words=tuple(commands.import_published(place, model.published, checkpoint)),
            whole="checkpoint.pt",
            inputs=() if on_hub else (source,),
            published=(model.published,) if on_hub else (),
            arch=model.arch,
        )
        return Base(model.arch, 1, folder, Made(checkpoint, identity, (self._add(step),)), None)

    def _measured(self, folder: str, arch: str, names: tuple[str, str], seed: int, made: Made) -> Steps:
        """Export and evaluations."""
        place = self._place
        hf = place.study / folder / "export" / "hf"
        exported = Step(
            id=f"{folder}/export",
            kind="export",
            about=f"export {names[0]}",
            words=tuple(commands.export(place, made.path, hf)),
            needs=made.needs,
            whole="hf",
            arch=arch,
        )
        self._add(exported)
        evaluated = []
        for evaluation in self._config.evaluations:
            own = f"{folder}/{evaluation.name}-{_identity(evaluation)}"
            words = commands.evaluate(self._config, place, evaluation, (hf, names[1], seed), place.study / own)
            step = Step(
                id=own,
                kind="evaluate",
                about=f"{evaluation.name} of {names[0]}",
                words=tuple(words),
                needs=(exported.id,),
                inputs=() if from_hub(evaluation.data) else (place.data / evaluation.data,),
                languages=evaluation.languages,
                arch=arch,
            )
            evaluated.append(self._add(step))
        return Steps(folder, None, exported.id, tuple(evaluated))

    def _processes(self, kind: str) -> dict[str, int]:
        """What an update is over depends on it: max-tokens is of each."""
        nodes, tasks = processes(self._config.machine, kind)
        return {} if nodes * tasks == 1 else {"processes": nodes * tasks}

    def _vocabulary(self, model: Model) -> int | None:
        tokenizer = self._config.data.tokenizer
        trained = model.published is None and tokenizer is not None and tokenizer.trained is not None
        return tokenizer.size if trained and tokenizer is not None else model.vocabulary

    def _add(self, step: Step) -> str:
        self.steps.setdefault(step.id, step)
        return step.id


def _identity(evaluation: Evaluation) -> str:
    """Languages are no part of it: a further one is measured beside those that are there. Of the data its place is:
    what was in it stands in every score's signature."""
    return digest({"tasks": evaluation.tasks, "data": evaluation.data, "options": evaluation.options})
