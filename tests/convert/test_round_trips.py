"""weam-from-hf followed by weam-to-hf keeps every tensor and file."""

from collections.abc import Callable
from pathlib import Path

import published_folders as folders
import pytest
import torch
from published_folders import as_bin, change_tensors, tiny_config, write_model, write_sentencepiece
from test_families import EQUAL
from torch import Tensor
from transformers import AutoModel

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.weights import read_weights
from weam_fairseq.convert import from_hf, to_hf

FAMILIES = (
    *("bert", "distilbert", "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "albert", "electra", "deberta"),
    *("deberta-v2", "rembert", "modernbert", "eurobert", "gte", "mpnet", "ernie", "xlm", "nomic_bert"),
    *("jina_embeddings_v3", "megatron-bert"),
)
# transformers 5.23 draws the word embeddings of funnel anew while it loads them.
LATEST = [family for family in EQUAL if family not in (*FAMILIES, "funnel")] + ["bert", "xlm-roberta", "rembert"]
SMALL_FILES = {
    "modules.json": b'[{"idx": 0, "path": ""}, {"idx": 1, "path": "1_Pooling"}]\r\n',
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
    "sentence_bert_config.json": b'{"max_seq_length": 512}',
    "LICENSE": b"MIT\n",
}


def add_files(folder: Path) -> None:
    write_sentencepiece(folder)
    for name, content in SMALL_FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def saved(folder: Path, family: str) -> None:
    """As transformers saves it today: single precision, one file of safetensors."""
    write_model(folder, tiny_config(family))


def published(folder: Path, family: str) -> None:
    """As older versions wrote them: half precision, a pickle in parts, old names, buffers and ties written out."""
    model = write_model(folder, tiny_config(family), dtype=torch.float16)
    base, words = model.base_model_prefix, model.get_input_embeddings().weight.detach()

    def older(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        old = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
            for name, value in tensors.items()
        }
        if model.get_output_embeddings().weight is model.get_input_embeddings().weight:
            name = next(n for n, module in model.named_modules() if module is model.get_output_embeddings())
            old[f"{name}.weight"] = words
        return old | {f"{base}.embeddings.position_ids": torch.arange(66)[None]}

    change_tensors(folder, older)
    as_bin(folder, parts=2)


def bare(folder: Path, family: str) -> None:
    """The base model alone, bfloat16, safetensors in parts: the head is new."""
    write_model(folder, tiny_config(family), AutoModel.from_config, dtype=torch.bfloat16, max_shard_size="30KB")


@pytest.mark.parametrize(
    ("family", "write"), [*((each, saved) for each in LATEST), *((each, published) for each in FAMILIES)]
)
def test_import_and_export_keep_every_tensor_and_file(
    family: str, write: Callable[[Path, str], None], tmp_path: Path
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    write(there, family)
    add_files(there)
    done = from_hf.convert(there, tmp_path / "x.pt")
    assert (done.missing, done.left_out) == ([], [])
    assert to_hf.convert(tmp_path / "x.pt", back).notes == []
    assert folders.same(read_weights(there).tensors, read_weights(back).tensors)
    for name in (*SMALL_FILES, "config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (back / name).read_bytes() == (there / name).read_bytes(), name
    folders.train(tmp_path / "x.pt")
    to_hf.convert(tmp_path / "x.pt", tmp_path / "trained")
    before, after = read_weights(there).tensors, read_weights(tmp_path / "trained").tensors
    assert sorted(after) == sorted(before)
    buffers = {name for name, _ in to_hf.read(tmp_path / "x.pt").model.named_buffers()}
    assert [name for name in before if torch.equal(after[name], before[name])] == [
        name for name in before if name.endswith("position_ids") or name in buffers
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_model_alone_comes_back_with_a_new_head(family: str, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    bare(there, family)
    add_files(there)
    done = from_hf.convert(there, tmp_path / "x.pt")
    assert done.missing
    assert f"new in the folder: {len(done.missing)} tensors of the head" in to_hf.convert(tmp_path / "x.pt", back).notes
    before, after = AutoModel.from_pretrained(there).state_dict(), AutoModel.from_pretrained(back).state_dict()
    assert folders.same(before, after)


def test_a_folder_that_transformers_loads_wrong_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "there", "funnel")
    add_files(tmp_path / "there")
    with pytest.raises(
        InputError, match=r"must load funnel\.embeddings\.word_embeddings\.weight of .* but changes its values"
    ):
        from_hf.convert(tmp_path / "there", tmp_path / "x.pt")


def test_a_new_head_has_no_uninitialized_memory(tmp_path: Path) -> None:
    bare(tmp_path / "there", "data2vec-text")
    add_files(tmp_path / "there")
    torch.use_deterministic_algorithms(True)  # fills new memory with NaN
    try:
        from_hf.convert(tmp_path / "there", tmp_path / "x.pt")
    finally:
        torch.use_deterministic_algorithms(False)
    assert to_hf.read(tmp_path / "x.pt").model.lm_head.bias.eq(0).all()
