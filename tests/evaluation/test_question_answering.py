"""Question answering: windows over long contexts, targets, and answers cut out of the raw text."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weam_fairseq.evaluation.fine_tuning.head import Rows, padded, template_of
from weam_fairseq.evaluation.fine_tuning.official_answers import AnswerTexts
from weam_fairseq.evaluation.fine_tuning.question_answering import QuestionAnswering, _owners
from weam_fairseq.evaluation.fine_tuning.questions import Answer, Question
from weam_fairseq.evaluation.fine_tuning.recipe import Recipe
from weam_fairseq.evaluation.hf_folder import Folder, load_folder

HEAD = QuestionAnswering("pipeline")
OFFICIAL = QuestionAnswering()
RECIPE = Recipe(epochs=1, learning_rate=1e-3, max_length=16, doc_stride=4)
CONTEXT = "the  über driver is here in the old town and the garage door was left open again and again today"


def _question(answer: str, context: str = CONTEXT, text: str = "is the door open") -> Question:
    return Question("q", text, context, (Answer(answer, context.index(answer)),))


def _rows(folder: Folder, example: Question, for_training: bool = False) -> Rows:
    return HEAD.rows(folder.tokenizer, [example], RECIPE, for_training)


def _output(rows: Rows, peaks: dict[tuple[int, int], float]) -> Any:
    """Logits that are 0 but for `peaks`: (unit, position) to a value, for start and end alike."""
    longest = max(rows.length(unit) for unit in range(len(rows)))
    logits = torch.zeros(len(rows), longest)
    for (unit, position), value in peaks.items():
        logits[unit, position] = value
    return SimpleNamespace(start_logits=logits, end_logits=logits.clone())


@pytest.mark.parametrize("with_types", [False, True])
def test_an_input_is_what_the_tokenizer_makes_of_question_and_context(
    make_folder: Callable[..., Path], with_types: bool
) -> None:
    folder = load_folder(make_folder())
    if with_types:  # as BERT's own tokenizer
        folder.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    recipe = Recipe(epochs=1, learning_rate=1e-3, max_length=64, doc_stride=32)
    rows = HEAD.rows(folder.tokenizer, [_question("old town")], recipe, False)
    expected = folder.tokenizer("is the door open", CONTEXT)
    assert ("token_type_ids" in expected) == with_types
    ids = expected["input_ids"]
    assert (rows.ids, rows.types) == ([ids], [expected.get("token_type_ids", [0] * len(ids))])


def test_windows_cover_the_context_and_start_a_stride_apart(folder: Folder) -> None:
    rows = _rows(folder, _question("today"))
    windows = rows.marks
    count = len(windows[0].context.ids)
    assert all(rows.length(unit) <= RECIPE.max_length for unit in range(len(rows)))
    assert [window.first for window in windows] == list(range(0, len(windows) * 4, 4))
    assert windows[-1].first + windows[-1].length == count
    may_start = Counter(window.first + place for window in windows for place in np.flatnonzero(window.starts).tolist())
    assert may_start == Counter(range(count))  # every piece may begin an answer, in one window each
    assert rows.notes["contexts_split"] == 1


def test_targets_point_at_the_answer_or_at_the_first_position(folder: Folder) -> None:
    example = _question("über driver")
    rows = HEAD.rows(folder.tokenizer, [example], replace(RECIPE, max_length=40), True)
    inside = 0
    for unit, (first, last) in enumerate(rows.targets):
        if (first, last) == (0, 0):
            continue
        inside += 1
        pieces = folder.tokenizer.convert_ids_to_tokens(rows.ids[unit][first : last + 1])
        assert pieces == folder.tokenizer.tokenize("über driver")
    assert 0 < inside < len(rows)


@pytest.mark.parametrize("start", [3, 200])
def test_answers_that_are_not_at_their_place_are_left_out_and_counted(folder: Folder, start: int) -> None:
    good = _question("today")
    bad = good._replace(answers=(Answer("today", start),))
    rows = HEAD.rows(folder.tokenizer, [bad, good], RECIPE, True)
    assert set(rows.origins) == {1}
    assert rows.notes["answers_not_in_context"] == 1


def test_the_answer_is_raw_text_from_the_best_window(folder: Folder) -> None:
    example = _question("today")
    rows = _rows(folder, example)
    unit = len(rows) - 1
    window = rows.marks[unit]
    place = int(np.flatnonzero(window.starts)[-1])
    found = HEAD.read_out(_output(rows, {(unit, window.position + place): 5.0, (0, 0): 9.0}), rows, range(len(rows)))
    (answer,) = HEAD.decode([example], rows, found)
    start, end = window.context.offsets[window.first + place]
    assert answer == CONTEXT[start:end] != ""


def test_raw_text_keeps_its_spaces_and_accents(folder: Folder) -> None:
    example = _question("the  über")  # two spaces; the tokenizer strips accents and knows no spaces
    rows = HEAD.rows(folder.tokenizer, [example], RECIPE, True)
    first, last = rows.targets[0]
    output = _output(rows, {(0, first): 5.0})
    output.end_logits = torch.zeros_like(output.end_logits)
    output.end_logits[0, last] = 5.0
    assert HEAD.decode([example], rows, HEAD.read_out(output, rows, range(len(rows)))) == ["the  über"]


def test_question_and_special_pieces_are_no_answers(folder: Folder) -> None:
    example = _question("today")
    rows = _rows(folder, example)
    forbidden = {(unit, place): 50.0 for unit in range(len(rows)) for place in range(rows.marks[unit].position)}
    last = {(unit, rows.length(unit) - 1): 50.0 for unit in range(len(rows))}
    spans = HEAD.read_out(_output(rows, {**forbidden, **last}), rows, range(len(rows)))
    assert all(span.score <= 0 and span.end > span.start for span in spans)


def test_answers_are_at_most_30_pieces_and_never_run_backwards(make_folder: Callable[..., Path]) -> None:
    folder = load_folder(make_folder(max_positions=128))
    context = " ".join(["town"] * 60)
    example = Question("q", "the", context, (Answer("town", 0),))
    rows = HEAD.rows(folder.tokenizer, [example], Recipe(1, 1e-3, max_length=128), False)
    position = rows.marks[0].position
    output = _output(rows, {})
    output.start_logits[0, position + 20] = 9.0
    output.end_logits[0, position + 10] = 9.0  # before the start
    output.end_logits[0, position + 50] = 8.0  # 31 pieces
    output.end_logits[0, position + 49] = 7.0  # 30 pieces
    (span,) = HEAD.read_out(output, rows, [0])
    assert span.score == 16.0
    assert len(context[span.start : span.end].split()) == 30


def test_long_questions_are_cut_and_counted(folder: Folder) -> None:
    rows = _rows(folder, _question("today", text=CONTEXT))
    assert rows.notes["questions_cut"] == 1
    assert max(rows.length(unit) for unit in range(len(rows))) <= RECIPE.max_length


def test_a_context_without_pieces_gets_an_empty_answer(folder: Folder) -> None:
    example = Question("q", "the", "\u200d", (Answer("\u200d", 0),))
    rows = _rows(folder, example)
    found = HEAD.read_out(_output(rows, {}), rows, range(len(rows)))
    assert HEAD.decode([example], rows, found) == [""]
    assert rows.notes["empty_answers"] == 1


def _official_answer(folder: Folder, example: Question, rows: Rows, output: Any) -> str:
    """The published rule again, written as loops over every pair of positions, without numpy."""
    valid = []
    for unit, window in enumerate(rows.marks):
        start, end = (logits[unit].tolist() for logits in (output.start_logits, output.end_logits))
        starts = sorted(range(len(start)), key=lambda place: (-start[place], place))[:20]
        ends = sorted(range(len(end)), key=lambda place: (-end[place], place))[:20]
        for first in starts:
            for last in ends:
                inside = window.position <= first <= last < window.position + window.length
                if inside and last - first < 30 and window.starts[first - window.position]:
                    valid.append((start[first] + end[last], window, first, last))
    if not valid:
        return "empty"
    best = max(score for score, *_ in valid)
    _, window, first, last = next(each for each in valid if each[0] == best)
    tokens = folder.tokenizer.convert_ids_to_tokens(rows.ids[rows.marks.index(window)][first : last + 1])
    pieces = tokens[0] + "".join(t[2:] if t.startswith("##") else f" {t}" for t in tokens[1:])
    offsets = window.context.offsets[window.first + first - window.position : window.first + last - window.position + 1]
    # White-space words that the span touches.
    begin, stop = offsets[0][0], offsets[-1][1]
    while begin > 0 and not example.context[begin - 1].isspace():
        begin -= 1
    while stop < len(example.context) and not example.context[stop].isspace():
        stop += 1
    words = " ".join(example.context[begin:stop].split())
    # These contexts are ASCII and lower case, so the basic tokenizer only sets punctuation apart.
    split = " ".join(re.findall(r"\w+|[^\w\s]", words))
    if pieces not in split:
        return words
    before, length = (len(text.replace(" ", "")) for text in (split[: split.index(pieces)], pieces))
    at = [place for place, character in enumerate(words) if character != " "]
    return words[at[before] : at[before + length - 1] + 1]


@given(
    context=st.lists(
        st.sampled_from([*CONTEXT.replace("ü", "u").split(), "door's", "town,", "(again)"]), min_size=1, max_size=40
    ),
    seed=st.integers(0, 2**32 - 1),
    levels=st.sampled_from([3, 50, 100_000]),  # few levels: many equal logits
    max_length=st.sampled_from([16, 24, 60]),
)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_official_answers_are_those_of_the_published_rule(
    folder: Folder, context: list[str], seed: int, levels: int, max_length: int
) -> None:
    """Random logits at all positions, those of the question, of special pieces and of padding too."""
    example = Question("q", "is the door open", "  ".join(context), (Answer(context[0], 0),))
    rows = OFFICIAL.rows(folder.tokenizer, [example], replace(RECIPE, max_length=max_length), False)
    assert rows.pad_to == max_length
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.integers(levels, size=(2, len(rows), max_length)).astype(np.float32))
    output = SimpleNamespace(start_logits=logits[0], end_logits=logits[1])
    (answer,) = OFFICIAL.decode([example], rows, OFFICIAL.read_out(output, rows, range(len(rows))))
    expected = _official_answer(folder, example, rows, output)
    assert answer == expected
    assert rows.notes["no_valid_answer"] == (expected == "empty")


def test_official_answers_come_from_the_20_best_only(folder: Folder) -> None:
    """21 positions before the context have higher logits, so no piece of the context is among the 20 best starts."""
    example = _question("today", text=" ".join(["door"] * 30))
    answers = []
    for head in (OFFICIAL, HEAD):
        rows = head.rows(folder.tokenizer, [example], replace(RECIPE, max_length=60), False)
        assert rows.marks[0].position > 20
        logits = torch.zeros(len(rows), 60)
        logits[:, : rows.marks[0].position] = 1.0
        output = SimpleNamespace(start_logits=logits, end_logits=logits)
        answers += head.decode([example], rows, head.read_out(output, rows, range(len(rows))))
    assert answers[0] == "empty"
    assert answers[1] in CONTEXT


@pytest.mark.parametrize(
    ("pieces", "words", "answer"),
    [
        ("steve smith", "Steve Smith's", "Steve Smith"),  # the example of BERT's own script
        ("smith ' s", "Steve Smith's", "Smith's"),
        ("stave", "Steve Smith's", "Steve Smith's"),  # not found
        ("uber", "Über-driver", "Über"),  # accents go with a lower-casing tokenizer
        ("1923", "(1923),", "1923"),
        ("天 下", "天下雨", "天下"),
        ("", "town", "town"),
        ("[UNK]", "☃", "☃"),
    ],
)
def test_the_official_text_is_aligned_by_characters(folder: Folder, pieces: str, words: str, answer: str) -> None:
    assert AnswerTexts(folder.tokenizer).align(pieces, words) == answer


def test_inputs_of_the_official_decoding_are_padded_in_full(folder: Folder) -> None:
    """As in the official scripts; so the answer does not depend on the other inputs of the batch."""
    example = _question("today")
    rows = OFFICIAL.rows(folder.tokenizer, [example], replace(RECIPE, max_length=60), False)
    model = SimpleNamespace(base_model=SimpleNamespace(forward=lambda input_ids, attention_mask: None), config=None)
    inputs = padded(rows, [0], model, folder.tokenizer.pad_token_id, "cpu")
    assert inputs["input_ids"].shape == (1, 60)
    assert inputs["attention_mask"].sum() == rows.length(0) < 60
    training = OFFICIAL.rows(folder.tokenizer, [example], replace(RECIPE, max_length=60), True)
    assert padded(training, [0], model, folder.tokenizer.pad_token_id, "cpu")["input_ids"].shape == (1, rows.length(0))


def test_template(folder: Folder) -> None:
    cls, sep = folder.tokenizer.cls_token_id, folder.tokenizer.sep_token_id
    template = template_of(folder.tokenizer, pair=True)
    assert (template.before, template.between, template.after) == ([(cls, 0)], [(sep, 0)], [(sep, 0)])
    single = template_of(folder.tokenizer, pair=False)
    assert single.fill([7, 8]) == ([cls, 7, 8, sep], [0] * 4)


@given(count=st.integers(1, 200), capacity=st.integers(2, 40), step=st.integers(1, 40))
def test_each_piece_belongs_to_a_window_that_holds_it(count: int, capacity: int, step: int) -> None:
    step = min(step, capacity)
    firsts = [0]
    while firsts[-1] + capacity < count:
        firsts.append(firsts[-1] + step)
    lengths = [min(capacity, count - first) for first in firsts]
    for piece, owner in enumerate(_owners(count, firsts, lengths).tolist()):
        assert firsts[owner] <= piece < firsts[owner] + lengths[owner]
