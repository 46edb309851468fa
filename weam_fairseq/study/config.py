"""Reads and checks a study's config. scripts/configs/study_*.yaml show every key with a comment."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, NoReturn

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from weam_fairseq.common.arguments import suggest
from weam_fairseq.common.documents import compose_yaml, construct_yaml, shown
from weam_fairseq.common.errors import InputError
from weam_fairseq.encoder.sizes import ARCHITECTURES
from weam_fairseq.evaluation.benchmarks import BENCHMARKS as TASKS
from weam_fairseq.evaluation.data_files import EVERY
from weam_fairseq.method.objectives import OBJECTIVES

Option = str | int | float | bool | list[Any] | None
Options = dict[str, Option]

BASE_OBJECTIVE = "base"
TASKS_BY_NAME = {task.name: task for task in TASKS}
KINDS = ("preprocess", "import", "base", "train", "export", "evaluate")
TRAININGS = ("base", "train")
# Options that weam-study itself sets.
SET_FOR_TRAIN = (
    *("data", "arch", "objective", "pairs", "seed"),
    *("save-dir", "finetune-from-model", "restore-file", "log-format"),
)
SET_FOR_PREPROCESS = (
    *("pair", "exclude", "tokenizer", "train-tokenizer", "vocab-size", "aligner", "symmetrize"),
    *("destdir", "overwrite", "resume", "explain"),
)
SET_FOR_EVALUATE = ("model", "name", "data", "languages", "seeds", "seed", "out", "predictions")
# All that `machine` accepts. Any other option may change a result, so it must be part of a step's identity.
HARMLESS_FOR_PREPROCESS = ("workers", "cluster", "cluster-option", "cluster-chunks")
HARMLESS_FOR_EVALUATE = ("device", "save-every")
HARMLESS_FOR_TRAIN = (
    *("num-workers", "data-buffer-size", "log-interval", "save-interval-updates", "keep-interval-updates"),
    *("validate-interval-updates", "save-interval", "validate-interval", "no-epoch-checkpoints"),
    *("checkpoint-activations", "cpu", "ddp-backend", "tensorboard-logdir", "wandb-project"),
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")


def _must(sentence: str, *keys: str | int, hint: str = "") -> PydanticCustomError:
    """An error about the value at `keys` below the value that is validated: it must be as `sentence` describes."""
    return PydanticCustomError("must", "{sentence}", {"sentence": sentence, "keys": keys, "hint": hint})


def _texts(value: Any) -> Any:
    parts = value if isinstance(value, list) else [value]
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, str | int | float):
            raise _must("a text or a list of texts", hint=_quotes(part))
    if not parts:
        raise _must("a list with at least one text")
    return tuple(map(str, parts))


def _seeds(value: Any) -> Any:
    parts = value if isinstance(value, list) else [value]
    if not parts or not all(type(part) is int and part >= 0 for part in parts):
        raise _must("a whole number from 0 or a list of them")
    return tuple(parts)


def _options(value: Any) -> Any:
    if not isinstance(value, dict):
        raise _must("a mapping")
    for name, given in value.items():
        parts = given if isinstance(given, list) else [given]
        if not parts or not all(part is None or isinstance(part, str | int | float) for part in parts):
            raise _must("a value or a list of values", name)
    named = {name.replace("_", "-"): given for name, given in value.items()}
    if len(named) < len(value):
        raise _must("a mapping with each option once (- and _ are the same)")
    return named


def _refuse_options(is_refused: Callable[[str], bool], sentence: str) -> AfterValidator:
    def check(value: Options) -> Options:
        for name in filter(is_refused, value):
            raise _must(sentence, name)
        return value

    return AfterValidator(check)


def _without(options: Collection[str]) -> AfterValidator:
    return _refuse_options(lambda name: name in options, "left out, because weam-study sets it")


def _harmless(options: Collection[str], elsewhere: str) -> AfterValidator:
    must = f"under {elsewhere}, because it may change results (`machine` accepts only {', '.join(options)})"
    return _refuse_options(lambda name: name not in options, must)


def _known(names: Collection[str]) -> AfterValidator:
    """Checks one name, or each of several."""

    def check(value: Any) -> Any:
        for name in (value,) if isinstance(value, str) else value:
            if name not in names:
                raise _must(f"one of {', '.join(names)}", hint=f" {name} is unknown.{suggest(name, names)}")
        return value

    return AfterValidator(check)


def _unknown_key(key: str, names: Collection[str], *keys: str) -> PydanticCustomError:
    return PydanticCustomError("unknown", "", {"keys": keys, "key": key, "names": tuple(names)})


def _key(names: Collection[str]) -> AfterValidator:
    """Checks a key of a mapping."""

    def check(key: str) -> str:
        if key not in names:
            raise _unknown_key(key, names)
        return key

    return AfterValidator(check)


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value  # YAML reads 989e12 as a text
    except ValueError:
        return value


def _quotes(value: Any) -> str:
    return " Put it in quotes." if value is not None and not isinstance(value, list | dict) else ""


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Number = Annotated[float, BeforeValidator(_number)]
GivenOptions = Annotated[dict[str, Any], BeforeValidator(_options)]
TrainOptions = Annotated[GivenOptions, _without(SET_FOR_TRAIN)]
Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A mapping of the config. A key without a value counts as left out."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for key in value:
            if key not in cls.model_fields:
                raise _unknown_key(key, cls.model_fields, key)
        return {key: given for key, given in value.items() if given is not None}


class Tokenizer(Section):
    """A tokenizer that is trained on the study's text: its kind and its number of pieces."""

    train: Annotated[str, _known(("wordpiece", "unigram", "bpe"))]
    vocab_size: int


class Data(Section):
    """Where sentence pairs come from.

    Attributes:
        folder: holds the bitext and the data of the evaluations.
        bitext: files of a pair in `folder`, with {pair} in their names, or the files of each pair.
        exclude: files of sentences that no training pair may contain.
        tokenizer: of models that are trained from scratch: how to train it, or a Hugging Face folder.
        pairs: the pair set that tokenizer and bases are trained on.
        aligner, symmetrize: of cells that do not choose others.
        preprocess: more options of weam-preprocess.
        data_bin: an existing data-bin, in place of bitext, exclude, tokenizer and preprocess.
    """

    folder: str = "."
    bitext: Texts | dict[str, Texts] = ()
    exclude: Texts = ()
    tokenizer: Tokenizer | str | None = None
    pairs: Texts
    aligner: str = "fast_align"
    symmetrize: str = "intersect"
    preprocess: Annotated[GivenOptions, _without(SET_FOR_PREPROCESS)] = {}
    data_bin: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if value.get("data_bin") is None:
            if value.get("bitext") is None:
                raise _must("a text or a list of texts", "bitext")
            return value
        for key in ("bitext", "exclude", "tokenizer", "preprocess"):
            if value.get(key) is not None:
                raise _must("left out, because `data_bin` names an existing data-bin", key)
        # Whatever aligner made the links of the data-bin.
        return {"aligner": "given", "symmetrize": "given", **value}

    @property
    def pool(self) -> str:
        return self.pairs[0]

    @property
    def links(self) -> tuple[str, str]:
        return self.aligner, self.symmetrize

    def files(self, pair: str) -> tuple[str, ...]:
        if isinstance(self.bitext, dict):
            return self.bitext[pair]
        return tuple(name.replace("{pair}", pair) for name in self.bitext)


class Shape(Section):
    """The shape of a published encoder, for estimates. The size of a gated feed-forward block counts 1.5 times."""

    layers: Positive
    width: Positive
    feed_forward: Positive


class Model(Section):
    """What is special about an architecture: trained from scratch, or a published model.

    Attributes:
        from_hf: Hugging Face folder, or name on the Hub, to start from; None: a base is trained.
        layers: how many layers of `from_hf` to keep; None: all.
        tokenizer: folder or name of an equal tokenizer, so that models share a data-bin (default: that of `from_hf`).
        vocabulary: rows of the embeddings, for estimates.
        shape: for estimates, if it is not a named architecture.
        base, continued: options of weam-train that replace the study's `base` and `continued`.
    """

    from_hf: str | None = None
    layers: Positive | None = None
    tokenizer: str | None = None
    vocabulary: int | None = None
    shape: Shape | None = None
    base: TrainOptions = {}
    continued: TrainOptions = {}

    @model_validator(mode="after")
    def _fits(self) -> Model:
        for key in ("layers", "tokenizer"):
            if self.from_hf is None and getattr(self, key) is not None:
                raise _must("left out, because it belongs to a published model (`from_hf`)", key)
        if self.from_hf is not None and self.base:
            raise _must("left out, because a published model is not trained from scratch", "base")
        if self.from_hf is not None and "layers" in self.continued:
            raise _must("left out: `layers` of the model itself cuts a published model", "continued", "layers")
        return self


class Base(Section):
    """Training of the models that the cells start from. `seed`: of all bases; `cell`: each seed has its own base."""

    seed: Any = 1
    train: TrainOptions = {}

    @model_validator(mode="after")
    def _seed_is_known(self) -> Base:
        if self.seed != "cell" and type(self.seed) is not int:
            raise _must("a whole number, or `cell` for one base for each seed", "seed")
        return self


class Block(Section):
    """A part of the grid: one cell for each combination."""

    name: str
    pairs: Texts
    arch: Texts
    objective: Annotated[Texts, _known(OBJECTIVES)]
    aligner: Texts | None = None
    symmetrize: Texts | None = None
    options: TrainOptions = {}
    seed: Annotated[tuple[int, ...], BeforeValidator(_seeds)]

    @model_validator(mode="after")
    def _trains(self) -> Block:
        if "max-update" in self.options and not all(map(_is_updates, as_list(self.options["max-update"]))):
            raise _must("a whole number above 0, or a list of them", "options", "max-update")
        return self


class Evaluation(Section):
    """`data` is a folder in the data folder, or hub:NAME. The default name is that of its tasks."""

    name: str = ""
    task: Annotated[Texts, _known(TASKS_BY_NAME)]
    data: str
    languages: Texts
    options: Annotated[GivenOptions, _without(SET_FOR_EVALUATE)] = {}

    @model_validator(mode="after")
    def _languages_of_its_tasks(self) -> Evaluation:
        for name in self.task:
            known = TASKS_BY_NAME[name].languages
            for language in self.languages:
                if language in EVERY and len(self.languages) > 1:
                    raise _must(f"`{language}` alone, or languages by name", "languages")
                if known is not None and not {*known, *EVERY}.issuperset(language.split("-")):
                    raise _must(f"languages of {name}, and {language} is not one of them", "languages")
        return self

    @property
    def label(self) -> str:
        return self.name or "+".join(self.task)


class Estimate(Section):
    """Figures that computing time is estimated from.

    Attributes:
        seconds: of a step, by its kind or the evaluation's name, where no similar step is finished. Of one update for
            `train` and `base`.
        flops: peak operations per second of one GPU; None: GPU hours are not estimated.
        utilisation: the share of them that a training reaches.
        pieces_per_update, base_pieces_per_update: on all GPUs together.
        length: pieces of a row, for attention.
        linked_share: of the masked pieces.
    """

    seconds: dict[str, Annotated[Number, Field(gt=0)]] = {}
    flops: Annotated[Number, Field(gt=0)] | None = None
    utilisation: Annotated[Number, Field(gt=0, le=1)] = 0.4
    pieces_per_update: Positive | None = None
    base_pieces_per_update: Positive | None = None
    length: Positive = 128
    linked_share: Number = 0.7


class Machine(Section):
    """Options that change no result, for each kind of step. They are not part of a step's identity."""

    preprocess: Annotated[GivenOptions, _harmless(HARMLESS_FOR_PREPROCESS, "`data.preprocess`")] = {}
    train: Annotated[GivenOptions, _harmless(HARMLESS_FOR_TRAIN, "`base.train` or `continued`")] = {}
    evaluate: Annotated[GivenOptions, _harmless(HARMLESS_FOR_EVALUATE, "`options` of the evaluation")] = {}


class _Keys(Section):
    """The keys of a study.

    Attributes:
        base: options of weam-train for the models that are trained from scratch.
        continued: options of weam-train for the models of the grid, which continue from a base or a published model.
        evaluate_bases: evaluate these starting points too.
    """

    title: str
    question: str = ""
    hypotheses: Texts = ()
    decision_rule: str = ""
    baseline: Annotated[str, _known((*OBJECTIVES, BASE_OBJECTIVE))] = "tlm"
    data: Data
    pair_sets: dict[str, Texts]
    models: dict[str, Model | None] = {}
    base: Base | None = None
    continued: TrainOptions = {}
    grid: Annotated[list[Block], Field(min_length=1)]
    evaluate_bases: bool = False
    evaluations: list[Evaluation] = []
    keep_checkpoints: bool = True
    estimate: Estimate = Estimate()
    machine: Machine = Machine()
    slurm: dict[Annotated[str, _key(("default", *KINDS))], GivenOptions] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> _Keys:
        self._check_pairs()
        self._check_names()
        self._check_models()
        if self.baseline == BASE_OBJECTIVE and not self.evaluate_bases:
            raise _must("an objective, or `base` together with `evaluate_bases: true`", "baseline")
        for number, block in enumerate(self.grid):
            for key in ("aligner", "symmetrize"):
                if self.data.data_bin is not None and getattr(block, key) is not None:
                    raise _must("left out, because the links are those of `data.data_bin`", "grid", number, key)
            if block.name in [other.name for other in self.grid[:number]]:
                raise _must("a name that no other block has", "grid", number, "name")
        labels = [evaluation.label for evaluation in self.evaluations]
        for name in self.estimate.seconds:
            if name not in (*KINDS, *labels):
                raise _unknown_key(name, (*KINDS, *labels), "estimate", "seconds", name)
        for number, evaluation in enumerate(self.evaluations):
            name = evaluation.label
            if not _NAME.fullmatch(name) or name in [other.label for other in self.evaluations[:number]]:
                raise _must(
                    f"a name of letters, digits, _, + and - that no other evaluation has (it would be {name})",
                    *("evaluations", number, "name"),
                )
        return self

    def _check_names(self) -> None:
        """A model is a named architecture, or a published model under a name of the user's own."""
        published = [arch for arch, model in self.models.items() if model is not None and model.from_hf is not None]
        known = (*ARCHITECTURES, *published)
        for arch in self.models:
            if arch not in known:
                raise _unknown_key(arch, ARCHITECTURES, "models")
            if not _NAME.fullmatch(arch):
                raise _must("named with letters, digits, _, + and -", "models", arch)
        for number, block in enumerate(self.grid):
            for arch in set(block.arch) - set(known):
                must = f"one of {', '.join(ARCHITECTURES)}, or a model of `models` with from_hf"
                hint = f" {arch} is unknown.{suggest(arch, known)}"
                raise _must(must, "grid", number, "arch", hint=hint)

    def _check_pairs(self) -> None:
        if not self.pair_sets:
            raise _must("a mapping that names at least one set of pairs", "pair_sets")
        for name, pairs in self.pair_sets.items():
            if not _NAME.fullmatch(name):
                raise _must("named with letters, digits, _, + and -", "pair_sets", name)
            for pair in pairs:
                if len(pair.split("-")) != 2 or len(set(pair.split("-"))) != 2:
                    raise _must(f"a list of pairs such as en-de, and {pair} is not a pair", "pair_sets", name)
                if isinstance(self.data.bitext, dict) and pair not in self.data.bitext:
                    raise _must(f"a mapping with the files of each pair, but {pair} is missing", "data", "bitext")
            if len(set(pairs)) != len(pairs):
                raise _must("a list of pairs that names each pair once", "pair_sets", name)
            if name.isdecimal() and int(name) != len(pairs):
                raise _must(f"a list of {name} pairs (it has {len(pairs)})", "pair_sets", name)
        bitext = self.data.bitext
        if not isinstance(bitext, dict) and not all("{pair}" in name for name in bitext):
            raise _must("file names with {pair} in them, or a mapping from pairs to files", "data", "bitext")
        of_grid = [(("grid", number, "pairs"), block.pairs) for number, block in enumerate(self.grid)]
        for keys, names in [(("data", "pairs"), self.data.pairs), *of_grid]:
            for name in set(names) - set(self.pair_sets):
                must = f"in `pair_sets`, which has {', '.join(self.pair_sets)}; {name} is unknown"
                raise _must(must, *keys)

    def _check_models(self) -> None:
        models = {
            arch: self.model(arch) for arch in (*self.models, *(arch for block in self.grid for arch in block.arch))
        }
        trains_bases = any(model.from_hf is None for model in models.values())
        if trains_bases and self.base is None:
            raise _must("a mapping with `seed` and `train`, because a base is trained from scratch", "base")
        for arch, model in models.items():
            if model.from_hf is None and not _is_updates(self.base_options(arch).get("max-update")):
                raise _must(f"a mapping with `max-update`, a whole number above 0, for {arch}", "base", "train")
            if not _is_updates(self.continued_options(arch).get("max-update")):
                raise _must(f"a mapping with `max-update`, a whole number above 0, for {arch}", "continued")
        if trains_bases and self.data.tokenizer is None and self.data.data_bin is None:
            raise _must("a mapping, because a base is trained from scratch", "data", "tokenizer")

    def model(self, arch: str) -> Model:
        """`models` needs to name only the architectures that have something special."""
        return self.models.get(arch) or Model()

    def base_options(self, arch: str) -> Options:
        """Options of weam-train for the base of an architecture."""
        return {**(self.base.train if self.base else {}), **self.model(arch).base}

    def continued_options(self, arch: str) -> Options:
        """Options of weam-train for the cells of an architecture that choose no others."""
        return {**self.continued, **self.model(arch).continued}

    def asked_of_slurm(self, kind: str) -> Options:
        """What Slurm is asked for; a kind's own keys replace those of `default`."""
        return {**self.slurm.get("default", {}), **self.slurm.get(kind, {})}

    def processes(self, kind: str) -> tuple[int, int]:
        """Nodes, and processes on each of them. An update of a training covers the pieces of all of them.

        Raises:
            InputError: the config gives something else than whole numbers.
        """
        asked = self.asked_of_slurm(kind)
        gpus = asked_whole(asked, "gpus-per-node", 0)
        tasks = asked_whole(asked, "tasks-per-node", max(gpus, 1) if kind in TRAININGS else 1)
        return asked_whole(asked, "nodes", 1), tasks


class Config(_Keys):
    """A study, the file that describes it, and that file's text and values."""

    path: Path
    text: str
    plain: dict[str, Any]


def as_list(value: Option) -> list[Any]:
    return value if isinstance(value, list) else [value]


def updates_of(options: Options) -> int:
    """`max-update`, which has been checked."""
    updates = options["max-update"]
    assert isinstance(updates, int)
    return updates


def asked_whole(asked: Options, key: str, default: int) -> int:
    value = asked.get(key, default)
    if type(value) is not int or value < 0:
        raise InputError(f"`{key}` of `slurm` must be a whole number, but is {value!r}.")
    return value


def _is_updates(value: Any) -> bool:
    return type(value) is int and value > 0


def read_config(path: Path) -> Config:
    """Reads and checks a study's config.

    Raises:
        InputError: what is wrong, with its file and line.
    """
    if not path.is_file():
        raise InputError(f"{path} must be the YAML file of a study, but does not exist.")
    node, loader, text = compose_yaml(path)
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path} must be a mapping (title: …, grid: …), but is not.")
    plain = _plain(path, node, loader)
    try:
        keys = _Keys.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
    else:
        return Config.model_construct(path=path, text=text, plain=plain, **dict(keys))
    _refuse(path, node, plain, first)


def _plain(path: Path, node: yaml.Node, loader: Any) -> Any:
    """The value of a node. Keys are texts, so `1:` and `"1":` are the same."""
    if node.tag == "tag:yaml.org,2002:map" and isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)  # <<: *anchor
        return {str(key.value): _plain(path, value, loader) for key, value in node.value}
    if node.tag == "tag:yaml.org,2002:seq" and isinstance(node, yaml.SequenceNode):
        return [_plain(path, part, loader) for part in node.value]
    return construct_yaml(path, node, loader)


_SENTENCES = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list of mappings",
    "too_short": "a list of mappings",
}


def _refuse(path: Path, node: yaml.Node, value: Any, error: Any) -> NoReturn:
    """Raises InputError for an error of pydantic: what must hold, what was found, in which line, and what to do."""
    kind, details, place = error["type"], error.get("ctx", {}), error["loc"]
    line, name, outer, is_given = node.start_mark.line + 1, "", "", True
    # Parts of pydantic's place that are no keys of the file name the type that was tried.
    expected = [place[-1]] if kind == "missing" else []
    for key in (*place, *details.get("keys", ())):
        if (children := _children(node)).keys().isdisjoint({key, str(key).replace("-", "_")}):
            if key not in (*expected, *details.get("keys", ())):
                continue
            is_given = False
        outer, name = name, f"{name}[{key}]" if isinstance(key, int) else f"{name}.{key}".lstrip(".")
        if not is_given:
            break
        key = key if key in children else key.replace("-", "_")
        value, (line, node) = value[key], children[key]
    if kind == "unknown":
        hint = suggest(details["key"], details["names"]) or f" It has {', '.join(details['names'])}."
        raise InputError(f"{path}:{line}: {f'`{outer}`' if outer else 'a study'} has no key `{details['key']}`.{hint}")
    must = details.get("sentence") or _SENTENCES.get(kind) or error["msg"].removeprefix("Input should be ")
    hint = details.get("hint", _quotes(value) if kind == "string_type" else "")
    if kind == "missing":
        raise InputError(f"{path}:{line}: `{name}` is missing.{hint}")
    is_now = shown(value) if is_given else "missing"
    raise InputError(f"{path}:{line}: `{name}` must be {must}, but is {is_now}.{hint}")


def _children(node: yaml.Node) -> dict[str | int, tuple[int, yaml.Node]]:
    """Lines and nodes of what a mapping or a list contains."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): (key.start_mark.line + 1, value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return {number: (part.start_mark.line + 1, part) for number, part in enumerate(node.value)}
    return {}
