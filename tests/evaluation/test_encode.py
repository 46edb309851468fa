"""Means over pieces: the right positions, whatever the padding and the batch."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForMaskedLM

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.encode import group_states, sentence_groups, tokenize, windows, word_groups
from weam_fairseq.evaluation.hf_folder import Folder, load_folder
from weam_fairseq.evaluation.terminal import progress, progress_bar


def test_sentence_means_leave_out_padding_and_special_pieces(folder: Folder, sentences: list[str]) -> None:
    pieces = tokenize(folder, sentences)
    states = group_states(folder, pieces, sentence_groups(pieces), 5, "test")
    for index, text in enumerate(sentences):  # one by one there is no padding at all
        with torch.no_grad():
            output = folder.model(**folder.tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        slow = np.stack([layer[0, 1:-1].mean(dim=0).numpy() for layer in output.hidden_states])
        np.testing.assert_allclose(states.values[:, index], slow, atol=1e-5)
    assert states.values.shape == (3, len(sentences), 16)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batch_size_changes_nothing(folder: Folder, sentences: list[str], batch_size: int) -> None:
    pieces = tokenize(folder, sentences)
    one = group_states(folder, pieces, sentence_groups(pieces), 7, "test").values
    other = group_states(folder, pieces, sentence_groups(pieces), batch_size, "test").values
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_side_that_a_tokenizer_pads_and_the_type_of_the_weights_change_nothing(
    folder: Folder, sentences: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "half"
    model = AutoModelForMaskedLM.from_pretrained(folder.path)
    model.half().save_pretrained(path)
    folder.tokenizer.save_pretrained(path)
    config = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps({**config, "padding_side": "left"}))
    half = load_folder(path)
    assert half.tokenizer.padding_side == "left"
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    pieces = tokenize(folder, sentences)
    one = group_states(folder, pieces, sentence_groups(pieces), 7, "test").values
    other = group_states(half, pieces, sentence_groups(pieces), 7, "test").values
    np.testing.assert_allclose(one, other, atol=1e-2)


def test_a_model_that_pools_pieces_is_refused(folder: Folder, sentences: list[str]) -> None:
    sizes = {"block_sizes": [1, 1], "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32}
    config = AutoConfig.for_model("funnel", vocab_size=len(folder.tokenizer), **sizes)
    funnel = replace(folder, model=AutoModelForMaskedLM.from_config(config).eval())
    pieces = tokenize(funnel, sentences)
    with pytest.raises(InputError, match=r"must have states of every piece at every layer, but Funnel.* pools pieces"):
        group_states(funnel, pieces, sentence_groups(pieces), 7, "test")


def test_words_own_the_pieces_that_their_characters_overlap(folder: Folder) -> None:
    # "##" pieces of an unseen word belong to it; a word without any piece (a zero-width joiner) has an empty group.
    words = [["the", "uberdoor", "\u200d", "open"]]
    pieces = tokenize(folder, [" ".join(words[0])])
    tokens = folder.tokenizer.convert_ids_to_tokens(pieces.inputs["input_ids"][0])
    the, compound, joiner, last = word_groups(pieces, words)[0]
    assert [tokens[position] for position in the] == ["the"]
    assert "".join(tokens[position].removeprefix("##") for position in compound) == "uberdoor"
    assert len(compound) > 1
    assert joiner == []
    assert "".join(tokens[position].removeprefix("##") for position in last) == "open"

    states = group_states(folder, pieces, word_groups(pieces, words), 1, "test")
    assert states.filled.tolist() == [True, True, False, True]
    with torch.no_grad():
        output = folder.model(**folder.tokenizer(" ".join(words[0]), return_tensors="pt"), output_hidden_states=True)
    slow = output.hidden_states[2][0, compound].mean(dim=0).numpy()
    np.testing.assert_allclose(states.values[2, 1], slow, atol=1e-5)


def test_long_texts_are_cut_where_that_is_asked_for_and_counted(make_folder: Callable[..., Path]) -> None:
    short = load_folder(make_folder(max_positions=8))
    pieces = tokenize(short, ["the " * 6, "the " * 7], cut=True)
    assert (pieces.cut, pieces.long) == (1, 0)
    assert [pieces.length(0), pieces.length(1)] == [8, 8]
    pieces = tokenize(short, ["the " * 6, "the " * 7])
    assert (pieces.cut, pieces.long) == (0, 1)
    assert [pieces.length(0), pieces.length(1)] == [8, 9]


@pytest.mark.parametrize("length", [1, 6, 7, 8, 9, 10, 13, 40])
@pytest.mark.parametrize("max_positions", [8, 9])
def test_windows_read_every_piece_once_and_far_from_an_edge(
    make_folder: Callable[..., Path], length: int, max_positions: int
) -> None:
    short = load_folder(make_folder(max_positions=max_positions))
    pieces = tokenize(short, ["the town " * (length // 2) + "the" * (length % 2)])
    ids, size = pieces.inputs["input_ids"][0], max_positions - 2
    read = []
    for window in windows(pieces, max_positions):
        row = window.inputs["input_ids"]
        assert len(row) <= max_positions
        assert (row[0], row[-1]) == (ids[0], ids[-1])
        for position, place in window.places.items():
            assert row[place] == ids[position]
            if not pieces.special[0][position]:
                read.append(position)
                # a quarter of the window stands before and behind it, unless the text ends there
                assert min(place - 1, position - 1) >= min(position - 1, size // 4 - 1)
                assert min(size - place, length - position) >= min(length - position, size // 4 - 1)
    assert sorted(read) == list(range(1, length + 1))


def test_means_over_windows(make_folder: Callable[..., Path]) -> None:
    short = load_folder(make_folder(max_positions=8))
    texts = ["the town", "the town was open and the light was on again", "a cafe " * 9]
    pieces = tokenize(short, texts)
    assert pieces.long == 2
    states = group_states(short, pieces, sentence_groups(pieces), 2, None)
    rows = windows(pieces, 8)
    for index in range(len(texts)):
        total, count = 0.0, 0
        for window in (each for each in rows if each.text == index):
            with torch.no_grad():
                output = short.model(torch.tensor([window.inputs["input_ids"]]), output_hidden_states=True)
            places = [place for at, place in window.places.items() if not pieces.special[index][at]]
            total = total + output.hidden_states[2][0, places].sum(dim=0).numpy()
            count += len(places)
        np.testing.assert_allclose(states.values[2, index], total / count, atol=1e-5)
    last = group_states(short, pieces, sentence_groups(pieces), 100, None, layers=[2])
    np.testing.assert_allclose(last.values[0], states.values[2], atol=1e-5)


def test_progress_is_a_line_a_minute_where_there_is_no_terminal() -> None:
    file, now = io.StringIO(), [0.0]
    bar = progress_bar("xnli de", "batches", 1000, initial=100, file=file, clock=lambda: now[0])
    for second in range(1, 150):
        now[0] = second
        bar.update()
    bar.close()
    assert file.getvalue().splitlines() == [
        "xnli de: 160 of 1,000 batches after 1 min, about 14 min left",
        "xnli de: 220 of 1,000 batches after 2 min, about 13 min left",
    ]


def test_short_work_prints_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress("abc", "letters", "letters", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_on_a_terminal_progress_is_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    bar = progress_bar("xnli de", "batches", 2, file=Terminal())
    bar.update()
    assert (bar.n, bar.total) == (1, 2)
    bar.close()
