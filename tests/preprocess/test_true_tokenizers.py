"""The vocabularies of mBERT and XLM-R on real sentences of all languages, where they are at hand.

Neither is part of the repository: WEAM_TEST_DATA names a folder that holds vocab/mbert/vocab.txt and bitext,
WEAM_XLMR_TOKENIZER the tokenizer.json of XLM-R. The same is tested with small vocabularies elsewhere. 300 sentences of
each side of each file; with WEAM_TEST_ALL=1 all of them (docs/preprocessing.md).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from real_text import DATA, LANGUAGES, SIDES, WHY_SKIPPED, some_or_all
from small_runs import all_pieces
from weam_preprocess import tokenizer_folder
from weam_preprocess.pieces import PieceTokenizer
from weam_preprocess.spans import unpack

FILES = {
    "mbert": DATA / "vocab" / "mbert" / "vocab.txt",
    "xlmr": Path(os.environ.get("WEAM_XLMR_TOKENIZER", "xlm-roberta-base/tokenizer.json")),
}
WHY = {"mbert": "set WEAM_TEST_DATA", "xlmr": "set WEAM_XLMR_TOKENIZER"}

pytestmark = pytest.mark.skipif(not LANGUAGES, reason=WHY_SKIPPED)


@pytest.fixture(scope="module", params=FILES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not FILES[request.param].is_file():
        pytest.skip(f"no {FILES[request.param]}: {WHY[request.param]}")
    folder = tmp_path_factory.mktemp(request.param) / "tokenizer"
    tokenizer_folder.make(FILES[request.param], folder)
    return folder


@pytest.fixture(scope="module")
def opened(folder: Path) -> tuple[Any, PieceTokenizer]:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder)), PieceTokenizer(folder)


@pytest.mark.parametrize("side", SIDES, ids="-".join)
def test_ids_equal_autotokenizer_and_spans_are_inside(
    side: tuple[str, str], opened: tuple[Any, PieceTokenizer]
) -> None:
    auto, ours = opened
    every = some_or_all(side)
    for start in range(0, len(every), 20_000):
        lines = every[start : start + 20_000]
        pieces = all_pieces(ours, lines)
        assert [sentence.ids for sentence in pieces] == [auto(x, add_special_tokens=False)["input_ids"] for x in lines]
        for text, sentence in zip(lines, pieces, strict=True):
            assert len(sentence.spans) == len(sentence.ids)
            assert all(0 <= start <= end <= len(text) for start, end in sentence.spans), text
        arrays = ours.encode_arrays(lines)
        assert arrays.ids.tolist() == [idx for sentence in pieces for idx in sentence.ids]
        assert unpack(arrays.spans) == [sentence.spans for sentence in pieces]


def test_every_piece_keeps_its_id(folder: Path) -> None:
    """Those too that are or hold white space, at which a reader of lines or columns would break them."""
    from transformers import AutoTokenizer

    if (folder / "vocab.txt").is_file():
        pieces = FILES["mbert"].read_text(encoding="utf-8").split("\n")[:-1]
    else:
        pieces = [piece for piece, _ in json.loads(FILES["xlmr"].read_text(encoding="utf-8"))["model"]["vocab"]]
    auto = AutoTokenizer.from_pretrained(str(folder))
    assert auto.convert_tokens_to_ids(pieces) == PieceTokenizer(folder).ids == list(range(len(pieces)))
