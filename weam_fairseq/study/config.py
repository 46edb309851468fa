"""CONFIG.yaml -> a checked Config; scripts/configs/study_small.yaml has every key with a word on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.encoder.sizes import ARCHITECTURES
from weam_fairseq.evaluation.benchmarks import BENCHMARKS as TASKS
from weam_fairseq.study.machine_config import read_estimate, read_machine
from weam_fairseq.study.settings import Block, Config, Data, Evaluation, Model, Tokenizer
from weam_fairseq.study.yaml_file import Option, Options, Section, read_yaml

OBJECTIVES = ("mlm", "tlm", "weam", "shuffled", "identity")
BASE_OBJECTIVE = "base"
TOKENIZERS = ("wordpiece", "unigram", "bpe")
# What a cell is made of; weam-study itself gives these to weam-train.
OURS = ("data", "arch", "objective", "pairs", "seed", "save-dir", "finetune-from-model", "restore-file", "log-format")
OURS_OF_PREPROCESS = (
    *("pair", "exclude", "tokenizer", "train-tokenizer", "vocab-size", "aligner", "symmetrize"),
    *("destdir", "overwrite", "resume", "explain"),
)
OURS_OF_EVALUATION = ("model", "name", "data", "languages", "seeds", "seed", "out", "predictions")

_KEYS = (
    *("title", "question", "hypotheses", "decision_rule", "baseline", "data", "pair_sets", "models", "base"),
    *("continued", "grid", "evaluate_bases", "evaluations", "keep_checkpoints", "estimate", "machine", "slurm"),
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")


def read_config(path: Path) -> Config:
    """Reads and checks a study's config.

    Raises:
        InputError: what is wrong, with its file and line.
    """
    top, text = read_yaml(path)
    top.only(_KEYS)
    pair_sets = _pair_sets(top.section("pair_sets"))
    data = _data(top.section("data"), pair_sets)
    models = _models(top)
    base_seed, base_options = _base(top, models)
    continued = _training(top, "continued")
    blocks = tuple(_blocks(top, pair_sets, models, data))
    for model in models.values():
        for part, options in (("base", {**base_options, **(model.base or {})}), ("continued", _with(continued, model))):
            if (part == "continued" or model.published is None) and not _updates(options):
                top.wrong(part, f"a mapping with `max-update`, a whole number, for {model.arch}")
    if data.tokenizer is None and data.data_bin is None and any(model.published is None for model in models.values()):
        top.section("data").wrong("tokenizer", "a mapping, as a base is trained from nothing")
    baseline = top.chosen("baseline", OBJECTIVES, "tlm")[0]
    return Config(
        path=path,
        text=text,
        plain=top.plain,
        title=top.get("title", str),
        question=top.get("question", str, ""),
        hypotheses=top.texts("hypotheses", ()),
        decision_rule=top.get("decision_rule", str, ""),
        baseline=baseline,
        data=data,
        pair_sets=pair_sets,
        models=models,
        base_seed=base_seed,
        base_options=base_options,
        continued_options=continued,
        blocks=blocks,
        evaluate_bases=top.get("evaluate_bases", bool, False),
        evaluations=tuple(_evaluations(top)),
        keep_checkpoints=top.get("keep_checkpoints", bool, True),
        estimate=read_estimate(top),
        machine=read_machine(top),
    )


def updates_of(options: Options) -> int:
    """`max-update`, which config.py has checked."""
    found = _updates(options)
    assert found is not None
    return found


def _updates(options: Options) -> int | None:
    value = options.get("max-update")
    return value if type(value) is int and value > 0 else None


def _with(continued: Options, model: Model) -> Options:
    return {**continued, **(model.continued or {})}


def _pair_sets(section: Section) -> dict[str, tuple[str, ...]]:
    """A name that is a number must be the number of pairs."""
    found = {}
    for name in section:
        pairs = section.texts(name)
        if not _NAME.fullmatch(name):
            section.wrong(name, "named with letters, digits, _, + and -")
        for pair in pairs:
            if len(pair.split("-")) != 2 or len(set(pair.split("-"))) != 2:
                section.wrong(name, f"a list of pairs such as en-de, and {pair} is none")
        if len(set(pairs)) != len(pairs):
            section.wrong(name, "a list of pairs that names each once")
        if name.isdecimal() and int(name) != len(pairs):
            section.wrong(name, f"a list of {name} pairs (here are {len(pairs)})")
        found[name] = pairs
    if not found:
        raise InputError(f"{section.file}:{section.line}: `pair_sets` must name a set of pairs, but is empty.")
    return found


def _data(section: Section, pair_sets: dict[str, tuple[str, ...]]) -> Data:
    section.only(
        ("folder", "bitext", "exclude", "tokenizer", "pairs", "aligner", "symmetrize", "preprocess", "data_bin")
    )
    bitext: tuple[str, ...] = ()
    files: dict[str, tuple[str, ...]] = {}
    data_bin = section.get("data_bin", str) if "data_bin" in section else None
    if data_bin is not None:
        for key in ("bitext", "exclude", "tokenizer", "preprocess"):
            if key in section:
                section.wrong(key, "left out, as `data_bin` names a data-bin that is there")
    elif isinstance(section.plain.get("bitext"), dict):
        of_pairs = section.section("bitext")
        files = {pair: of_pairs.texts(pair) for pair in of_pairs}
        missing = [pair for pairs in pair_sets.values() for pair in pairs if pair not in files]
        if missing:
            section.wrong("bitext", f"a mapping with a file for each pair, {missing[0]} too")
    else:
        bitext = section.texts("bitext")
        if not all("{pair}" in name for name in bitext):
            section.wrong("bitext", "file names with {pair} in them, or a mapping from pairs to files")
    if "pairs" not in section:
        section.wrong("pairs", "the pair set that tokenizer and bases are trained on")
    options = section.options("preprocess")
    _not_ours(section, "preprocess", options, OURS_OF_PREPROCESS)
    return Data(
        folder=section.get("folder", str, "."),
        bitext=bitext,
        files=files,
        exclude=section.texts("exclude", ()),
        tokenizer=_tokenizer(section),
        pool=section.chosen("pairs", pair_sets)[0],
        # Of a data-bin that is there, whatever it was made with.
        aligner=section.get("aligner", str, "eflomal" if data_bin is None else "given"),
        symmetrize=section.get("symmetrize", str, "intersect" if data_bin is None else "given"),
        options=options,
        data_bin=data_bin,
    )


def _tokenizer(data: Section) -> Tokenizer | None:
    if "tokenizer" not in data:
        return None
    if isinstance(data.plain["tokenizer"], str):
        return Tokenizer(None, 0, data.plain["tokenizer"])
    section = data.section("tokenizer")
    section.only(("train", "vocab_size"))
    return Tokenizer(section.chosen("train", TOKENIZERS)[0], section.get("vocab_size", int), None)


def _models(top: Section) -> dict[str, Model]:
    """All architectures of the grid; `models` need only name those that have something of their own."""
    models: dict[str, Model] = {}
    if "models" in top:
        described = top.section("models")
        described.only(ARCHITECTURES)
        for arch in described:
            models[arch] = _model(described.section(arch), arch) if described.plain[arch] else Model(arch)
    for block in top.sections("grid"):
        for arch in block.chosen("arch", ARCHITECTURES):
            models.setdefault(arch, Model(arch))
    return models


def _model(section: Section, arch: str) -> Model:
    section.only(("from_hf", "tokenizer", "vocabulary", "base", "continued"))
    published = section.get("from_hf", str) if "from_hf" in section else None
    if published is None and "tokenizer" in section:
        section.wrong("tokenizer", "left out, as only a published model (`from_hf`) brings one along")
    base, continued = section.options("base"), section.options("continued")
    if published is not None and base:
        section.wrong("base", "left out, as a published model is not trained from nothing")
    _not_ours(section, "base", base, OURS)
    _not_ours(section, "continued", continued, OURS)
    return Model(
        arch=arch,
        published=published,
        tokenizer=section.get("tokenizer", str) if "tokenizer" in section else published,
        vocabulary=section.get("vocabulary", int) if "vocabulary" in section else None,
        base=base,
        continued=continued,
    )


def _base(top: Section, models: dict[str, Model]) -> tuple[int | None, Options]:
    if "base" not in top:
        if any(model.published is None for model in models.values()):
            top.wrong("base", "a mapping with `seed` and `train`, as a base is trained from nothing")
        return 1, {}
    section = top.section("base")
    section.only(("seed", "train"))
    options = _training(section, "train")
    if section.plain.get("seed", 1) == "cell":
        return None, options
    if type(section.plain.get("seed", 1)) is not int:
        section.wrong("seed", "a whole number, or `cell` for a base of each seed")
    return section.get("seed", int, 1), options


def _training(section: Section, key: str) -> Options:
    options = section.options(key)
    _not_ours(section, key, options, OURS)
    return options


def _not_ours(section: Section, key: str, options: Options, ours: tuple[str, ...]) -> None:
    for name in options:
        if name in ours:
            section.wrong(key, f"without `{name}`, which weam-study gives")


def _blocks(top: Section, pair_sets: dict[str, tuple[str, ...]], models: dict[str, Model], data: Data) -> list[Block]:
    found: list[Block] = []
    for section in top.sections("grid"):
        section.only(("name", "pairs", "arch", "objective", "aligner", "symmetrize", "options", "seed"))
        for key in ("aligner", "symmetrize"):
            if data.data_bin is not None and key in section:
                section.wrong(key, "left out, as `data.data_bin` has its links")
        options = section.options("options")
        _not_ours(section, "options", options, OURS)
        if "max-update" in options and not all(_updates({"max-update": each}) for each in _axis(options["max-update"])):
            section.wrong("options", "a mapping whose `max-update` is a whole number")
        found.append(
            Block(
                name=section.get("name", str),
                pairs=section.chosen("pairs", pair_sets),
                archs=section.chosen("arch", models),
                objectives=section.chosen("objective", OBJECTIVES),
                aligners=section.texts("aligner", [data.aligner]),
                symmetrizations=section.texts("symmetrize", [data.symmetrize]),
                options={name: _axis(value) for name, value in options.items()},
                seeds=section.numbers("seed"),
            )
        )
        if [block.name for block in found].count(found[-1].name) > 1:
            section.wrong("name", "another one than that of the blocks before")
    return found


def _axis(value: Option) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _evaluations(top: Section) -> list[Evaluation]:
    if "evaluations" not in top:
        return []
    found: list[Evaluation] = []
    by_name = {task.name: task for task in TASKS}
    for section in top.sections("evaluations"):
        section.only(("name", "task", "data", "languages", "options"))
        tasks = section.chosen("task", by_name)
        languages = section.texts("languages")
        for task in (by_name[name] for name in tasks):
            known = None if task.languages is None else {*task.languages, "all", "present"}
            for language in languages:
                if known is not None and not known.issuperset(language.split("-")):
                    section.wrong("languages", f"languages of {task.name}, and {language} is none")
        options = section.options("options")
        _not_ours(section, "options", options, OURS_OF_EVALUATION)
        name = section.get("name", str, "+".join(tasks))
        if not _NAME.fullmatch(name) or name in [each.name for each in found]:
            section.wrong("name", f"a name of letters, digits, _, + and - that no other has (it would be {name})")
        found.append(Evaluation(name, tasks, section.get("data", str), languages, options))
    return found
