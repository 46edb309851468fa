"""What became of the input lines: counts of chunks, the examples in dropped.tsv, and the table of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .corpus import InputFile, PairFiles

DROPPED_FILE = "dropped.tsv"


_EXAMPLES = 20
_SHOWN_CHARS = 500
_COLUMNS = ("pair", "file", "line", "reason", "source", "target")
# A vocabulary that fits its text has far fewer unknown pieces: emoji and rare characters.
MOST_UNKNOWN = 0.01

_HEAD = (
    *("pair", "read", "kept", "train", "valid", "word links", "piece links"),
    *("linked pieces", "pieces per word", "unknown pieces"),
)


class Example(NamedTuple):
    """A dropped pair as shown in dropped.tsv. A line that could not be split is the source, without a target."""

    line_idx: int
    source: str
    target: str


@dataclass
class Account:
    """Of `read` pairs, how many were dropped by reason, and the first `_EXAMPLES` of each reason in input order.

    `repaired` counts the sides that were repaired, including those of dropped lines; `noted` counts unusual kept pairs.
    """

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        return self.read - self.dropped.total()

    def drop(self, reason: str, line_idx: int, source: str | bytes, target: str | bytes = "") -> None:
        """Counts one dropped pair. Lines of one account must come in input order."""
        self.dropped[reason] += 1
        if self.dropped[reason] <= _EXAMPLES:
            self.examples.setdefault(reason, []).append(Example(line_idx, show(source), show(target)))


def add_up(accounts: Iterable[Account]) -> Account:
    """One account of all chunks, in any order; the examples are the first ones by `line_idx`."""
    merged = Account()
    for account in accounts:
        merged.read += account.read
        merged.dropped += account.dropped
        merged.repaired += account.repaired
        merged.noted += account.noted
        for reason, examples in account.examples.items():
            merged.examples[reason] = sorted([*merged.examples.get(reason, []), *examples])[:_EXAMPLES]
    return merged


def show(text: str | bytes) -> str:
    """At most 500 characters of the text, then `…`, on one line and without tabs.

    Unprintable characters are escaped: a byte of invalid UTF-8 as `\\xff`, a control or format character as `\\u200b`,
    and a backslash as two.
    """
    if isinstance(text, bytes):
        # A character has at most 4 bytes, so this keeps over 500 characters if the text has that many.
        text = text[: 4 * _SHOWN_CHARS + 4].replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    else:
        text = text[: 2 * _SHOWN_CHARS].replace("\\", "\\\\")
    shown = text[:_SHOWN_CHARS] + ("…" if len(text) > _SHOWN_CHARS else "")
    return shown if shown.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in shown)


def _escape(char: str) -> str:
    short = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}.get(char)
    return short or (f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}")


def write_dropped(file: Path, pairs: Iterable[tuple[str, Sequence[tuple[InputFile, ...]], Account]]) -> None:
    """Writes dropped.tsv from (pair name, files of its parts, account), with the reasons in alphabetical order."""
    rows = [_COLUMNS]
    for name, parts, account in pairs:
        for reason, examples in sorted(account.examples.items()):
            for example in examples:
                files, line = locate(parts, example.line_idx)
                rows.append((name, show(files), f"{line}", reason, example.source, example.target))
    file.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8", newline="\n")


def locate(parts: Sequence[tuple[InputFile, ...]], line_idx: int) -> tuple[str, int]:
    """The file names (two are joined by a comma), and the number of the line in them, from 1."""
    for part in parts:
        if line_idx < part[0].lines:
            return ",".join(file.file for file in part), line_idx + 1
        line_idx -= part[0].lines
    raise AssertionError("the line is of these files")


class MadeBy(NamedTuple):
    """What aligned a language pair: the names for the manifest, and the folder of the model, if any.

    max_words: a pair with more words on a side got no links; None means no limit.
    """

    name: str
    version: str
    model: Path | None
    card: dict[str, Any] | None
    max_words: int | None = None


class PairReport(NamedTuple):
    """Counts of one language pair, train and valid together. Shares are of pieces, as (source, target).

    files: of each part. probabilities: whether the links have them.
    """

    pair: PairFiles
    files: list[tuple[InputFile, ...]]
    account: Account
    train: int
    valid: int
    word_links: int
    piece_links: int
    linked_pieces: tuple[float, float]
    pieces_per_word: tuple[float, float]
    unknown_pieces: tuple[float, float]
    probabilities: bool
    made_by: MadeBy


class Report(NamedTuple):
    pairs: list[PairReport]
    aligner: str
    probabilities: bool
    vocab_size: int
    seconds: dict[str, float]
    explained: list[str]


def unknown_warnings(report: PairReport) -> list[str]:
    """A warning for each language with a share of unknown pieces above `MOST_UNKNOWN`."""
    languages = (report.pair.source_lang, report.pair.target_lang)
    return [
        f"{report.pair.name}: {share:.1%} of the {language} pieces are unknown, and a model learns nothing from them. "
        "The vocabulary was probably made for other languages, or for lower-cased text although this tokenizer keeps "
        "capital letters. Choose another --tokenizer, or train one with --train-tokenizer."
        for language, share in zip(languages, report.unknown_pieces, strict=True)
        if share > MOST_UNKNOWN
    ]


def render(report: Report) -> str:
    rows = [_HEAD, *(_row(pair) for pair in report.pairs)]
    lines = [*_columns(rows), ""]
    for pair in report.pairs:
        account = pair.account
        for what, counts in (("dropped", account.dropped), ("repaired", account.repaired), ("noted", account.noted)):
            lines += _reasons(pair, what, counts)
    probabilities = ", with probabilities" if report.probabilities else ""
    lines.append(f"links by {report.aligner}{probabilities}; vocabulary of {report.vocab_size:,} pieces")
    total = sum(report.seconds.values())
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in report.seconds.items())
    lines += [f"seconds: {total:.1f} ({stages})", *_compressed(report)]
    return "\n".join([*lines, *("\n" + text for text in report.explained)])


def _compressed(report: Report) -> list[str]:
    """The files that were compressed, as their content shows."""
    files = {file.file: file.compression for pair in report.pairs for part in pair.files for file in part}
    found = ", ".join(f"{name} ({compression})" for name, compression in files.items() if compression)
    return [f"decompressed: {found}"] if found else []


def _row(pair: PairReport) -> tuple[str, ...]:
    languages = (pair.pair.source_lang, pair.pair.target_lang)
    return (
        pair.pair.name,
        f"{pair.account.read:,}",
        f"{pair.train + pair.valid:,}",
        f"{pair.train:,}",
        f"{pair.valid:,}",
        f"{pair.word_links:,}",
        f"{pair.piece_links:,}",
        ", ".join(f"{lang} {share:.1%}" for lang, share in zip(languages, pair.linked_pieces, strict=True)),
        ", ".join(f"{lang} {count:.2f}" for lang, count in zip(languages, pair.pieces_per_word, strict=True)),
        ", ".join(f"{lang} {share:.2%}" for lang, share in zip(languages, pair.unknown_pieces, strict=True)),
    )


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _reasons(pair: PairReport, what: str, counts: Counter[str]) -> list[str]:
    if not counts:
        return []
    # The most frequent first, equal counts by name, so that the table is the same in every run.
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{pair.pair.name} {what}: " + ", ".join(f"{reason} {count:,}" for reason, count in ordered)]
