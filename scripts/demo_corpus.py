#!/usr/bin/env python3
"""Fetches the demo's text through pip and writes it as sentence pairs: en-de, en-es and en-zh.

Human translations of two programs' messages, from wheels on PyPI, pinned and checked by SHA-256:
Home Assistant (Apache-2.0) and JupyterLab's language packs (BSD-3-Clause). Nothing of it is kept in this repository.

Example: scripts/demo_corpus.py runs/demo/corpus
"""

import argparse
import gettext
import io
import json
import random
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pinned_wheels import Wheel, fetch

from weam_fairseq.common.command import run_command

HELD_OUT = 500
MIN_WORDS = 4
SEED = 1

# Languages of the demo and how the two sources call them.
LANGUAGES = {"de": ("de", "de-DE"), "es": ("es", "es-ES"), "zh": ("zh-Hans", "zh-CN")}

WHEELS = [
    Wheel("homeassistant==2025.4.4", "b7970fe3ce3a9d032a3a5dee3cbf71b227e7f23fad14a23855ee252542ef2631", "Apache-2.0"),
    Wheel(
        "jupyterlab-language-pack-de-DE==4.5.post3",
        "b716b56f7e0c884f42152d5e36c253ea0f32ca41f99097d842d3934f4a4bc7fb",
        "BSD-3-Clause",
    ),
    Wheel(
        "jupyterlab-language-pack-es-ES==4.5.post3",
        "8b315de006bc48d5798988cff6141f00694e411265011ea21570b4f459070381",
        "BSD-3-Clause",
    ),
    Wheel(
        "jupyterlab-language-pack-zh-CN==4.5.post3",
        "47cdb0c41c6b066e795c867786c9c29fde527e2bf15aa6b3e9b2bab9929304b5",
        "BSD-3-Clause",
    ),
]

Pair = tuple[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("destination", type=Path, help="folder for train.en-XX.tsv and heldout.en-XX.tsv")
    args = parser.parse_args()
    build(args.destination)


def build(destination: Path) -> None:
    """Writes the corpus, whole or not at all: `corpus.json` is written last."""
    if (destination / "corpus.json").is_file():
        print(f"The corpus is there: {destination}")
        return
    wheels = [fetch(wheel, destination / "wheels") for wheel in WHEELS]
    english = home_assistant(wheels[0], "en")
    kept: dict[str, dict[Pair, None]] = {}
    counts: dict[str, Counter[str]] = {}
    for place, (language, (home, _)) in enumerate(LANGUAGES.items()):
        translated = home_assistant(wheels[0], home)
        joined = [(english[key], text) for key, text in translated.items() if key in english]
        joined += jupyterlab(wheels[1 + place])
        kept[language], counts[language] = sentences(joined, language)
    held_out = choose_held_out(kept)
    for language, pairs in kept.items():
        held = [pair for pair in pairs if pair[0] in held_out[language] and held_out[language][pair[0]] == pair[1]]
        english_held = {pair[0] for pair in held}
        train = [pair for pair in pairs if pair not in set(held)]
        write_pairs(destination / f"heldout.en-{language}.tsv", held)
        write_pairs(destination / f"train.en-{language}.tsv", train)
        counts[language].update({"held out": len(held), "train": len(train)})
        assert len(english_held) == HELD_OUT
    describe(destination, counts)


def home_assistant(wheel: Path, language: str) -> dict[str, str]:
    """Key -> text of all components' messages in one language."""
    pattern = re.compile(rf"homeassistant/components/([^/]+)/translations/{re.escape(language)}\.json")
    texts: dict[str, str] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if match := pattern.fullmatch(name):
                texts.update(flatten(json.loads(archive.read(name)), match.group(1)))
    return texts


def flatten(node: dict, prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}/{key}")
        elif isinstance(value, str):
            yield f"{prefix}/{key}", value


def jupyterlab(wheel: Path) -> list[Pair]:
    """English and translated messages of a language pack's compiled gettext catalogues."""
    pairs: list[Pair] = []
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".mo")):
            catalogue = gettext.GNUTranslations(io.BytesIO(archive.read(name)))._catalog  # type: ignore[attr-defined]
            for key, text in sorted((k, v) for k, v in catalogue.items() if isinstance(k, str) and k):
                pairs.append((key.rsplit("\x04", 1)[-1], text))  # "context\x04message"
    return pairs


def sentences(joined: list[Pair], language: str) -> tuple[dict[Pair, None], Counter[str]]:
    """Keeps what is a sentence on both sides, once; counts the rest by reason."""
    kept: dict[Pair, None] = {}
    counts: Counter[str] = Counter({"joined by key": len(joined)})
    for source, target in joined:
        pair = (source.strip(), target.strip())
        reason = why_not(*pair, language)
        if reason is None and pair in kept:
            reason = "seen before"
        if reason is None:
            kept[pair] = None
        else:
            counts[reason] += 1
    counts["kept"] = len(kept)
    return kept, counts


MARKUP = re.compile(r"[{}<>`\n\t\r]|\]\(|\[%|%[(0-9sd]|\*\*|https?:|&\w+;")


def why_not(source: str, target: str, language: str) -> str | None:
    if not source or not target:
        return "empty side"
    if source == target:
        return "same text on both sides"
    if MARKUP.search(source) or MARKUP.search(target):
        return "placeholder or markup"
    if len(re.findall(r"[^\W\d_]+", source)) < MIN_WORDS:
        return f"fewer than {MIN_WORDS} words"
    if language == "zh" and not re.search(r"[\u4e00-\u9fff]", target):
        return "no Chinese character"
    return None


def choose_held_out(kept: dict[str, dict[Pair, None]]) -> dict[str, dict[str, str]]:
    """The same English sentences in all languages, each with one translation that stands nowhere else."""
    unique: dict[str, dict[str, str]] = {}
    for language, pairs in kept.items():
        sources, targets = Counter(p[0] for p in pairs), Counter(p[1] for p in pairs)
        unique[language] = {s: t for s, t in pairs if sources[s] == 1 and targets[t] == 1}
    common = [s for s in unique["de"] if all(s in of for of in unique.values())]
    chosen = set(random.Random(SEED).sample(common, HELD_OUT))
    return {language: {s: t for s, t in of.items() if s in chosen} for language, of in unique.items()}


def write_pairs(path: Path, pairs: list[Pair]) -> None:
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")


def describe(destination: Path, counts: dict[str, Counter[str]]) -> None:
    sources = [{"package": w.requirement, "sha256": w.sha256, "licence": w.licence} for w in WHEELS]
    for wheel in WHEELS:
        print(f"Text from {wheel.requirement} on PyPI, licence {wheel.licence}")
    reasons = list(dict.fromkeys(reason for of in counts.values() for reason in of))
    print(f"{'':26}" + "".join(f"{'en-' + language:>9}" for language in counts))
    for reason in reasons:
        print(f"{reason:26}" + "".join(f"{of[reason]:9,}" for of in counts.values()))
    notice = "".join(f"{w.requirement}  licence {w.licence}  sha256 {w.sha256}\n" for w in WHEELS)
    (destination / "SOURCES.txt").write_text(
        "The sentence pairs in this folder are messages of these packages on PyPI, translated by their communities;\n"
        f"the licence texts stand in the wheels beside this file.\n\n{notice}",
        encoding="utf-8",
    )
    whole = destination / "corpus.json.incomplete"
    whole.write_text(json.dumps({"sources": sources, "counts": counts}, indent=1), encoding="utf-8")
    whole.replace(destination / "corpus.json")


if __name__ == "__main__":
    sys.exit(run_command("demo_corpus.py", main))
