"""The account that `weam-preprocess` ends with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .report import PairReport, Report

_HEAD = (
    *("pair", "read", "kept", "train", "valid", "word links", "piece links"),
    *("linked pieces", "pieces per word", "unknown pieces"),
)


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
    """What the content of files, and not their names, has told about them."""
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
    # The commonest first; equal counts by name, so that the table is the same in every run.
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{pair.pair.name} {what}: " + ", ".join(f"{reason} {count:,}" for reason, count in ordered)]
