"""The steps that make data-bins: one for each tokenizer, aligner, symmetrization and set of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.study import commands
from weam_fairseq.study.identity import Files, digest
from weam_fairseq.study.place import Place
from weam_fairseq.study.settings import Config, Model
from weam_fairseq.study.step import Step


class Made(NamedTuple):
    """What a step makes: where it will be, what it is, and ids of what must be done before it is used."""

    path: Path
    identity: str
    needs: tuple[str, ...]


class _Tokenizer(NamedTuple):
    """`words` of weam-preprocess that choose it, `inputs` from outside of the study, `published` on the Hub."""

    label: str
    words: list[str]
    identity: Any
    needs: tuple[str, ...]
    inputs: list[Path]
    published: tuple[str, ...] = ()


class DataBins:
    """Adds steps to `steps`. Pairs of the pool are read from the pool's data-bin; a set of pairs that goes beyond the
    pool has a data-bin of its own, so that a further language changes nothing that is there."""

    def __init__(self, config: Config, place: Place, files: Files, steps: dict[str, Step]) -> None:
        self._config, self._place, self._files, self._steps = config, place, files, steps
        self._usual = (config.data.aligner, config.data.symmetrize)

    def of_pool(self, model: Model) -> Made:
        """What bases are trained on."""
        return self._make(model, self._config.data.pool, self._usual)

    def of_cell(self, model: Model, pair_set: str, links: tuple[str, str]) -> Made:
        """Args: links: aligner and symmetrization."""
        sets, pool = self._config.pair_sets, self._config.data.pool
        return self._make(model, pool if set(sets[pair_set]) <= set(sets[pool]) else pair_set, links)

    def _make(self, model: Model, pair_set: str, links: tuple[str, str]) -> Made:
        config, place, data = self._config, self._place, self._config.data
        if data.data_bin is not None:
            path = place.at(data.data_bin)
            manifest = self._files.identity(path / "manifest.json", f"{data.data_bin}/manifest.json")
            return Made(path, digest({"data-bin": manifest}), ())
        tokenizer = self._tokenizer(model, pair_set, links)
        pairs = config.pair_sets[pair_set]
        identity = digest(
            {
                "step": "preprocess",
                "pairs": [[pair, self._identities(self._sides([pair]))] for pair in pairs],
                "exclude": self._identities(data.exclude),
                "tokenizer": tokenizer.identity,
                "links": links,
                "options": data.options,
            }
        )
        label = f"{pair_set}-pairs" if pair_set.isdecimal() else pair_set
        name = ".".join([tokenizer.label, label, *links])
        folder = place.find("data", name, identity)
        path = place.study / folder / "data-bin"
        sides = [place.data / side for side in (*self._sides(pairs), *data.exclude)]
        step = Step(
            id=folder,
            kind="preprocess",
            about=f"preprocess {name}",
            words=tuple(commands.preprocess(config, place, path, pairs, tokenizer.words, links)),
            needs=tokenizer.needs,
            whole="data-bin",
            inputs=(*tokenizer.inputs, *sides),
            published=tokenizer.published,
        )
        self._steps.setdefault(step.id, step)
        return Made(path, identity, (step.id,))

    def _tokenizer(self, model: Model, pair_set: str, links: tuple[str, str]) -> _Tokenizer:
        config, place, own = self._config, self._place, self._config.data.tokenizer
        folder = model.tokenizer if model.published is not None else None if own is None else own.folder
        if folder is not None:
            words = ["--tokenizer", place.shown(place.at(folder))]
            identity = {"folder": self._files.identity(place.at(folder), folder)}
            name = Path(folder).name
            if place.is_on_hub(folder):
                return _Tokenizer(name, words, identity, (), [], (folder,))
            return _Tokenizer(name, words, identity, (), [place.at(folder)])
        assert own is not None
        assert own.trained is not None
        label = f"{own.trained}-{own.size}"
        if (pair_set, links) == (config.data.pool, self._usual):
            words = ["--train-tokenizer", own.trained, "--vocab-size", str(own.size)]
            return _Tokenizer(label, words, {"trained": own.trained, "size": own.size}, (), [])
        # The pool's first data-bin trains it; the others take it from there.
        pool = self.of_pool(model)
        return _Tokenizer(
            label, ["--tokenizer", place.shown(pool.path / "tokenizer")], {"of": pool.identity}, pool.needs, []
        )

    def _sides(self, pairs: Sequence[str]) -> list[str]:
        """All files of pairs."""
        return [side for pair in pairs for name in self._config.data.of_pair(pair) for side in name.split(",")]

    def _identities(self, names: Sequence[str]) -> list[str]:
        return [self._files.identity(self._place.data / name, name) for name in names]
