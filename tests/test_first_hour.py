"""docs/first_hour.ipynb works from the first cell to the last, with a small encoder, and holds no output."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from weam_fairseq.evaluation.scores import read_scores

NOTEBOOK = json.loads((Path(__file__).resolve().parents[1] / "docs" / "first_hour.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]

ENGLISH = ["the", "red", "old", "house", "dog", "runs", "sees", "big", "green", "tree"]
GERMAN = ["das", "rote", "alte", "Haus", "Hund", "läuft", "sieht", "große", "grüne", "Baum"]


def test_it_is_a_notebook_of_format_4_5_without_output() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", cell_id) for cell_id in ids)
    assert {cell["cell_type"] for cell in NOTEBOOK["cells"]} == {"code", "markdown"}
    assert all((cell["outputs"], cell["execution_count"], cell["metadata"]) == ([], None, {}) for cell in CODE)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    torch.manual_seed(1)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ENGLISH, *GERMAN]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertForMaskedLM(BertConfig(vocab_size=len(vocabulary), **sizes)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in vocabulary), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": false}')
    return folder


@pytest.fixture
def bitext(tmp_path: Path) -> Path:
    draw = random.Random(1)
    rows = [[draw.randrange(len(ENGLISH)) for _ in range(6)] for _ in range(600)]
    lines = [" ".join(ENGLISH[k] for k in row) + "\t" + " ".join(GERMAN[k] for k in row) for row in rows]
    (tmp_path / "my text.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tmp_path / "my text.tsv"


def test_it_works_from_the_first_cell_to_the_last(
    encoder: Path,
    bitext: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {"ENCODER": encoder, "BITEXT": bitext, "RUN": tmp_path / "run"}.items():
        monkeypatch.setenv(f"WEAM_{name}", str(value))
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    namespace: dict[str, Any] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for cell in CODE:
            exec(compile("".join(cell["source"]), f"first_hour.ipynb, {cell['id']}", "exec"), namespace)
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert "weam compared with published, of" in printed
    assert set(tmp_path.iterdir()) - before == {tmp_path / "run"}
    assert (tmp_path / "run" / "report" / "report.html").is_file()
    assert {score.model for score in read_scores(tmp_path / "run" / "scores.jsonl")} == {"published", "tlm", "weam"}
    start, *trained = (
        AutoModelForMaskedLM.from_pretrained(folder).state_dict()["bert.embeddings.word_embeddings.weight"]
        for folder in (encoder, tmp_path / "run" / "tlm", tmp_path / "run" / "weam")
    )
    assert not torch.equal(start, trained[0])
    assert not torch.equal(start, trained[1])
    assert not torch.equal(trained[0], trained[1])
