"""Readers of tagged words: WikiANN (PANX) and Universal Dependencies (UDPOS)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.fine_tuning.examples import TaggedSentence
from weam_fairseq.evaluation.labels import known_tag
from weam_fairseq.evaluation.readers import read_lines

PANX_TAGS = ("B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O")

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


def read_panx(*paths: Path, language: str = "en") -> list[TaggedSentence]:
    """Reads `word<TAB>tag` lines with blank lines between sentences; a prefix `de:` of every word is taken off.

    Raises:
        InputError: a line has no tag (a test file without its gold), or one that WikiANN does not have.
    """
    return [sentence for path in paths for sentence in _tab_file(path, PANX_TAGS, f"{language}:")]


class Sentences(list[TaggedSentence]):
    """`without_words`: how many sentences were left out because their words are missing."""

    without_words = 0


def read_udpos(*paths: Path, language: str = "en") -> Sentences:
    """Reads `.conllu` files, or the `word<TAB>tag` files that XTREME makes of them.

    As in XTREME: a fused form (German *zum*) is one word with the tag of its highest part, which is the part with the
    fewest words above it in the tree and in the enhanced graph (column DEPS) together. Empty nodes (`8.1`) are no
    words. Spaces and U+200C inside words are taken out. A sentence is left out and counted where some words are
    missing (`_`) and at most one is not.

    Raises:
        InputError: a line is malformed, a word has no tag (a file without its gold), or one that is none of the 17
            universal ones.
    """
    sentences = Sentences()
    for path in paths:
        if is_conllu(path):
            read = _conllu_file(path, language)
            sentences.without_words += read.without_words
        else:
            read = Sentences(_tab_file(path, UPOS_TAGS, ""))
        sentences += read
    return sentences


def is_conllu(path: Path) -> bool:
    """By its name, or by the ten columns of its first word."""
    if {".conllu", ".conll"} & set(path.suffixes):
        return True
    first = next((line for line in read_lines(path) if line.strip() and not line.startswith("#")), "")
    return first.count("\t") == 9


def tags_depend_on_language(path: Path) -> bool:
    """Whether fused forms of a CoNLL-U file get other tags by one language's list of precedence than by another's."""
    first = read_udpos(path, language="en")
    return any(read_udpos(path, language=language) != first for language in _PRECEDENCE)


def _tab_file(path: Path, tags: Sequence[str], prefix: str) -> list[TaggedSentence]:
    sentences = []
    for block in _blocks(path):
        rows = [_word_and_tag(line, f"{path}:{number}", tags) for number, line in block]
        sentences.append(TaggedSentence(*(tuple(column) for column in zip(*rows, strict=True))))
    if prefix != "" and all(word.startswith(prefix) for sentence in sentences for word in sentence.words):
        sentences = [
            TaggedSentence(tuple(word.removeprefix(prefix) for word in sentence.words), sentence.tags)
            for sentence in sentences
        ]
    return sentences


def _word_and_tag(line: str, where: str, tags: Sequence[str]) -> tuple[str, str]:
    cells = line.split("\t")
    if len(cells) == 1:
        raise InputError(
            f"{where}: the word has no tag: this file came without its gold (XTREME's download takes it out of "
            "test files). Get the published file."
        )
    return cells[0], known_tag(cells[-1], tags, where)


def _blocks(path: Path) -> Iterator[list[tuple[int, str]]]:
    """Numbered lines between blank ones."""
    block: list[tuple[int, str]] = []
    any_block = False
    for number, line in enumerate([*read_lines(path), ""], start=1):
        if line.strip():
            block.append((number, line))
        elif block:
            any_block = True
            yield block
            block = []
    if not any_block:
        raise InputError(f"{path} holds no sentence.")


class _Node(NamedTuple):
    """`heads`: the words right above it, in the tree and in the enhanced graph; 0 is the root."""

    form: str
    tag: str
    heads: tuple[int, ...]


def _conllu_file(path: Path, language: str) -> Sentences:
    sentences = Sentences()
    for block in _blocks(path):
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
            f"{path} holds no sentence with its words"
            + (f": in all {sentences.without_words:,} they are missing (_). " if sentences.without_words else ". ")
            + "Get the treebank's text, which some publishers give apart, and put it in."
        )
    return sentences


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
        form = cells[1].replace("\u200c", "").replace(" ", "") or "_"
        if "-" in cells[0]:
            first, last = cells[0].split("-")
            fused[int(first)] = (int(last), form)
        elif "." not in cells[0]:  # `8.1` is an empty node of the enhanced graph, not a word
            if cells[3] == "_":
                raise InputError(
                    f"{where}: the word {cells[1]!r} has no part of speech (column 4 is _): this file came without its "
                    "gold, as files of shared tasks do. Get the published file."
                )
            tag = known_tag(cells[3], UPOS_TAGS, where)
            nodes[int(cells[0])] = _Node(form, tag, _heads(cells))
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
    """The words from which this one is reached, itself left out, and the root."""
    found: set[int] = set()
    new = [number]
    while new:
        node = nodes.get(new.pop())
        heads = set(node.heads) - found if node else set()
        found |= heads
        new += heads
    return found - {number}
