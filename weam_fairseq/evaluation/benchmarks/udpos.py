"""UDPOS: parts of speech in Universal Dependencies, read and scored as XTREME does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Benchmark, Request, XtremeR, language_codes
from weam_fairseq.evaluation.fine_tuning.tagging import (
    TaggedSentence,
    fine_tuned_tagger,
    numbered_blocks,
    read_tab_file,
)
from weam_fairseq.evaluation.metrics.labels import PosScore, known_tag, pos_scores
from weam_fairseq.evaluation.prediction_files import TAG_LINES, Tagged, read_tagged, tag_scoring, tagged_row
from weam_fairseq.evaluation.readers import read_lines

# Nivre et al. 2020, the universal parts of speech.
UPOS_TAGS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)

# XTREME (ud-conversion-tools): of several highest words in a fused form, the first of this list gives the tag.
_DEFAULT_PRECEDENCE = (
    *("VERB", "NOUN", "PROPN", "PRON", "ADJ", "NUM", "ADV", "INTJ"),
    *("AUX", "ADP", "DET", "PART", "CCONJ", "SCONJ", "X", "PUNCT"),
)

_PRECEDENCE: dict[str, tuple[str, ...]] = {
    "es": ("VERB", "AUX", "PRON", "ADP", "DET"),
    "fr": ("VERB", "AUX", "PRON", "NOUN", "ADJ", "ADV", "ADP", "DET", "PART", "SCONJ", "CONJ"),
    "it": ("VERB", "AUX", "ADV", "PRON", "ADP", "DET", "INTJ"),
}


class TaggedSentences(list[TaggedSentence]):
    """`without_words`: how many sentences were left out because their words are missing."""

    without_words = 0


def read_udpos(*paths: Path, language: str = "en") -> TaggedSentences:
    """Reads `.conllu` files, or the `word<TAB>tag` files that XTREME makes of them.

    As in XTREME: a fused form (German *zum*) is one word with the tag of its highest part, which is the part with the
    fewest words above it in the tree and in the enhanced graph (column DEPS) together. Empty nodes (`8.1`) are no
    words. Spaces and U+200C inside words are taken out. A sentence is left out and counted where some words are
    missing (`_`) and at most one is not.

    Raises:
        InputError: a line is malformed, or a word's tag is missing (a file without gold) or not one of the 17
            universal tags.
    """
    sentences = TaggedSentences()
    for path in paths:
        if is_conllu(path):
            read = _conllu_file(path, language)
            sentences.without_words += read.without_words
        else:
            read = TaggedSentences(read_tab_file(path, UPOS_TAGS, ""))
        sentences += read
    return sentences


def is_conllu(path: Path) -> bool:
    """Whether the file has a CoNLL-U name, or ten columns in its first word."""
    if {".conllu", ".conll"} & set(path.suffixes):
        return True
    first = next((line for line in read_lines(path) if line.strip() and not line.startswith("#")), "")
    return first.count("\t") == 9


def tags_depend_on_language(path: Path) -> bool:
    """Whether the tags of fused forms in a CoNLL-U file depend on the language's list of precedence."""
    first = read_udpos(path, language="en")
    return any(read_udpos(path, language=language) != first for language in _PRECEDENCE)


class _Node(NamedTuple):
    """`heads`: the parents in the tree and in the enhanced graph; 0 is the root."""

    form: str
    tag: str
    heads: tuple[int, ...]


def _conllu_file(path: Path, language: str) -> TaggedSentences:
    sentences = TaggedSentences()
    for block in numbered_blocks(path):
        nodes, fused = _parse(block, path)
        if not nodes:
            continue
        sentence = _sentence(nodes, fused, _PRECEDENCE.get(language, _DEFAULT_PRECEDENCE))
        missing = sentence.words.count("_")
        if missing and missing >= len(sentence.words) - 1:
            sentences.without_words += 1
        else:
            sentences.append(sentence)
    if not sentences:
        raise InputError(
            f"{path} contains no sentence with its words"
            + (f": in all {sentences.without_words:,} they are missing (_). " if sentences.without_words else ". ")
            + "Some publishers distribute the text separately: add it to the treebank."
        )
    return sentences


# A word, the words of a fused form (1-2), or an empty node (8.1).
_NUMBER = re.compile(r"([0-9]+)(?:-([0-9]+)|(\.[0-9]+))?")


def _form(text: str) -> str:
    """A word as XTREME writes it: without spaces and zero-width non-joiners."""
    return text.replace("\u200c", "").replace(" ", "") or "_"


def _parse(block: Sequence[tuple[int, str]], path: Path) -> tuple[dict[int, _Node], dict[int, tuple[int, str]]]:
    """The words by number, and the fused forms: first word to (last word, form)."""
    nodes: dict[int, _Node] = {}
    fused: dict[int, tuple[int, str]] = {}
    for number, line in block:
        if line.startswith("#"):
            continue
        cells = line.split("\t")
        where = f"{path}:{number}"
        if len(cells) != 10:
            raise InputError(f"{where}: a line of CoNLL-U has 10 columns, but this has {len(cells)}.")
        form = _form(cells[1])
        if (found := _NUMBER.fullmatch(cells[0])) is None:
            raise InputError(f"{where}: column 1 must be the number of a word, but is {cells[0]!r}.")
        first, last, empty_node = found.groups()
        if last is not None:
            fused[int(first)] = (int(last), form)
        elif empty_node is None:  # `8.1` is an empty node of the enhanced graph, not a word
            if int(first) != len(nodes) + 1:
                raise InputError(
                    f"{where}: the next word must have number {len(nodes) + 1}, but has {first}. A line is missing or "
                    "repeated, or the blank line between two sentences is."
                )
            if cells[3] == "_":
                raise InputError(
                    f"{where}: the word {cells[1]!r} has no part of speech (column 4 is _), so the file has no "
                    "gold tags, like files of shared tasks. Use the published file."
                )
            tag = known_tag(cells[3], UPOS_TAGS, where)
            nodes[int(first)] = _Node(form, tag, _heads(cells))
    return nodes, fused


def _sentence(nodes: dict[int, _Node], fused: dict[int, tuple[int, str]], precedence: Sequence[str]) -> TaggedSentence:
    words, tags = [], []
    number = min(nodes)
    while number in nodes:
        if number in fused:
            last, form = fused[number]
            words.append(form)
            tags.append(_fused_tag([each for each in range(number, last + 1) if each in nodes], nodes, precedence))
            number = last + 1
        else:
            words.append(nodes[number].form)
            tags.append(nodes[number].tag)
            number += 1
    return TaggedSentence(tuple(words), tuple(tags))


def _fused_tag(parts: Sequence[int], nodes: dict[int, _Node], precedence: Sequence[str]) -> str:
    depths = {part: len(_above(part, nodes)) for part in parts}
    highest = [part for part in parts if depths[part] == min(depths.values())]
    ranks = {tag: rank for rank, tag in enumerate(precedence)}
    return nodes[min(highest, key=lambda part: ranks.get(nodes[part].tag, len(ranks)))].tag


def _heads(cells: Sequence[str]) -> tuple[int, ...]:
    """Of columns HEAD and DEPS (`4:obj|0:root`); heads that are empty nodes (`8.1`) are left out, as in XTREME."""
    basic = int(cells[6]) if cells[6].isdigit() else 0
    enhanced = (part.partition(":")[0] for part in cells[8].split("|"))
    return (basic, *(int(head) for head in enhanced if head.isdigit()))


def _above(number: int, nodes: dict[int, _Node]) -> set[int]:
    """The word's ancestors, and the root."""
    found: set[int] = set()
    new = [number]
    while new:
        node = nodes.get(new.pop())
        heads = set(node.heads) - found if node else set()
        found |= heads
        new += heads
    return found - {number}


def _conllu_row(line: str, where: str) -> tuple[str, str] | None:
    if line.startswith("#"):
        return None
    columns = line.split("\t")
    if len(columns) != 10:
        raise InputError(f"{where}: a CoNLL-U line has 10 columns, but this one has {len(columns)}.")
    if "-" in columns[0] or "." in columns[0]:
        return None
    if columns[3] == "_":
        raise InputError(
            f"{where}: the word {columns[1]!r} has no UPOS tag, so the file has no gold tags. Use the published file."
        )
    return columns[1], columns[3]


def _read_both(request: Request) -> tuple[list[Tagged], list[Tagged]]:
    """The gold sentences and the predictions. These have UD's words, or XTREME's, where a fused form (zum) is one."""
    predictions = _read_tagged(request.predictions)
    gold = _read_tagged(request.gold)
    if is_conllu(request.gold) and _lengths(gold) != _lengths(predictions):
        fused = read_udpos(request.gold, language=_language_of_treebank(request))
        if _lengths(fused) == _lengths(predictions):
            gold = [Tagged(list(sentence.words), list(sentence.tags), 0) for sentence in fused]
    return gold, predictions


def _read_tagged(path: Path) -> list[Tagged]:
    """CoNLL-U by its syntactic words and their UPOS; comments, fused forms (1-2) and empty nodes (1.1) are skipped."""
    sentences = read_tagged(path, UPOS_TAGS, _conllu_row if is_conllu(path) else tagged_row)
    return [sentence._replace(words=[_form(word) for word in sentence.words]) for sentence in sentences]


def _language_of_treebank(request: Request) -> str:
    """--language, or the language in a name such as `de_gsd-ud-test.conllu`; any if it makes no difference."""
    if request.language is not None:
        return request.language
    if named := re.match(r"([a-z]{2,3})_[^.]*-ud-", request.gold.name):
        return named[1]
    return request.needed_language() if tags_depend_on_language(request.gold) else "en"


def _lengths(sentences: Sequence[Tagged] | Sequence[TaggedSentence]) -> list[int]:
    return [len(sentence.tags) for sentence in sentences]


_FILES = ("{language}_*-ud-{split}*.conllu", "*/{language}_*-ud-{split}*.conllu", "{split}-{language}.tsv")

BENCHMARK = Benchmark(
    name="udpos",
    summary="universal parts of speech; all treebanks of a language together",
    languages=language_codes(
        "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko lt mr nl pl pt ro ru ta te th tl tr uk ur vi wo "
        "yo zh"
    ),
    splits=("test", "dev", "train"),
    files=(_FILES,),
    read=read_udpos,
    metric="f1 (XTREME's), accuracy",
    citation="Nivre et al. 2020",
    published="https://universaldependencies.org",
    fine_tuned=fine_tuned_tagger("udpos", UPOS_TAGS, pos_scores, "seqeval-bare-tags", "ud-english", _FILES),
    scoring=tag_scoring(
        _read_both,
        pos_scores,
        PosScore._fields,
        "Hu et al. 2020 (seqeval over the bare tags)",
        gold=f"{TAG_LINES}; or a .conllu file",
    ),
    xtreme_r=XtremeR(3, ("f1",)),
)
