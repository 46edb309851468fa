"""Where a benchmark's files lie: the published names, and those that XTREME's download scripts make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.language_codes import LASER_CODES
from weam_fairseq.evaluation.measurement import Setting

# TyDiQA writes its languages out.
LANGUAGE_NAMES = {
    "ar": "arabic",
    "bn": "bengali",
    "en": "english",
    "fi": "finnish",
    "id": "indonesian",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
}


# A file may also be compressed, with one of these behind its name.
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

# Stands for a language that is not known yet.
_ANY = "\0"


def alternatives(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def fill(name: str, setting: Setting, language: str) -> str:
    """A file's name. Fields: {language}, {pair}, {split}; {context} and {question}, the parts of a language such as
    `en-de` (both the language itself otherwise); {name}, the language's English name where TyDiQA has it;
    {laser}, LASER's code of it.
    """
    context, _, question = language.partition("-")
    return name.format(
        language=language,
        pair=setting.pair(language),
        split=setting.split,
        context=context,
        question=question or context,
        name=LANGUAGE_NAMES.get(language, language),
        laser=LASER_CODES.get(language, language),
    )


def find_files(setting: Setting, task: str, names: str | tuple[str, ...], language: str) -> list[Path]:
    """The files of the first alternative that is there; empty if none is.

    Looked for in the data folder's sub-folder of the task's name, in the data folder, and beside it (XTREME keeps
    SQuAD beside MLQA).

    Raises:
        InputError: the data folder is not there.
    """
    if not setting.data.is_dir():
        raise InputError(f"the data folder {setting.data} is not there. Give --data the evaluation files' folder.")
    beside = setting.data.resolve().parent
    for base in (setting.data / task, setting.data, beside):
        for name in alternatives(names):
            if base == beside and ("/" not in name or "*" in name.partition("/")[0]):
                continue  # a bare name, or any folder's, beside the data folder may be anybody's
            paths = _matching(base, fill(name, setting, language))
            if paths:
                return paths
    return []


def languages_in_names(setting: Setting, task: str, names: str | tuple[str, ...]) -> list[str]:
    """What stands for the language in the names of the files that are there, for tasks of any language.

    A name goes by the first alternative that it fits: `en-fr.gold` is the pair with `fr`, `ro-en.gold` the language
    `ro-en`. A dot parts a language from a split, so no language has one.
    """
    found = set()
    for base in (setting.data / task, setting.data):
        for path in base.iterdir() if base.is_dir() else ():
            found.add(next((each for name in alternatives(names) if (each := _language_in(path, name, setting))), ""))
    return sorted(found - {""})


def _language_in(path: Path, name: str, setting: Setting) -> str:
    """Empty where the file's name does not fit."""
    before, after = fill(name, setting, _ANY).split(_ANY)
    whole = path.name.removesuffix(path.suffix) if path.suffix in COMPRESSED else path.name
    middle = whole[len(before) : len(whole) - len(after)]
    return middle if whole == before + middle + after and "." not in middle else ""


def has_split(setting: Setting, paths: Sequence[Path]) -> bool:
    """Whether the files' names say which split they are."""
    return all(setting.split in path.name.split(".") for path in paths)


def is_there(setting: Setting, task: str, files: Sequence[str | tuple[str, ...]], language: str) -> bool:
    return all(find_files(setting, task, names, language) for names in files)


def _matching(base: Path, name: str) -> list[Path]:
    if "*" in name:
        packed = (path for ending in COMPRESSED for path in base.glob(name + ending))
        paths = [*base.glob(name), *(path for path in packed if not path.with_suffix("").is_file())]
        return sorted(path for path in paths if path.is_file())
    path = next((path for ending in ("", *COMPRESSED) if (path := base / f"{name}{ending}").is_file()), None)
    return [] if path is None else [path]
