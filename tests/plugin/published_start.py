"""Hugging Face folders of the same weights on every machine, for curves that must not change."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

SHAPES = {
    "bert": {"type_vocab_size": 2},
    "xlm-roberta": {"type_vocab_size": 2, "layer_norm_eps": 1e-5},
    "distilbert": {},
}
_SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 80,
}
_DISTILBERT_NAMES = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
}


def give_true_digests(data_bin: Path) -> None:
    """Makes a hand-made data-bin one of its own tokenizer, as a checkpoint of that tokenizer's folder must find it."""
    from weam_fairseq.common.tokenizers import read_tokenizer

    facts = read_tokenizer(data_bin / "tokenizer")
    path = data_bin / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tokenizer"] |= {"pieces_sha256": facts.pieces_sha256, "behaviour_sha256": facts.behaviour_sha256}
    path.write_text(json.dumps(manifest))


def write_folder(folder: Path, family: str, data_bin: Path, *, head: bool = True) -> Path:
    """A model of a family, with the tokenizer of a data-bin and weights drawn by NumPy, without dropout."""
    import transformers

    folder.mkdir(parents=True)
    shutil.copytree(data_bin / "tokenizer", folder, dirs_exist_ok=True)
    pieces = len((folder / "vocab.txt").read_text().splitlines())
    names = _DISTILBERT_NAMES if family == "distilbert" else {}
    dropout = ("dropout", "attention_dropout") if names else ("hidden_dropout_prob", "attention_probs_dropout_prob")
    config = transformers.AutoConfig.for_model(
        family,
        vocab_size=pieces,
        pad_token_id=0,
        **{names.get(name, name): value for name, value in _SIZES.items()},
        **dict.fromkeys(dropout, 0.0),
        **SHAPES[family],
    )
    model = (transformers.AutoModelForMaskedLM if head else transformers.AutoModel).from_config(config)
    random = np.random.default_rng(11)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            drawn = torch.from_numpy(random.standard_normal(tuple(parameter.shape)).astype(np.float32))
            is_scale = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_((1 if is_scale else 0) + 0.05 * drawn)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == family
    return folder
