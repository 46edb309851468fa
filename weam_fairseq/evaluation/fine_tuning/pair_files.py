"""Readers of sentence pairs with a label: XNLI, its machine translations, other NLI sets, PAWS-X.

Text stays as it stands in the file: quotation marks that some publishers doubled are not undone, as XTREME's reader
does not either.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from pathlib import Path

from weam_fairseq.common.documents import parse_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.fine_tuning.examples import SentencePair
from weam_fairseq.evaluation.labels import PARAPHRASE, TRAINING_NLI
from weam_fairseq.evaluation.readers import read_lines

# In the order of a model's outputs.
NLI_LABELS = ("contradiction", "entailment", "neutral")
PAWS_LABELS = ("0", "1")

# (first sentence, second sentence, label) by the headers of the published files.
_HEADERS = (
    ("sentence1", "sentence2", "gold_label"),  # SNLI, MultiNLI, xnli.dev.tsv, xnli.test.tsv
    ("premise", "hypo", "label"),  # XNLI-MT: multinli.train.XX.tsv
    ("premise", "hypothesis", "label"),  # the Hub's names
    ("sentence_A", "sentence_B", "entailment_judgment"),  # SICK
    ("sentence1", "sentence2", "label"),  # PAWS-X
)


def read_nli(*paths: Path, language: str = "en") -> list[SentencePair]:
    """Reads XNLI (both layouts), `multinli.train.XX.tsv`, and, to train on, SNLI, MultiNLI, SICK and RTE.

    Of a file with a column `language` only that language's lines are taken. Labels go by their names, or by the numbers
    that the published data sets give them (labels.py).

    Raises:
        InputError: a line is malformed, a label is unknown or missing, or the language has no line.
    """
    pairs = [pair for path in paths for pair in _read_nli_file(path, language)]
    return _not_empty(pairs, paths, language)


def read_paws(*paths: Path, language: str = "en") -> list[SentencePair]:
    """Reads PAWS-X: three columns (XTREME), or four with a header (`id sentence1 sentence2 label`).

    Raises:
        InputError: a line is malformed, or a label is unknown.
    """
    pairs = []
    for path in paths:
        for where, (first, second, label) in _rows(path, language):
            pairs.append(_pair(first, second, PARAPHRASE.known(label, where)))
    return _not_empty(pairs, paths, language)


def _read_nli_file(path: Path, language: str) -> Iterator[SentencePair]:
    rows = _rte_rows(path, language) if path.suffix == ".xml" else _rows(path, language)
    for where, (first, second, label) in rows:
        yield _pair(first, second, TRAINING_NLI.known(label, where))


def _pair(first: str, second: str, label: str) -> SentencePair:
    # The published sets hold a few empty sides; they are asked like all others, as everybody else does.
    return SentencePair(first.strip(), second.strip(), label)


Row = tuple[str, tuple[str, str, str]]


def _rows(path: Path, language: str) -> Iterator[Row]:
    lines = read_lines(path)
    if lines and lines[0].lstrip().startswith("{"):
        yield from _json_rows(path, lines, language)
        return
    columns = _columns(lines[0].split("\t")) if lines else None
    if columns is None:
        yield from _plain_rows(path, lines)
        return
    header = lines[0].split("\t")
    language_column = header.index("language") if "language" in header else None
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        where = f"{path}:{number}"
        if len(cells) <= max(columns):
            raise InputError(
                f"{where}: the line has {len(cells)} columns, but its header names {len(header)}. "
                "A file without its last columns has lost its gold labels."
            )
        if language_column is None or cells[language_column] == language:
            yield where, (cells[columns[0]], cells[columns[1]], cells[columns[2]].strip())


def _columns(header: Sequence[str]) -> tuple[int, int, int] | None:
    for names in _HEADERS:
        if all(name in header for name in names):
            first, second, label = (header.index(name) for name in names)
            return first, second, label
    return None


def _plain_rows(path: Path, lines: Sequence[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t")
        if len(cells) == 2:
            raise InputError(
                f"{path}:{number}: the line has two sentences and no label: this file came without its gold "
                "(XTREME's download takes it out of test files). Get the published file."
            )
        if len(cells) != 3:
            raise InputError(
                f"{path}:{number}: the line must hold two sentences and a label, but has {len(cells)} columns."
            )
        yield f"{path}:{number}", (cells[0], cells[1], cells[2].strip())


def _json_rows(path: Path, lines: Sequence[str], language: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        try:
            row = parse_json(line, where, dict)
            columns = next((names for names in _HEADERS if all(name in row for name in names)), _HEADERS[0])
            first, second, label = (row[name] for name in columns)
            if row.get("language", language) == language:
                yield where, (first, second, str(label))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{where}: the line is no NLI pair ({type(error).__name__}: {error}).") from None


def _rte_rows(path: Path, language: str) -> Iterator[Row]:
    """RTE 1–3: `<pair value="TRUE">` or `<pair entailment="YES">` with `<t>` and `<h>`."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is no XML: {error}.") from None
    for pair in root.iter("pair"):
        where = f"{path}: pair {pair.get('id')}"
        label = pair.get("entailment") or pair.get("value")
        first, second = pair.findtext("t"), pair.findtext("h")
        if label is None or first is None or second is None:
            raise InputError(f"{where} lacks its text, its hypothesis or its gold value.")
        yield where, (first, second, label)


def _not_empty(pairs: list[SentencePair], paths: Sequence[Path], language: str) -> list[SentencePair]:
    if not pairs:
        raise InputError(f"{', '.join(map(str, paths))}: there is no pair of language {language!r}.")
    return pairs
