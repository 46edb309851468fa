"""Tagging: one prediction a word, whatever its pieces and however long its sentence."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.fine_tuning.head import Rows
from weam_fairseq.evaluation.fine_tuning.recipe import Recipe
from weam_fairseq.evaluation.fine_tuning.tagging import TaggedSentence, Tagging, _windows
from weam_fairseq.evaluation.hf_folder import Folder

TAGS = ("A", "B", "C")
HEAD = Tagging(TAGS)
RECIPE = Recipe(epochs=1, learning_rate=1e-3, max_length=10)


def _sentence(text: str) -> TaggedSentence:
    words = tuple(text.split(" "))
    return TaggedSentence(words, tuple(TAGS[number % 3] for number in range(len(words))))


def _says_its_target(rows: Rows) -> SimpleNamespace:
    """Logits that name each word's gold tag on its first piece, and another one everywhere else."""
    longest = max(rows.length(unit) for unit in range(len(rows)))
    logits = torch.zeros(len(rows), longest, 3)
    for unit, (firsts, labels) in enumerate(rows.targets):
        wrong = (labels[0] + 1) % 3
        logits[unit, :, wrong] = 1.0
        logits[unit, firsts, wrong] = 0.0
        for first, label in zip(firsts, labels, strict=True):
            logits[unit, first, label] = 1.0
    return SimpleNamespace(logits=logits)


@pytest.mark.parametrize(
    "text", ["the garage", "raining raining raining raining raining raining raining", "the \u200d town", "a"]
)
def test_first_pieces_carry_a_words_tag_through_splitting_and_back(folder: Folder, text: str) -> None:
    sentences = [_sentence(text), _sentence("the old town")]
    rows = HEAD.rows(folder.tokenizer, sentences, RECIPE, True)
    found = HEAD.read_out(_says_its_target(rows), rows, range(len(rows)))
    assert HEAD.decode(sentences, rows, found) == [sentence.tags for sentence in sentences]
    assert all(rows.length(unit) <= RECIPE.max_length for unit in range(len(rows)))


@pytest.mark.parametrize("pre", ["byte-level", "metaspace"])
def test_words_keep_the_mark_of_their_beginning(folder: Folder, pre: str) -> None:
    """Tokenizers that mark it only after a space: RoBERTa's kind, and Gemma's."""
    mark = {"byte-level": "Ġ", "metaspace": "▁"}[pre]
    vocabulary = {
        piece: number for number, piece in enumerate(["<pad>", "<s>", "a", "b", "c", mark, f"{mark}a", f"{mark}b"])
    }
    tokenizer = Tokenizer(models.BPE(vocabulary, [(mark, "a"), (mark, "b")]))
    tokenizer.pre_tokenizer = {
        "byte-level": pre_tokenizers.ByteLevel(add_prefix_space=False),
        "metaspace": pre_tokenizers.Metaspace(prepend_scheme="never", split=False),
    }[pre]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A <s>", pair="<s> $A <s> $B <s>", special_tokens=[("<s>", 1)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", cls_token="<s>", sep_token="<s>")
    rows = HEAD.rows(fast, [_sentence("a ba b c")], RECIPE, True)
    assert fast.convert_ids_to_tokens(rows.ids[0]) == ["<s>", "a", f"{mark}b", "a", f"{mark}b", mark, "c", "<s>"]
    assert rows.marks == [[1, 2, 4, 5]]
    assert (HEAD.preparation(fast), HEAD.preparation(folder.tokenizer)) == ({"words": "joined"}, {})
    with pytest.raises(InputError, match="the tokenizer has no unknown piece"):
        list(HEAD.rows(fast, [_sentence("ÿ a")], RECIPE, True).ids)


def test_what_is_split_or_has_no_pieces_is_counted(folder: Folder) -> None:
    long = _sentence("raining " * 6 + "\u200d")
    rows = HEAD.rows(folder.tokenizer, [long, _sentence("a")], RECIPE, False)
    assert (rows.notes["sentences_split"], rows.notes["words_without_pieces"]) == (1, 1)
    assert rows.ids[-2][rows.marks[-2][-1]] == folder.tokenizer.unk_token_id


def test_a_word_longer_than_the_limit_goes_in_as_the_unknown_piece(folder: Folder) -> None:
    rows = HEAD.rows(folder.tokenizer, [_sentence("a " + "xq" * 20)], RECIPE, False)
    unknown = folder.tokenizer.unk_token_id
    assert rows.notes["words_too_long"] in (0, 1)  # WordPiece itself may call it unknown
    assert rows.ids[0][rows.marks[0][1]] == unknown


def test_loss_looks_at_first_pieces_only(folder: Folder) -> None:
    rows = HEAD.rows(folder.tokenizer, [_sentence("raining naive town")], replace(RECIPE, max_length=40), True)
    firsts, labels = rows.targets[0]
    output = _says_its_target(rows)
    expected = torch.nn.functional.cross_entropy(output.logits[0, firsts], torch.tensor(labels))
    assert rows.length(0) > len(firsts) + 2
    assert torch.allclose(HEAD.loss(output, rows.targets), expected)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=40), st.integers(6, 12))
def test_windows_hold_all_words_in_order_within_the_limit(lengths: list[int], capacity: int) -> None:
    words = [[number] * length for number, length in enumerate(lengths)]
    windows = list(_windows(words, capacity))
    assert [word for window in windows for word in window] == words
    assert all(0 < sum(map(len, window)) <= capacity for window in windows)


def test_prediction_files_are_words_and_tags_with_blank_lines_between(folder: Folder) -> None:
    sentences = [_sentence("the town"), _sentence("a")]
    assert HEAD.write(sentences, [("A", "B"), ("C",)]) == "the\tA\ntown\tB\n\na\tC\n"
