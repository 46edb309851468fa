"""A weights file of the form E5S1, written by hand: what is decoded, what is refused, what Hugging Face reads."""

import json
import struct
from pathlib import Path

import numpy as np
import published_encoder
import pytest
import torch

from weam_fairseq.common.errors import InputError

SHAPE = published_encoder.Shape(
    width=32, layers=1, heads=2, feed_forward=64, pieces=7, positions=12, segments=2, norm_eps=1e-12
)


def nibbles(seed: int, size: int) -> np.ndarray:
    """Weights before the scale, -8 to 7."""
    return np.random.default_rng(seed).integers(-8, 8, size).astype(np.float32)


def packed(values: np.ndarray, scales: np.ndarray) -> bytes:
    content = b""
    for block, scale in zip(values.reshape(-1, 32), scales, strict=True):
        codes = [int(value) + 8 for value in block]
        content += struct.pack("<e16B", scale, *(codes[k] | codes[k + 16] << 4 for k in range(16)))
    return content


def weights_file(**instead: bytes) -> tuple[bytes, dict[str, np.ndarray]]:
    """A file and what it holds under BertModel's names. `instead`: other bytes for a tensor's content."""
    tensors: list[tuple[str, int, int, bytes]] = []
    expected = {}
    for seed, (name, (published, shape)) in enumerate(published_encoder.tensors_of(SHAPE).items()):
        size = int(np.prod(shape))
        if len(shape) == 2 and name not in ("emb.pos", "emb.type"):
            values, scales = nibbles(seed, size), 2.0 ** -(np.arange(size // 32) % 5 + 3)
            expected[published] = (values.reshape(-1, 32) * scales[:, None]).reshape(shape)
            tensors.append((name, 1, size, packed(values, scales)))
        else:
            expected[published] = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
            tensors.append((name, 0, size, expected[published].astype("<f4").tobytes()))
    text = b"ab"
    head = struct.pack("<4sI7ifi", b"E5S1", 1, *SHAPE[:7], 1e-12, 32)
    head += struct.pack("<5iQ", 2, 0, 2, 1, 3, len(text)) + struct.pack("<3I2f", 0, 1, 2, -1, -2) + text
    head += struct.pack("<iI", 1, 5) + b"table" + struct.pack("<i", len(tensors))
    place = len(head) + sum(2 + len(name) + 21 for name, *_ in tensors)
    directory, contents = b"", b""
    for name, kind, size, content in tensors:
        content = instead.get(name, content)
        directory += struct.pack(f"<H{len(name)}sBIQQ", len(name), name.encode(), kind, size, place, len(content))
        contents += content
        place += len(content)
    return head + directory + contents, expected


def test_a_block_is_a_scale_and_low_halves_before_high_ones() -> None:
    block = struct.pack("<e16B", 0.5, 0x0F, 0xF0, *[0x88] * 14)
    weights = published_encoder.unpack_blocks(block)
    assert weights.shape == (32,)
    assert [weights[0], weights[1], weights[16], weights[17]] == [3.5, -4.0, -4.0, 3.5]
    assert not weights[2:16].any()
    assert not weights[18:].any()


def test_every_tensor_comes_out_under_its_published_name() -> None:
    data, expected = weights_file()
    shape, tensors = published_encoder.read_weights(data)
    assert shape == SHAPE
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        assert tensors[name].dtype == np.float32
        np.testing.assert_array_equal(tensors[name], value, err_msg=name)


def test_hugging_face_reads_the_folder(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import AutoModel, AutoTokenizer

    vocabulary = [
        ("<s>", 0.0),
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁a", -1.0),
        ("b", -2.0),
        ("<mask>", 0.0),
    ]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    data, expected = weights_file()
    shape, tensors = published_encoder.read_weights(data)
    published_encoder.write_model(tmp_path, shape, tensors, tokenizer.to_str().encode())
    model, report = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.config.pad_token_id == 1
    state = model.state_dict()
    for name, value in expected.items():
        assert torch.equal(state[name], torch.from_numpy(np.ascontiguousarray(value, np.float32))), name
    read = AutoTokenizer.from_pretrained(tmp_path)
    special = [read.cls_token_id, read.pad_token_id, read.sep_token_id, read.unk_token_id, read.mask_token_id]
    assert special == [0, 1, 2, 3, 6]
    card = (tmp_path / "README.md").read_text()
    assert "4-bit weights, decoded" in card
    assert "base_model: intfloat/multilingual-e5-small" in card
    modules = json.loads((tmp_path / "modules.json").read_text())
    assert [module["path"] for module in modules] == ["", "1_Pooling", "2_Normalize"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GGUF" + weights_file()[0][4:], "begins with b'GGUF'"),
        (weights_file()[0][:50], "cannot be read as one"),
        (weights_file()[0][:-32], "cannot be read as one"),
        (weights_file(**{"l0.q.w": b"1234"})[0], "cannot be read as one"),
    ],
)
def test_another_file_is_refused_in_one_sentence(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        published_encoder.read_weights(data)
