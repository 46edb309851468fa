#!/usr/bin/env python3
"""Runs scripts/configs/study_published.yaml: decodes the encoder, prepares the evaluation sets, then calls weam-study.

DATA holds bitext/en-XX.tsv.xz (English, tab, XX), gold_alignments/ (the published sets of hand-made word links) and
eval/tatoeba.tar.xz. The prepared sets and the encoder (490 MB) are written to RUN_DIR once. Words of Japanese and Thai
need two packages: pip install -e '.[ja,th]'

All options but --data and --run-dir are weam-study's. Example, one model and what it needs:

  scripts/study_published.py --data DATA --only 'weam.3-pairs.e5-small.s1'
"""

import argparse
import lzma
import os
import re
import sys
import tarfile
from pathlib import Path

import published_encoder

from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import whole_folder, write_text
from weam_fairseq.evaluation.readers import read_lines

CONFIG = Path(__file__).resolve().parent / "configs" / "study_published.yaml"
ENCODER, DATA = "e5-small", "data"
# Our pair -> the published set, and whether its first side is the other language.
GOLD = {
    "de": ("de-en.dev", True),
    "zh": ("awesome-zhen.dev", True),
    "es": ("xlwa-en-es.dev", False),
    "fr": ("en-fr", False),
    "ro": ("ro-en", True),
    "ja": ("awesome-jaen", True),
    "hi": ("en-hi", False),
    "ru": ("xlwa-en-ru", False),
}
ARCHIVES = ("tatoeba",)
LINK = re.compile(r"(\d+)([-p])(\d+)")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the published data")
    parser.add_argument(
        *("--run-dir",),
        type=Path,
        default=Path("runs/study_published"),
        metavar="RUN_DIR",
        help="folder of the study (default: %(default)s)",
    )
    options, of_study = parser.parse_known_args()
    os.environ |= {"PYTHONWARNINGS": "ignore"}
    from weam_fairseq.study import cli as study  # not before: it imports libraries that read the environment

    run_dir = options.run_dir
    folders = ["--root", str(run_dir), "--data", str(run_dir / DATA), "--study-dir", str(run_dir)]
    arguments = [str(CONFIG), *folders, *of_study]
    parsed = study.make_parser().parse_args(arguments)  # a wrong option ends the run before anything is prepared
    if not (parsed.list or parsed.dry_run):
        check_words()
        if (run_dir / DATA).is_dir():
            print(f"Using the evaluation sets in {run_dir / DATA}; --data is not read again", flush=True)
        else:
            prepare(options.data, run_dir / DATA)
        if not (run_dir / ENCODER).is_dir():
            published_encoder.main([str(run_dir / ENCODER)])
    return study.main(arguments)


def check_words() -> None:
    """Raises InputError, before anything is prepared, for packages that the words of a language need."""
    from weam_preprocess.words import check_segmenters

    from weam_fairseq.study.config import read_config

    config = read_config(CONFIG)
    pairs = config.pair_sets[config.data.pool]
    check_segmenters({language: None for pair in pairs for language in pair.split("-")})


def prepare(source: Path, destination: Path) -> None:
    """Writes the evaluation sets under the names that weam-evaluate reads, English first. Links the bitext.

    Raises:
        InputError: a file is missing or cannot be read, or a line is malformed.
    """
    needed = [source / "bitext", *(source / "eval" / f"{name}.tar.xz" for name in ARCHIVES)]
    needed += [
        source / "gold_alignments" / f"{name}.{ending}" for name, _ in GOLD.values() for ending in ("src-tgt", "gold")
    ]
    missing = [path for path in needed if not path.exists()]
    if missing:
        raise InputError(f"--data {source} must hold {len(needed)} files and folders, but lacks {missing[0]}.")
    print(f"Writing the evaluation sets to {destination}", flush=True)
    with whole_folder(destination) as folder:
        (folder / "bitext").symlink_to((source / "bitext").resolve())
        for name in ARCHIVES:
            unpack(source / "eval" / f"{name}.tar.xz", name, folder)
        gold = folder / "gold_alignments"
        gold.mkdir()
        for language, (name, is_turned) in GOLD.items():
            for ending, turned in (("src-tgt", turn_sides), ("gold", turn_links)):
                lines = read_lines(source / "gold_alignments" / f"{name}.{ending}")
                lines = [turned(line) if is_turned else line for line in lines]
                write_text(gold / f"gold.en-{language}.{ending}", "".join(f"{line}\n" for line in lines))


def unpack(file: Path, name: str, folder: Path) -> None:
    """Unpacks an archive that holds the folder `name`."""
    try:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{file} must be a whole tar archive, but cannot be unpacked: {error}.") from error
    if not (folder / name).is_dir():
        raise InputError(f"{file} must hold a folder {name}, but does not.")


def turn_sides(line: str) -> str:
    first, separator, second = line.partition(" ||| ")
    if not separator:
        raise InputError(f"A line of words must be `words ||| words`, but is {line!r}.")
    return f"{second} ||| {first}"


def turn_links(line: str) -> str:
    return " ".join(turn_link(link) for link in line.split())


def turn_link(link: str) -> str:
    match = LINK.fullmatch(link)
    if match is None:
        raise InputError(f"A link must be i-j or ipj, but is {link!r}.")
    return f"{match[3]}{match[2]}{match[1]}"


if __name__ == "__main__":
    sys.exit(run_command("study_published.py", main))
