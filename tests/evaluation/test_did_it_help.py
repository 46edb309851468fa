"""weam-evaluate without a task: models on the user's own held-out pairs, compared with the first one."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import read_tokenizer
from weam_fairseq.evaluation.cli import main
from weam_fairseq.evaluation.did_it_help import ComparedModel, compare_with_first
from weam_fairseq.evaluation.hf_folder import find_device, load_folder
from weam_fairseq.evaluation.models import name_models
from weam_fairseq.evaluation.scores import Score, read_scores
from weam_fairseq.report.comparison import compare
from weam_fairseq.report.score_files import read_score_files
from weam_fairseq.report.score_tables import layer_table

from .conftest import PAIRS, write_lines

TESTS = Path(__file__).resolve().parents[1]
VOCABULARY = 40  # of the data-bin below
Example = tuple[list[int], list[int], list[tuple[int, int]], list[int], list[int]]

# Three copies of the pairs, each with a word of its own that the tokenizer knows.
WORDS = ("town", "door", "light")
LINES = [f"{source} {word}\t{target} {word}" for word in WORDS for source, target in PAIRS]


@pytest.fixture
def bitext(tmp_path: Path) -> Path:
    path = tmp_path / "heldout.en-de.tsv"
    write_lines(path, LINES)
    return path


def _run(out: Path, models: Sequence[Path], *more: str) -> list[Score]:
    words = [word for model in models for word in ("--model", str(model))]
    assert main([*words, "--out", str(out), *more]) == 0
    return read_scores(out)


def _fails(capsys: pytest.CaptureFixture[str], message: str, code: int) -> None:
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("weam-evaluate: error: ")
    assert error.count("\n") == 1
    assert message in error


# Pairs of three words each. A word is one piece; the translation of piece p is p + 15. The aligner misses one link.
def _drawn(number: int) -> Example:
    source = [5 + number % 13, 5 + (number + 1) % 13, 5 + (number + 4) % 13]
    target = [source[2] + 15, source[0] + 15, source[1] + 15]
    return source, target, [(0, 1), (1, 2)], [0, 1, 2], [0, 1, 2]


@pytest.fixture(scope="module")
def data_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("fairseq")
    sys.path.append(str(TESTS / "plugin"))
    from hand_made_data_bin import write_data_bin

    splits = {"train": [_drawn(30)], "valid": [_drawn(number) for number in range(26)]}
    folder = write_data_bin(tmp_path_factory.mktemp("helped") / "data-bin", {"en-de": splits})
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["tokenizer"]["pieces_sha256"] = read_tokenizer(folder / "tokenizer").pieces_sha256
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def make_model(tmp_path_factory: pytest.TempPathFactory, data_bin: Path) -> Callable[[str, bool], Path]:
    """A model whose embeddings (layer 0) are the same for a piece and its translation, or are not."""

    def make(name: str, knows: bool) -> Path:
        from transformers import BertConfig, BertForMaskedLM

        path = tmp_path_factory.mktemp(name) / name
        torch.manual_seed(3)
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        model = BertForMaskedLM(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=64, **sizes))
        with torch.no_grad():
            embeddings = model.bert.embeddings
            embeddings.position_embeddings.weight.zero_()
            if knows:
                embeddings.word_embeddings.weight[20:38] = embeddings.word_embeddings.weight[5:23].clone()
        model.save_pretrained(path)
        shutil.copytree(data_bin / "tokenizer", path, dirs_exist_ok=True)
        return path

    return make


@pytest.fixture(scope="module")
def models(make_model: Callable[[str, bool], Path]) -> list[Path]:
    return [make_model("knows", True), make_model("random", False)]


def test_a_data_bin_gives_both_directions_and_the_links(
    models: list[Path], data_bin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.jsonl"
    scores = {(each.model, each.task, each.language): each for each in _run(out, models, "--data", str(data_bin))}
    # Pairs 13 apart are equal, and a hit on either of them counts.
    assert scores["knows", "sentence-retrieval", "en>de"].value == 100
    assert scores["knows", "sentence-retrieval", "de>en"].value == 100
    # In each pair the model gives three links, and the aligner has two of them: F1 is 2 · 2 / (3 + 2).
    links = scores["knows", "word-links", "en-de"]
    assert (links.value, links.n, links.detail["layer"]) == (pytest.approx(80), 26, 0)
    assert scores["random", "sentence-retrieval", "en>de"].value < 100
    assert {each.split for each in scores.values()} == {"valid/odd"}
    printed = capsys.readouterr().out
    assert "Measured on 13 of 26 held-out pairs of en-de." in printed
    assert "random compared with knows, of 3 figures (without means): worse in 3." in printed
    assert "If an interval contains 0, these pairs do not show which model is better" in printed
    assert f"weam-report {out} --baseline knows" in printed


def test_pairs_that_a_model_was_trained_on_are_counted(
    models: list[Path], data_bin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training pair, number 30, equals the pairs 4 and 17. Of these the odd one is measured."""
    (score, *_) = _run(tmp_path / "out.jsonl", models[:1], "--data", str(data_bin))
    assert score.detail["in_training_data"] == {"measured": 13, "sentences": 1, "pairs": 1}
    assert (
        "Warning: 1 of 13 (7.7 %) measured pairs of en-de have a sentence that also occurs in the training pairs"
        in (capsys.readouterr().out)
    )


def test_text_is_compared_as_pieces_of_the_training_data(
    models: list[Path], data_bin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In either order of languages. A sentence may come with another translation."""
    source, target = (" ".join(f"w{piece}" for piece in side) for side in _drawn(30)[:2])
    other = " ".join(f"w{piece}" for piece in _drawn(1)[0])
    lines = [f"{other}\t{other}"] * 24
    lines[0] = f"{source}\t{target}"  # chooses the layer
    lines[3], lines[5] = f"{target}\t  {source} ", f"{other}\t{source}"
    write_lines(tmp_path / "heldout.tsv", lines)
    words = ("--bitext", str(tmp_path / "heldout.tsv"), "--training-data", str(data_bin))
    (score, *_) = _run(tmp_path / "out.jsonl", models[:1], *words)
    assert score.detail["in_training_data"] == {"measured": 12, "sentences": 2, "pairs": 1}
    write_lines(tmp_path / "heldout.tsv", [f"{other}\t{other}"] * 24)
    capsys.readouterr()
    _run(tmp_path / "out.jsonl", models[:1], *words)
    assert "No sentence of the measured pairs of source-target occurs in the training pairs of" in (
        capsys.readouterr().out
    )


def test_training_data_with_another_tokenizer_is_refused(
    models: list[Path], data_bin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(data_bin, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["tokenizer"]["pieces_sha256"] = "0" * 64
    (other / "manifest.json").write_text(json.dumps(manifest))
    code = main(["--model", str(models[0]), "--data", str(data_bin), "--training-data", str(other)])
    _fails(capsys, "stores the pieces of another tokenizer than", code)
    code = main(["--model", str(models[0]), "--data", str(data_bin), "--training-data", str(tmp_path)])
    _fails(capsys, "must be a data-bin of weam-preprocess, but is not", code)


def test_the_intervals_are_those_of_the_report(models: list[Path], data_bin: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    _run(out, models, "--data", str(data_bin))
    scores = read_score_files([out])
    report = compare(scores, baseline="knows")
    layers = [layer_table(table, scores) for table in report.tables]
    assert all(each is not None and len(each.head) == 4 for each in layers)  # the embeddings and two layers
    for each in layers:
        assert each is not None
        assert all(sum(cell.text.endswith("*") for cell in row.cells) == 1 for row in each.rows)
    rows = compare_with_first(scores.entries, ["knows", "random"])
    ours = {(row.task, row.language.replace("mean", "average")): row for row in rows if row.model == "random"}
    theirs = {
        (table.group.task, language): difference
        for table in report.tables
        for (_, language), difference in table.differences.items()
    }
    assert ours.keys() == theirs.keys()
    for key, row in ours.items():
        assert row.difference == pytest.approx(theirs[key].value)
        assert row.interval == theirs[key].items


def test_each_figure_is_that_of_the_named_task(
    folder_path: Path, make_folder: Callable[..., Path], bitext: Path, tmp_path: Path
) -> None:
    models = [folder_path, make_folder(seed=1)]
    gold = [" ".join(f"{k}-{k}" for k in range(len(line.split("\t")[0].split()))) for line in LINES]
    write_lines(tmp_path / "gold", gold)
    mine = _run(tmp_path / "mine.jsonl", models, *_bitext(bitext), "--gold", str(tmp_path / "gold"))
    odd = [line.replace("\t", " ||| ") for line in LINES[1::2]]
    write_lines(tmp_path / "heldout.en-de.src-tgt", odd)
    write_lines(tmp_path / "heldout.en-de.gold", gold[1::2])
    words = [word for model in models for word in ("--model", str(model))]
    named = ["sentence-retrieval", "word-alignment", *words, "--data", str(tmp_path), "--languages", "de"]
    assert main([*named, "--out", str(tmp_path / "named.jsonl")]) == 0
    theirs = {(each.model, each.task): each for each in read_scores(tmp_path / "named.jsonl")}
    assert len(mine) == 6
    for each in mine:
        other = theirs[each.model, each.task]
        if each.task == "sentence-retrieval":
            assert each.value == other.detail["directions"][each.language]
            assert each.detail["layer"] == other.detail["layer"]
        else:
            assert each.value == pytest.approx(other.detail["aer_by_layer"][each.detail["layer"]])
            assert each.detail["dev_by_layer"][each.detail["layer"]] == min(each.detail["dev_by_layer"])


def _bitext(path: Path) -> list[str]:
    return ["--bitext", str(path), "--languages", "en-de"]


def test_several_models_on_a_named_task_score_as_each_alone(
    folder_path: Path, make_folder: Callable[..., Path], data_dir: Path, tmp_path: Path
) -> None:
    models = [folder_path, make_folder(seed=1)]
    named = ["sentence-retrieval", "--data", str(data_dir), "--languages", "de"]
    both, alone = tmp_path / "both.jsonl", tmp_path / "alone.jsonl"
    words = [word for model in models for word in ("--model", str(model), "--name", model.name)]
    assert main([*named, *words, "--out", str(both)]) == 0
    for model in models:
        assert main([*named, "--model", str(model), "--out", str(alone)]) == 0
    assert read_scores(both) == read_scores(alone)


def test_a_checkpoint_is_measured_as_its_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.path.append(str(TESTS / "convert"))
    from test_to_hf import SIZE, write_checkpoint

    from weam_fairseq.convert.to_hf import convert

    (tmp_path / "run").mkdir()
    checkpoint = write_checkpoint(tmp_path / "run", SIZE)
    convert(checkpoint, tmp_path / "hf")
    write_lines(tmp_path / "pairs.tsv", LINES)
    one, other = _run(tmp_path / "out.jsonl", [checkpoint, tmp_path / "hf"], *_bitext(tmp_path / "pairs.tsv"))[::2]
    assert (one.model, other.model) == ("run", "hf")
    assert (one.checkpoint, one.value, one.signature) == (other.checkpoint, other.value, other.signature)


POOLINGS = {"mean": {"pooling_mode_mean_tokens": True}, "cls": {"pooling_mode": "cls"}}


@pytest.mark.parametrize("mode", POOLINGS)
def test_own_pooling_is_measured_first(mode: str, folder_path: Path, bitext: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folder_path, tmp_path / "st")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(POOLINGS[mode]))
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    scores = _run(tmp_path / "out.jsonl", [folder, folder_path], *_bitext(bitext), "--name", "st", "--name", "plain")
    assert [each.task for each in scores if each.model == "st"][:2] == ["own-pooling"] * 2
    assert not [each for each in scores if each.model == "plain" and each.task == "own-pooling"]
    assert (scores[0].detail["pooling"], scores[0].detail["layer"]) == (mode, 2)

    loaded = load_folder(folder)
    sides = []
    for texts in zip(*(line.split("\t") for line in LINES[1::2]), strict=True):
        batch = loaded.tokenizer(list(texts), padding=True, return_tensors="pt")
        with torch.no_grad():
            states = loaded.model.base_model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        vectors = states[:, 0] if mode == "cls" else (states * mask).sum(1) / mask.sum(1)
        sides.append(torch.nn.functional.normalize(vectors, dim=1).numpy())
    right = (sides[0] @ sides[1].T).argmax(1) == np.arange(len(sides[0]))
    assert scores[0].value == pytest.approx(100 * right.mean())


def test_a_dense_module_is_said_and_not_measured(
    folder_path: Path, bitext: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(folder_path, tmp_path / "st")
    (folder / "modules.json").write_text('[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]')
    assert {each.task for each in _run(tmp_path / "o.jsonl", [folder], *_bitext(bitext))} == {"sentence-retrieval"}
    assert "no figures for its own pooling, because its modules.json has a module of the kind Dense" in (
        capsys.readouterr().err
    )


def test_at_most_so_many_pairs_are_measured(
    folder_path: Path, bitext: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = _run(tmp_path / "out.jsonl", [folder_path], *_bitext(bitext), "--max-pairs", "20")
    assert {each.n for each in scores} == {10}
    assert all("|pairs:20of24|" in each.signature for each in scores)
    assert "en-de: 20 of 24 pairs are measured" in capsys.readouterr().err


def test_nothing_is_written_without_out(folder_path: Path, bitext: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(bitext.parent.rglob("*"))
    assert main(["--model", str(folder_path), "--bitext", str(bitext)]) == 0
    assert sorted(bitext.parent.rglob("*")) == before
    printed = capsys.readouterr().out
    assert "source>target" in printed
    assert "Give --out FILE to keep the scores" in printed
    assert "Give --training-data DATA_BIN to check whether a model was trained on these sentences." in printed


def _compared(task: str, low: float, high: float) -> str:
    from weam_fairseq.evaluation.bootstrap import Interval

    return ComparedModel(task, "en-de", "weam", 1.0, None, 1.0, Interval(low, high, 0.01)).verdict


def test_a_lower_error_rate_is_better() -> None:
    assert _compared("word-links", 0.1, 2.0) == _compared("word-alignment", -2.0, -0.1) == "better"
    assert _compared("word-links", -2.0, -0.1) == _compared("word-alignment", 0.1, 2.0) == "worse"
    assert _compared("word-links", 0.0, 2.0) == _compared("word-alignment", -0.1, 2.0) == ""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "give either --data DATA_BIN"),
        (["--data", "{bin}", "--bitext", "{bitext}"], "give either --data DATA_BIN"),
        (["--data", "{folder}"], "is not a data-bin (it has no manifest.json). Give the --destdir"),
        (["--data", "{bin}", "--languages", "en-fr"], "--languages names en-fr, but"),
        (["--data", "{bin}"], "stores the pieces of another tokenizer than"),
        (["--data", "{bin}", "--gold", "{gold}"], "--gold holds the word links of --bitext"),
        (["--bitext", "{few}"], "must have at least 20 pairs"),
        (["--bitext", "{bitext}", "--max-pairs", "19"], "--max-pairs must be at least 20"),
        (["--bitext", "{bitext}", "--gold", "{gold}"], "has 1 lines for 24 pairs"),
        (["--bitext", "{bitext}", "--gold", "{one_half}"], "sure links (written i-j) on even and on odd lines"),
        (["--bitext", "{bitext}", "--languages", "de"], "must name language pairs like en-de"),
        (["--bitext", "{bitext}", "--split", "dev", "--epochs", "3"], "--split, --epochs have no effect"),
        (["--bitext", "{bitext}", "--gold-from", "1"], "--gold-from has no effect"),
        (["--bitext", "{bitext}", "--layer", "best"], "--layer has no effect, because no task is named"),
        (["--bitext", "{bitext}", "--name", "a", "--model", "{bin}"], "there are 2 models and 1 names"),
        (["--bitext", "{bitext}", "--model", "{folder}"], "--model must name each model once"),
        (["sentence-retrieval", "--data", "x", "--languages", "de", "--bitext", "{bitext}"], "--bitext has no effect"),
    ],
)
def test_one_sentence_for_what_cannot_be_measured(
    more: list[str],
    message: str,
    folder_path: Path,
    bitext: Path,
    data_bin: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_lines(tmp_path / "few.tsv", LINES[:19])
    write_lines(tmp_path / "gold", ["0-0"])
    write_lines(tmp_path / "one_half", ["0-0", ""] * 12)
    places = {"bin": data_bin, "bitext": bitext, "folder": folder_path, "few": tmp_path / "few.tsv"}
    places |= {"gold": tmp_path / "gold", "one_half": tmp_path / "one_half"}
    words = [word.format(**places) for word in more]
    _fails(capsys, message, main([*words, "--model", str(folder_path)]))


def test_a_data_bin_without_validation_pairs(
    models: list[Path], data_bin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(data_bin, tmp_path / "data-bin")
    for path in copy.glob("valid.*"):
        path.unlink()
    code = main(["--model", str(models[0]), "--data", str(copy)])
    _fails(capsys, "must hold validation pairs of en-de, but does not. Run weam-preprocess again", code)


def test_names_are_the_shortest_that_differ(tmp_path: Path) -> None:
    for run in ("weam", "tlm"):
        (tmp_path / run / "hf").mkdir(parents=True)
        for name in ("checkpoint_best.pt", "checkpoint_last.pt"):
            (tmp_path / run / name).touch()
    paths = ["weam/hf", "tlm/hf", "weam", "tlm/checkpoint_best.pt"]
    named = name_models([tmp_path / path for path in paths], None)
    assert [each.name for each in named] == ["weam/hf", "tlm/hf", "weam", "tlm"]
    paths = ["weam/checkpoint_best.pt", "weam/checkpoint_last.pt", "tlm/hf"]
    named = name_models([tmp_path / path for path in paths], None)
    assert [each.name for each in named] == ["weam/checkpoint_best", "weam/checkpoint_last", "hf"]
    assert [each.name for each in name_models([Path("org/e5"), tmp_path / "tlm"], None)] == ["org/e5", "tlm"]
    with pytest.raises(InputError, match="two are 'a'"):
        name_models([Path("one"), Path("two")], ["a", "a"])


@pytest.mark.parametrize(("cuda", "mps", "found"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_a_gpu_where_there_is_one(
    cuda: bool, mps: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert find_device("auto") == found
    assert find_device("cpu") == "cpu"
