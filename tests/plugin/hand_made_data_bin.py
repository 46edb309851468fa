"""A data-bin written by hand with fairseq's own builders, so that the plugin is tested against the format."""

import json
from pathlib import Path

import numpy as np
import torch
from fairseq.data.indexed_dataset import make_builder

VOCABULARY = 40
SPECIAL = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
TEMPLATE = {
    "pair": {"ids": [2, "A", 3, "B", 3], "segments": [0, 0, 0, 1, 1]},
    "single": {"ids": [2, "A", 3], "segments": [0, 0, 0]},
}

# source, target (tokenizer ids), piece links, words of the source pieces, words of the target pieces
Example = tuple[list[int], list[int], list[tuple[int, int]], list[int], list[int]]


def fairseq_id(tokenizer_id: int) -> int:
    """<s> 0, <pad> 1, </s> 2, <unk> 3 stand for cls, pad, sep, unk; the others follow in order."""
    first = [SPECIAL[name] for name in ("cls", "pad", "sep", "unk")]
    rest = [i for i in range(VOCABULARY) if i not in first]
    return [*first, *rest].index(tokenizer_id)


def random_examples(count: int, seed: int) -> list[Example]:
    """Each source piece is translated as id + 15, in a random order; its last two pieces are one word."""
    rng = np.random.default_rng(seed)
    examples: list[Example] = []
    for _ in range(count):
        size = int(rng.integers(3, 9))
        source = rng.integers(5, 22, size).tolist()
        order = rng.permutation(size).tolist()
        target = [source[k] + 15 for k in order]
        links = sorted((k, place) for place, k in enumerate(order) if rng.random() < 0.8)
        words = [*range(size - 1), size - 2]
        examples.append((source, target, links, words, list(range(size))))
    return examples


def random_probabilities(examples: list[Example], seed: int) -> list[list[int]]:
    """Of each link of each example, in parts per 10,000."""
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 10_001, len(links)).tolist() for _, _, links, _, _ in examples]


def write_part(prefix: Path, items: list[list[int]], vocabulary: int | None) -> None:
    builder = make_builder(f"{prefix}.bin", "mmap", vocabulary)
    for item in items:
        builder.add_item(torch.tensor(item, dtype=torch.int64))
    builder.finalize(f"{prefix}.idx")


def write_data_bin(
    folder: Path,
    pairs: dict[str, dict[str, list[Example]]],
    probabilities: dict[str, dict[str, list[list[int]]]] | None = None,
) -> Path:
    """Writes pair -> split -> examples; with probabilities, pair -> split -> those of each example's links."""
    folder.mkdir(parents=True)
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "vocab.txt").write_text(
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n" + "".join(f"w{i}\n" for i in range(5, VOCABULARY))
    )
    (tokenizer / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": false}')
    order = sorted(range(VOCABULARY), key=fairseq_id)
    for pair, splits in pairs.items():
        source, target = pair.split("-")
        for language in (source, target):
            (folder / f"dict.{language}.txt").write_text("".join(f"{i} 1\n" for i in order[4:]))
        for split, examples in splits.items():
            columns = {
                f"{split}.{pair}.{source}": [[fairseq_id(i) for i in e[0]] for e in examples],
                f"{split}.{pair}.{target}": [[fairseq_id(i) for i in e[1]] for e in examples],
                f"{split}.align.{pair}": [[i for link in e[2] for i in link] for e in examples],
                f"{split}.words.{pair}.{source}": [e[3] for e in examples],
                f"{split}.words.{pair}.{target}": [e[4] for e in examples],
            }
            if probabilities is not None:
                columns[f"{split}.probs.{pair}"] = probabilities[pair][split]
            for name, items in columns.items():
                write_part(folder / name, items, VOCABULARY)
    manifest = {
        "format": "weam-data-bin/1",
        "pairs": {pair: {split: len(e) for split, e in splits.items()} for pair, splits in pairs.items()},
        "tokenizer": {
            "folder": "tokenizer",
            "vocab_size": VOCABULARY,
            "pieces_sha256": "ab" * 32,
            "behaviour_sha256": "cd" * 32,
            "special_ids": SPECIAL,
            "all_special_ids": sorted(SPECIAL.values()),
            "template": TEMPLATE,
        },
        "aligner": {
            "name": "by hand",
            "version": "1",
            "symmetrize": "intersect",
            **({} if probabilities is None else {"probabilities": True}),
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
