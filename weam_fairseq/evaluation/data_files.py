"""Finds, downloads and reads a benchmark's files: published names, the names of XTREME's download scripts, or the Hub.

`--data hub:NAME` writes a benchmark's rows from the Hugging Face Hub into files in the formats that the readers know,
and reads these like any other data: the signature hashes the bytes that were scored, and a second run needs no network.
It needs the package `datasets`. NAME may also be a local folder that `datasets.load_dataset` accepts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError, reason_of
from weam_fairseq.common.files import write_text
from weam_fairseq.common.text_files import COMPRESSED_SUFFIXES
from weam_fairseq.evaluation.benchmark import Alternatives, Benchmark, HubCopy, Setting

# Values of --languages that stand for the languages of a benchmark, or for those with data.
EVERY = ("all", "present")

# The start of a --data value that names a data set on the Hub.
PREFIX = "hub:"

# In place of a language that is not known yet.
_ANY = "\0"
Names = str | Alternatives


def alternatives(names: Names) -> Alternatives:
    return (names,) if isinstance(names, str) else names


def fill(name: str, setting: Setting, language: str, codes: Mapping[str, str]) -> str:
    """A file's name. Its fields are {language}, {pair} and {split}; {context} and {question}, the parts of a language
    such as `en-de` (or twice the language itself); {code}, the language as the benchmark's file names spell it.
    """
    context, _, question = language.partition("-")
    return name.format(
        language=language,
        pair=setting.pair(language),
        split=setting.split,
        context=context,
        question=question or context,
        code=codes.get(language, language),
    )


def from_hub(data: object) -> bool:
    """Whether --data names a data set on the Hugging Face Hub."""
    return str(data).startswith(PREFIX)


def find_files(setting: Setting, benchmark: Benchmark, names: Names, language: str) -> list[Path]:
    """The files of the first alternative that exists; empty if none does.

    The search covers the data folder's sub-folder with the benchmark's name, the data folder, and its parent (XTREME
    keeps SQuAD beside MLQA).

    Raises:
        InputError: the data folder does not exist.
    """
    check_data_folder(setting)
    parent = setting.data.resolve().parent
    for base in (setting.data / benchmark.name, setting.data, parent):
        for name in alternatives(names):
            if base == parent and ("/" not in name or "*" in name.partition("/")[0]):
                continue  # In the parent, a plain name or a pattern could match unrelated files.
            paths = _matching(base, fill(name, setting, language, benchmark.codes))
            if paths:
                return paths
    return []


def check_data_folder(setting: Setting) -> None:
    if not setting.data.is_dir():
        raise InputError(f"the data folder {setting.data} does not exist. Give --data the folder of evaluation files.")


def data_files(benchmark: Benchmark, setting: Setting) -> dict[str, list[Path]]:
    """All files of each requested language.

    Raises:
        InputError: the folder or files are missing; the sentence names all missing files.
    """
    check_split(benchmark, setting.split)
    found: dict[str, list[Path]] = {}
    missing: dict[tuple[str, ...], list[str]] = {}
    for language in setting.languages:
        check_language(benchmark, language)
        for names in benchmark.files:
            paths = find_files(setting, benchmark, names, language)
            found.setdefault(language, []).extend(paths)
            if not paths:
                filled = (fill(name, setting, language, benchmark.codes) for name in alternatives(names))
                missing.setdefault(tuple(dict.fromkeys(filled)), []).append(language)
    if missing:
        raise InputError(_missing(benchmark, setting, missing))
    return found


def _missing(benchmark: Benchmark, setting: Setting, missing: Mapping[tuple[str, ...], list[str]]) -> str:
    """`missing`: the languages that lack a file, by the file's possible names."""
    present = languages_with_data(benchmark, setting)
    needed = "; ".join(
        f"{' or '.join(names)} for language {', '.join(map(repr, languages))}" for names, languages in missing.items()
    )
    one = len(missing) == 1
    return (
        f"{benchmark.name} needs {needed}, but {setting.data} does not contain {'it' if one else 'them'}. It has data "
        f"for {', '.join(present) or 'no language'} (split {setting.split!r}, source language "
        f"{setting.source_language!r}). Change --languages, or add the {'file' if one else 'files'}."
    )


def read_data(benchmark: Benchmark, files: Mapping[str, list[Path]], gold_from: int | None = None) -> dict[str, Any]:
    """Each language's data.

    Args:
        gold_from: the number of a sentence's first word in gold links; None expects 0.

    Raises:
        InputError: a file is not in the benchmark's format, or its gold was removed.
    """
    if benchmark.fine_tuned is not None:
        return {language: benchmark.read(*paths, language=language) for language, paths in files.items()}
    if benchmark.reads_links:
        return {language: benchmark.read(*paths, first_word=gold_from) for language, paths in files.items()}
    return {language: benchmark.read(*paths) for language, paths in files.items()}


def languages_with_data(benchmark: Benchmark, setting: Setting) -> list[str]:
    """Languages that have all files of the benchmark."""
    return [
        language
        for language in languages_of(benchmark, setting)
        if all(find_files(setting, benchmark, names, language) for names in benchmark.files)
    ]


def languages_of(benchmark: Benchmark, setting: Setting) -> list[str]:
    """The benchmark's languages; if it allows any, the languages that have the first of its files.

    A file name counts for the first alternative that it fits: `en-fr.gold` is the pair with `fr`, `ro-en.gold` the
    language `ro-en`. A dot separates a language from a split, so no language contains one.
    """
    if benchmark.languages is not None:
        return list(benchmark.languages)
    found = set()
    for base in (setting.data / benchmark.name, setting.data):
        for path in base.iterdir() if base.is_dir() else ():
            names = alternatives(benchmark.files[0])
            found.add(next((language for name in names if (language := _language_in(path, name, setting))), ""))
    return sorted(found - {""})


def _language_in(path: Path, name: str, setting: Setting) -> str:
    """Empty if the file's name does not fit."""
    before, after = fill(name, setting, _ANY, {}).split(_ANY)
    file_name = path.name.removesuffix(path.suffix) if path.suffix in COMPRESSED_SUFFIXES else path.name
    middle = file_name[len(before) : len(file_name) - len(after)]
    return middle if file_name == before + middle + after and "." not in middle else ""


def has_split(setting: Setting, paths: Sequence[Path]) -> bool:
    """Whether the files' names contain the split."""
    return all(setting.split in path.name.split(".") for path in paths)


def check_split(benchmark: Benchmark, split: str) -> None:
    if benchmark.splits and split not in benchmark.splits:
        raise InputError(f"{benchmark.name} has no split {split!r}; it has {', '.join(benchmark.splits)}.")


def check_language(benchmark: Benchmark, language: str) -> None:
    """Accepts `de`; also `en-de` if the file names distinguish a context's language from a question's."""
    if benchmark.languages is None:
        return
    pairs = any("{context}" in name for name in alternatives(benchmark.files[0]))
    parts = language.split("-") if pairs else [language]
    if len(parts) > 2 or not all(part in benchmark.languages for part in parts):
        raise InputError(f"{benchmark.name} has no language {language!r}; it has {', '.join(benchmark.languages)}.")


def _matching(base: Path, name: str) -> list[Path]:
    if "*" in name:
        packed = (path for suffix in COMPRESSED_SUFFIXES for path in base.glob(name + suffix))
        paths = [*base.glob(name), *(path for path in packed if not path.with_suffix("").is_file())]
        return sorted(path for path in paths if path.is_file())
    path = next((path for suffix in ("", *COMPRESSED_SUFFIXES) if (path := base / f"{name}{suffix}").is_file()), None)
    return [] if path is None else [path]


def download(
    benchmark: Benchmark, data: str, languages: Sequence[str], split: str, english: Collection[str], work: Path
) -> Path:
    """The folder with the files of these languages and of English training. Missing files are downloaded.

    Args:
        data: `hub:NAME`, or `hub:` for the benchmark's usual name.
        english: the English splits, `train` and `dev`, that training and selection need and the user's files do not
            replace.

    Raises:
        InputError: the benchmark or its training data is not on the Hub, `datasets` is not installed, or the Hub has no
            such data.
    """
    copy = benchmark.hub
    assert copy is not None, "the caller checks this"
    trained_on = copy.trained_on or copy
    if english and not trained_on.english:
        raise InputError(
            f"{benchmark.name} on the Hub has no English training data. Also give --train-file FILE, and one of "
            "--dev-file FILE, --hold-out N or --select last."
        )
    name = data.removeprefix(PREFIX) or copy.usual
    local = Path(name).exists()  # as `datasets` decides; its files may have changed since the last run
    full_name = str(Path(name).resolve()) if local else name
    folder = work / "hub" / benchmark.name / full_name.strip("/").replace("/", "--")
    for language in languages:
        _fetch(copy, name, folder, split, language, again=local)
    for english_split in (each for each in trained_on.english if each in english):
        if trained_on is copy:
            _fetch(copy, name, folder, english_split, "en", again=local)
        else:
            _fetch(trained_on, trained_on.usual, folder, english_split, "en", again=False)
    return folder


def _fetch(copy: HubCopy, name: str, folder: Path, split: str, language: str, again: bool) -> None:
    path = folder / _filled(copy.file, split, language)
    if again or not path.is_file():
        text = _load(copy, name, split, language)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


def _load(copy: HubCopy, name: str, split: str, language: str) -> str:
    try:
        import datasets
    except ImportError:
        raise InputError(
            "--data hub: needs the package datasets: pip install datasets. Or give --data a folder."
        ) from None
    config = _filled(copy.config, split, language)
    try:
        rows = datasets.load_dataset(name, config, split=copy.splits[split])
    except (ValueError, OSError, KeyError, RuntimeError) as error:  # RuntimeError: a data set that is a program
        raise InputError(
            f"the Hub returned no {split} data of {name}, configuration {config}: {reason_of(error)}. Give "
            "--data hub:NAME with another name, or a folder."
        ) from None
    return copy.text(rows, lambda column: _class_names(rows, column))


def _filled(text: str, split: str, language: str) -> str:
    context, _, question = language.partition("-")
    return text.format(split=split, language=language, context=context, question=question or context)


def _class_names(rows: Any, column: str) -> Sequence[str]:
    feature = rows.features[column]
    return getattr(feature, "feature", feature).names  # of a list of labels, the label
