"""Tagging of words (PANX, UDPOS): the head, readers of `word<TAB>tag` lines, and each sentence's share in the score.

The first piece of a word represents it. A sentence longer than the limit is split between words into windows, each
filled before the next (as in XTREME), and the tags of its windows are joined, so every word has one prediction. A
word that has no pieces, or that alone exceeds the limit, is replaced by the unknown piece (also as in XTREME) and
counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import words_of_characters
from weam_fairseq.evaluation.benchmark import Alternatives, FineTuned, trained_as_xtreme_r, with_split
from weam_fairseq.evaluation.fine_tuning.head import Head, Rows, Scored, template_of
from weam_fairseq.evaluation.fine_tuning.recipe import TAG_RECIPE, Recipe
from weam_fairseq.evaluation.metrics.labels import PosScore, TaggingScore, entities, known_tag
from weam_fairseq.evaluation.readers import read_lines

if TYPE_CHECKING:
    import torch


class TaggedSentence(NamedTuple):
    """Words with one tag each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


_NO_TARGET = -100


class Tagging(Head):
    """A unit's `marks` are the positions of its words' first pieces."""

    name = "tagging"
    auto_class = "AutoModelForTokenClassification"
    suffix = ".tsv"

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels

    def rows(self, tokenizer: Any, examples: Sequence[TaggedSentence], recipe: Recipe, for_training: bool) -> Rows:
        template = template_of(tokenizer, pair=False)
        capacity = recipe.max_length - template.special
        label_ids = {label: number for number, label in enumerate(self.labels)}
        rows = Rows()
        rows.notes["sentences_without_words"] = getattr(examples, "without_words", 0)
        for index, words in enumerate(self._words(tokenizer, examples, capacity, rows)):
            word_idx = 0
            windows = list(_windows(words, capacity))
            rows.notes["sentences_split"] += len(windows) > 1
            for window in windows:
                ids, types = template.fill([piece for word in window for piece in word])
                firsts, position = [], len(template.before)
                for word in window:
                    firsts.append(position)
                    position += len(word)
                rows.ids.append(ids)
                rows.types.append(types)
                rows.origins.append(index)
                rows.marks.append(firsts)
                if for_training:
                    tags = examples[index].tags[word_idx : word_idx + len(window)]
                    rows.targets.append((firsts, [label_ids[tag] for tag in tags]))
                word_idx += len(window)
        return rows

    def preparation(self, tokenizer: Any) -> dict[str, str]:
        return {"words": "joined"} if _marks_beginnings_by_spaces(tokenizer) else {}

    def _words(
        self, tokenizer: Any, examples: Sequence[TaggedSentence], capacity: int, rows: Rows
    ) -> Iterator[list[list[int]]]:
        """The pieces of every word of each sentence; none is empty or longer than the limit.

        Raises:
            InputError: a word has no pieces or too many, and the tokenizer has no unknown piece.
        """
        pieces_of = _joined if _marks_beginnings_by_spaces(tokenizer) else _one_by_one
        for words in pieces_of(tokenizer, [list(example.words) for example in examples]):
            without, too_long = sum(not word for word in words), sum(len(word) > capacity for word in words)
            rows.notes["words_without_pieces"] += without
            rows.notes["words_too_long"] += too_long
            if (without or too_long) and tokenizer.unk_token_id is None:
                raise InputError("the tokenizer has no unknown piece, which is needed for words without pieces.")
            yield [word if 0 < len(word) <= capacity else [tokenizer.unk_token_id] for word in words]

    def loss(self, output: Any, targets: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
        import torch

        logits = output.logits.float()  # (B, T, K)
        gold = torch.full(logits.shape[:2], _NO_TARGET, dtype=torch.long)
        for row, (firsts, labels) in enumerate(targets):
            gold[row, firsts] = torch.tensor(labels)
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), gold.flatten().to(logits.device), ignore_index=_NO_TARGET
        )

    def read_out(self, output: Any, rows: Rows, units: Sequence[int]) -> list[list[int]]:
        best = output.logits.argmax(dim=-1).tolist()  # (B, T)
        return [[row[position] for position in rows.marks[unit]] for unit, row in zip(units, best, strict=True)]

    def decode(
        self, examples: Sequence[TaggedSentence], rows: Rows, found: Sequence[list[int]]
    ) -> list[tuple[str, ...]]:
        """A sentence's tags are those of its windows, in order."""
        tags: list[list[str]] = [[] for _ in examples]
        for origin, labels in zip(rows.origins, found, strict=True):
            tags[origin] += [self.labels[label] for label in labels]
        assert all(len(row) == len(example.words) for row, example in zip(tags, examples, strict=True))
        return [tuple(row) for row in tags]

    def text_of(self, example: TaggedSentence) -> tuple[str, ...]:
        return example.words

    def group_of(self, example: TaggedSentence) -> str:
        return " ".join(example.words)

    def gold(self, example: TaggedSentence) -> tuple[str, ...]:
        return example.tags

    def write(self, examples: Sequence[TaggedSentence], answers: Sequence[Sequence[str]]) -> str:
        return "\n".join(
            "".join(f"{word}\t{tag}\n" for word, tag in zip(example.words, tags, strict=True))
            for example, tags in zip(examples, answers, strict=True)
        )


def _marks_beginnings_by_spaces(tokenizer: Any) -> bool:
    """Whether a word alone gets other pieces than after a space (byte-level tokenizers, Gemma's and mmBERT's)."""
    alone = tokenizer(["a", "a"], is_split_into_words=True, add_special_tokens=False)
    return bool(alone["input_ids"] != tokenizer("a a", add_special_tokens=False)["input_ids"])


def _one_by_one(tokenizer: Any, sentences: Sequence[list[str]]) -> Iterator[list[list[int]]]:
    """The pieces of each word, tokenized as a text of its own (as in XTREME)."""
    batch = tokenizer(list(sentences), is_split_into_words=True, add_special_tokens=False)
    for index, sentence in enumerate(sentences):
        words: list[list[int]] = [[] for _ in sentence]
        for piece, word_idx in zip(batch["input_ids"][index], batch.word_ids(index), strict=True):
            words[word_idx].append(piece)
        yield words


def _joined(tokenizer: Any, sentences: Sequence[list[str]]) -> Iterator[list[list[int]]]:
    """The pieces of each word in its sentence. A piece belongs to the first word that it has characters of, and a space
    alone to the next word."""
    texts = [" ".join(sentence) for sentence in sentences]
    batch = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    for index, sentence in enumerate(sentences):
        words: list[list[int]] = [[] for _ in sentence]
        owners = words_of_characters(sentence)
        for piece, (start, end) in zip(batch["input_ids"][index], batch["offset_mapping"][index], strict=True):
            owner = next((word for word in owners[start : end + 1] if word is not None), None)
            if owner is not None:
                words[owner].append(piece)
        yield words


def _windows(words: Sequence[list[int]], capacity: int) -> Iterator[list[list[int]]]:
    window: list[list[int]] = []
    filled = 0
    for word in words:
        if window and filled + len(word) > capacity:
            yield window
            window, filled = [], 0
        window.append(word)
        filled += len(word)
    yield window


def fine_tuned_tagger(
    benchmark: str,
    tags: tuple[str, ...],
    metric: Callable[[Sequence[Sequence[str]], Sequence[Sequence[str]]], TaggingScore | PosScore],
    scorer: str,
    training: str,
    files: Alternatives,
) -> FineTuned:
    """A tagger that is trained on the benchmark's own English training split.

    Args:
        metric: (gold, predictions) to the figures, the main one first.
        scorer: the metric's name in signatures.
        training: the name of the training data in signatures.
    """

    def score(examples: Sequence[TaggedSentence], predictions: Sequence[Sequence[str]], language: str) -> Scored:
        gold = [example.tags for example in examples]
        return Scored(metric(gold, predictions)._asdict(), len(gold), sentence_items(gold, predictions), scorer)

    own = {"english": with_split(files, "train")}
    return FineTuned(
        head=Tagging(tags),
        score=score,
        training=trained_as_xtreme_r(benchmark, training, TAG_RECIPE, own, with_split(files, "dev")),
    )


def sentence_items(gold: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    items = []
    for number, (expected, found) in enumerate(zip(gold, predictions, strict=True)):
        wanted, given = entities([expected]), entities([found])
        items.append(
            {
                "id": number,
                "correct": len(wanted & given),
                "predicted": len(given),
                "gold": len(wanted),
                "words": len(expected),
                "words_correct": sum(one == other for one, other in zip(expected, found, strict=True)),
            }
        )
    return items


def read_tab_file(path: Path, tags: Sequence[str], prefix: str) -> list[TaggedSentence]:
    sentences = []
    for block in numbered_blocks(path):
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
            f"{where}: the word has no tag, so the file has no gold tags (XTREME's download script removes them from "
            "test files). Use the published file."
        )
    return cells[0], known_tag(cells[-1], tags, where)


def numbered_blocks(path: Path) -> Iterator[list[tuple[int, str]]]:
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
        raise InputError(f"{path} contains no sentence.")
