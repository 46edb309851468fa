"""The steps that a study's cells need. Cells that need the same data-bin, base model or export share one step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.evaluation.data_files import from_hub
from weam_fairseq.study.config import Config, Data, Evaluation, Model, Options, updates_of
from weam_fairseq.study.paths import Files, StudyPaths, digest
from weam_fairseq.study.step import LANGUAGES, Step, TrainingFacts, option_arguments

CHECKPOINTS, LAST = "checkpoints", "checkpoint_last.pt"
# Options of weam-evaluate that name files of the data folder.
_FILE_OPTIONS = ("train-file", "dev-file")


class Output(NamedTuple):
    """The output of a step: its path, its identity, and the ids of the steps that must be done before it is used."""

    path: Path
    identity: str
    needs: tuple[str, ...]


class BaseModel(NamedTuple):
    """The model that cells start from. `trained`: id of its training; None: it is a published model."""

    arch: str
    seed: int
    folder: str
    checkpoint: Output
    trained: str | None


class ModelSteps(NamedTuple):
    """Ids of a model's steps. `trained`: None for a base."""

    folder: str
    trained: str | None
    exported: str
    evaluated: tuple[str, ...]


class _Tokenizer(NamedTuple):
    """`arguments` of weam-preprocess that choose a tokenizer, `inputs` outside the study, `published` on the Hub."""

    label: str
    arguments: list[str]
    identity: Any
    needs: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()
    published: tuple[str, ...] = ()


class Steps:
    """Collects the steps of a study in `by_id`, each after the steps that it needs."""

    def __init__(self, config: Config, paths: StudyPaths, files: Files) -> None:
        self.by_id: dict[str, Step] = {}
        self._config, self._paths, self._files = config, paths, files
        self._cells: dict[str, ModelSteps] = {}

    def base(self, arch: str, seed: int) -> BaseModel:
        """The base of a cell with this seed."""
        config, paths = self._config, self._paths
        model = config.model(arch)
        if model.from_hf is not None:
            return self._published(arch, model.from_hf, model.layers)
        assert config.base is not None
        base_seed = seed if config.base.seed == "cell" else config.base.seed
        options = config.base_options(arch)
        data = self._data_bin(model, config.data.pool, config.data.links)
        pairs = config.pair_sets[config.data.pool]
        decides = {"arch": arch, "pairs": pairs, "seed": base_seed, "options": options, "data": data.identity}
        identity = digest({"step": "base", **decides, **self._processes("base")})
        folder = paths.find("bases", f"{arch}.s{base_seed}", identity)
        checkpoint, step = self._training(
            ("base", folder, f"base {arch}, seed {base_seed}", identity),
            arch,
            data,
            ["--arch", arch],
            ("mlm", pairs, base_seed),
            options,
        )
        return BaseModel(arch, base_seed, folder, checkpoint, step)

    def cell(
        self,
        base: BaseModel,
        names: tuple[str, str],
        method: tuple[str, str, int],
        links: tuple[str, str],
        options: Options,
    ) -> ModelSteps:
        """Training from a base, export and evaluations.

        Args:
            names: of the cell and of its model.
            method: objective, pair set, seed.
            links: aligner and symmetrization.
        """
        config, paths = self._config, self._paths
        objective, pair_set, seed = method
        model, pairs = config.model(base.arch), config.pair_sets[pair_set]
        # Pairs of the pool are read from the pool's data-bin, which has the same bytes for each pair as a smaller one.
        # A set of pairs that goes beyond the pool has a data-bin of its own, so that one more language changes nothing
        # that exists. So have other links than the usual ones: only the pairs that need them are aligned.
        pool = config.data.pool
        in_pool = links == config.data.links and set(pairs) <= set(config.pair_sets[pool])
        data = self._data_bin(model, pool if in_pool else pair_set, links)
        decides = {"objective": objective, "pairs": pairs, "seed": seed, "options": options, "data": data.identity}
        identity = digest({"step": "train", "base": base.checkpoint.identity, **decides, **self._processes("train")})
        if identity not in self._cells:  # else another name of the same cell
            folder = paths.find("cells", names[0], identity)
            data = data._replace(needs=(*data.needs, *base.checkpoint.needs))
            start = ["--finetune-from-model", paths.typed(base.checkpoint.path)]
            checkpoint, step = self._training(
                ("train", folder, f"train {names[0]}", identity),
                base.arch,
                data,
                start,
                (objective, pairs, seed),
                options,
            )
            measured = self._measured(folder, base.arch, names, seed, checkpoint)
            self._cells[identity] = measured._replace(trained=step)
        return self._cells[identity]

    def base_cell(self, base: BaseModel, names: tuple[str, str]) -> ModelSteps:
        """Export and evaluations of a base itself."""
        return self._measured(base.folder, base.arch, names, base.seed, base.checkpoint)

    def _published(self, arch: str, name: str, layers: int | None) -> BaseModel:
        paths = self._paths
        source, on_hub = paths.in_root(name), paths.is_on_hub(name)
        cut: Options = {} if layers is None else {"layers": layers}
        identity = digest({"step": "import", "folder": self._files.identity(source, name), **cut})
        folder = paths.find("bases", arch, identity)
        checkpoint = paths.study / folder / "import" / "checkpoint.pt"
        step = Step(
            id=f"{folder}/import",
            kind="import",
            about=f"import {name}",
            command=("weam-from-hf", paths.typed(source), paths.typed(checkpoint), *option_arguments(cut)),
            finished_when="checkpoint.pt",
            inputs=() if on_hub else (source,),
            published=(name,) if on_hub else (),
            arch=arch,
        )
        return BaseModel(arch, 1, folder, Output(checkpoint, identity, (self._add(step),)), None)

    def _training(
        self,
        step: tuple[str, str, str, str],
        arch: str,
        data: Output,
        start: Sequence[str],
        method: tuple[str, Sequence[str], int],
        options: Options,
    ) -> tuple[Output, str]:
        """A training's checkpoint, and the id of its step.

        Args:
            step: kind, folder, description and identity.
            start: arguments for the architecture or the checkpoint to start from.
            method: objective, pairs, seed.
        """
        config, paths = self._config, self._paths
        kind, folder, about, identity = step
        objective, pairs, seed = method
        save_dir = paths.study / folder / "train" / CHECKPOINTS
        updates = updates_of(options)
        defaults: Options = {
            "save-interval-updates": max(1, updates // 10),
            "keep-interval-updates": 1,
            "no-epoch-checkpoints": True,
            "log-interval": 10,
        }
        command = ["weam-train", paths.typed(data.path), *start, "--pairs", ",".join(pairs)]
        command += ["--objective", objective, "--seed", str(seed)]
        command += option_arguments({**defaults, **config.machine.train, **options})
        command += ["--log-format", "json", "--save-dir", paths.typed(save_dir)]
        own = config.data.tokenizer
        trained = config.model(arch).from_hf is None and own is not None and not isinstance(own, str)
        vocabulary = own.vocab_size if trained else config.model(arch).vocabulary  # type: ignore[union-attr]
        step_id = self._add(
            Step(
                id=f"{folder}/train",
                kind=kind,
                about=about,
                command=tuple(command),
                needs=data.needs,
                log="train.log",
                arch=arch,
                training=TrainingFacts(
                    *(arch, objective, updates, vocabulary, options),
                    is_base=kind == "base",
                    shape=config.model(arch).shape,
                ),
            )
        )
        return Output(save_dir / LAST, identity, (step_id,)), step_id

    def _measured(self, folder: str, arch: str, names: tuple[str, str], seed: int, checkpoint: Output) -> ModelSteps:
        """Export and evaluations."""
        paths = self._paths
        hf = paths.study / folder / "export" / "hf"
        exported = Step(
            id=f"{folder}/export",
            kind="export",
            about=f"export {names[0]}",
            command=("weam-to-hf", paths.typed(checkpoint.path), paths.typed(hf)),
            needs=checkpoint.needs,
            finished_when="hf",
            arch=arch,
        )
        self._add(exported)
        evaluated = []
        for evaluation in self._config.evaluations:
            # Languages do not decide the identity, because one more is measured beside those that are done. Of the
            # data, its name does: the data's contents are part of every score's signature.
            decides = {"tasks": evaluation.task, "data": evaluation.data, "options": evaluation.options}
            own = f"{folder}/{evaluation.label}-{digest(decides)}"
            step = Step(
                id=own,
                kind="evaluate",
                about=f"{evaluation.label} of {names[0]}",
                command=self._evaluate(evaluation, hf, names[1], seed, paths.study / own),
                needs=(exported.id,),
                inputs=() if from_hub(evaluation.data) else (paths.data / evaluation.data,),
                languages=evaluation.languages,
                arch=arch,
            )
            evaluated.append(self._add(step))
        return ModelSteps(folder, None, exported.id, tuple(evaluated))

    def _evaluate(self, evaluation: Evaluation, hf: Path, name: str, seed: int, folder: Path) -> tuple[str, ...]:
        paths = self._paths
        options: Options = {**self._config.machine.evaluate, **evaluation.options}
        for option in _FILE_OPTIONS:
            if option in options:
                given = options[option]
                files = given if isinstance(given, list) else [given]
                options[option] = [paths.typed(paths.data / str(file)) for file in files]
        data = evaluation.data if from_hub(evaluation.data) else paths.typed(paths.data / evaluation.data)
        command = ["weam-evaluate", *evaluation.task, "--model", paths.typed(hf), "--name", name]
        command += ["--data", data, LANGUAGES, ",".join(evaluation.languages), "--seeds", str(seed)]
        command += ["--out", paths.typed(folder / "scores.jsonl"), "--predictions", paths.typed(folder / "items")]
        return (*command, *option_arguments(options, repeat=True))

    def _data_bin(self, model: Model, pair_set: str, links: tuple[str, str]) -> Output:
        """The data-bin of a tokenizer, an aligner, a symmetrization and a set of pairs."""
        config, paths, data = self._config, self._paths, self._config.data
        if data.data_bin is not None:
            path = paths.in_root(data.data_bin)
            manifest = self._files.identity(path / "manifest.json", f"{data.data_bin}/manifest.json")
            return Output(path, digest({"data-bin": manifest}), ())
        tokenizer = self._tokenizer(model, pair_set, links)
        pairs, options, inputs = config.pair_sets[pair_set], data.preprocess, tokenizer.inputs
        identity_of_links, decides = [*links], data.preprocess
        if links[0] == "encoder" and model.from_hf is not None and "aligner-model" not in options:
            # A published model aligns the pairs that it is trained on.
            encoder = paths.in_root(model.from_hf)
            options = {"encoder-bf16": True, **options, "aligner-model": paths.typed(encoder)}
            identity_of_links.append(self._files.identity(encoder, model.from_hf))
            if options["encoder-bf16"] is False:  # in an identity, an option that is off equals one that is left out
                identity_of_links.append("fp32")
            decides = {name: value for name, value in decides.items() if name != "encoder-bf16"}
            inputs = (*inputs, *([] if paths.is_on_hub(model.from_hf) else [encoder]))
        identity = digest(
            {
                "step": "preprocess",
                "pairs": [[pair, self._identities(_sides(data, [pair]))] for pair in pairs],
                "exclude": self._identities(data.exclude),
                "tokenizer": tokenizer.identity,
                "links": identity_of_links,
                "options": decides,
            }
        )
        label = f"{pair_set}-pairs" if pair_set.isdecimal() else pair_set
        name = ".".join([tokenizer.label, label, *links])
        folder = paths.find("data", name, identity)
        path = paths.study / folder / "data-bin"
        command = ["weam-preprocess"]
        for pair in pairs:
            for file in data.files(pair):
                sides = ",".join(paths.typed(paths.data / side) for side in file.split(","))
                command += ["--pair", f"{pair}={sides}"]
        for file in data.exclude:
            command += ["--exclude", paths.typed(paths.data / file)]
        command += [*tokenizer.arguments, "--aligner", links[0], "--symmetrize", links[1]]
        command += option_arguments({**config.machine.preprocess, **options}, repeat=True)
        step = Step(
            id=folder,
            kind="preprocess",
            about=f"preprocess {name}",
            command=(*command, "--destdir", paths.typed(path), "--resume"),
            needs=tokenizer.needs,
            finished_when="data-bin",
            inputs=(*inputs, *(paths.data / side for side in (*_sides(data, pairs), *data.exclude))),
            published=tokenizer.published,
        )
        return Output(path, identity, (self._add(step),))

    def _tokenizer(self, model: Model, pair_set: str, links: tuple[str, str]) -> _Tokenizer:
        paths, data, own = self._paths, self._config.data, self._config.data.tokenizer
        folder = model.tokenizer or model.from_hf if model.from_hf is not None else own
        if isinstance(folder, str):
            path = paths.in_root(folder)
            found = _Tokenizer(
                Path(folder).name, ["--tokenizer", paths.typed(path)], {"folder": self._files.identity(path, folder)}
            )
            on_hub = paths.is_on_hub(folder)
            return found._replace(published=(folder,)) if on_hub else found._replace(inputs=(path,))
        assert folder is not None
        label = f"{folder.train}-{folder.vocab_size}"
        if (pair_set, links) == (data.pool, data.links):
            arguments = ["--train-tokenizer", folder.train, "--vocab-size", str(folder.vocab_size)]
            return _Tokenizer(label, arguments, {"trained": folder.train, "size": folder.vocab_size})
        # The pool's first data-bin trains the tokenizer. The others use that one.
        pool = self._data_bin(model, data.pool, data.links)
        arguments = ["--tokenizer", paths.typed(pool.path / "tokenizer")]
        return _Tokenizer(label, arguments, {"of": pool.identity}, pool.needs)

    def _identities(self, names: Sequence[str]) -> list[str]:
        return [self._files.identity(self._paths.data / name, name) for name in names]

    def _processes(self, kind: str) -> dict[str, int]:
        """Part of a training's identity, because --max-tokens counts for each process."""
        nodes, tasks = self._config.processes(kind)
        return {} if nodes * tasks == 1 else {"processes": nodes * tasks}

    def _add(self, step: Step) -> str:
        self.by_id.setdefault(step.id, step)
        return step.id


def _sides(data: Data, pairs: Sequence[str]) -> list[str]:
    """All files of pairs."""
    return [side for pair in pairs for name in data.files(pair) for side in name.split(",")]
