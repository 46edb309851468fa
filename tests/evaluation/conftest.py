"""A Hugging Face folder of two layers and width 16 with random weights, and data files small enough to read."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest

from weam_fairseq.evaluation.hf_folder import Folder, load_folder

# Stripping accents in the tokenizer makes "schon" and "schön" the same pieces and yet different words.
PAIRS = [
    ("the uber driver is schon here", "the über driver is schön here"),
    ("a cafe in the old town", "a café in the old town"),
    ("naive people read the resume twice", "naïve people read the résumé twice"),
    ("turn on the light in the kitchen", "türn ön the light in the kitchën"),
    ("the garage door was left open", "the garagé door was lëft open"),
    ("it will be raining today in town", "ït will be räining today in town"),
    ("no device was found on the network", "no dévice was found on the nëtwork"),
    ("the uber is late , again and again .", "the über is late , ägain and ägain ."),
]
SENTENCES = [side for pair in PAIRS for side in pair]


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--device auto` is the CPU, so that figures are the same on a machine with a GPU."""
    monkeypatch.setattr("weam_fairseq.evaluation.cli.find_device", lambda name: "cpu" if name == "auto" else name)


@pytest.fixture(scope="session")
def pairs() -> list[tuple[str, str]]:
    return PAIRS


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return SENTENCES


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a folder; `max_positions` counts pieces, `head=False` leaves the masked-LM head out.

    `kind` is a model type of transformers.
    """

    def make(max_positions: int = 64, head: bool = True, seed: int = 0, kind: str = "bert") -> Path:
        import torch
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
        from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, PreTrainedTokenizerFast

        path = tmp_path_factory.mktemp("folder")
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        tokenizer = Tokenizer(models.WordPiece(_vocabulary(special, 90), unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=True, lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="[PAD]",
            unk_token="[UNK]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
        ).save_pretrained(path)

        torch.manual_seed(seed)
        config = AutoConfig.for_model(kind, vocab_size=tokenizer.get_vocab_size(), **_sizes(kind, max_positions))
        (AutoModelForMaskedLM if head else AutoModel).from_config(config).save_pretrained(path)
        return path

    return make


def _vocabulary(special: list[str], size: int) -> dict[str, int]:
    """The letters, the frequent words, then ends of words: a rare word is several pieces.

    The trainer of `tokenizers` numbers the letters in another order in each process.
    """
    plain = [unicodedata.normalize("NFD", sentence).encode("ascii", "ignore").decode() for sentence in SENTENCES]
    letters = sorted({letter for sentence in plain for letter in sentence if letter != " "})
    words = Counter(word for sentence in plain for word in sentence.split() if len(word) > 1)
    ends = Counter("##" + word[-2:] for word in words if len(word) > 4)
    pieces = [*special, *letters, *("##" + letter for letter in letters if letter.isalpha())]
    pieces += [word for word, count in words.items() if count > 2]
    pieces += [end for end, _ in ends.most_common(size - len(pieces))]
    return {piece: number for number, piece in enumerate(pieces)}


def _sizes(kind: str, max_positions: int) -> dict[str, float]:
    """Two layers of width 16; weights large enough that logits differ well beyond rounding."""
    if kind == "distilbert":
        names = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
    else:
        names = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    if kind == "xlm-roberta":
        max_positions += 1  # positions start behind the padding index, which is 0 here
    return {**names, "max_position_embeddings": max_positions, "initializer_range": 0.5, "pad_token_id": 0}


@pytest.fixture(scope="session")
def folder_path(make_folder: Callable[..., Path]) -> Path:
    return make_folder()


@pytest.fixture(scope="session")
def folder_of_kind(make_folder: Callable[..., Path]) -> Callable[[str], Path]:
    """One folder for each model type. Do not change its files."""
    return cache(lambda kind: make_folder(kind=kind))


@pytest.fixture(scope="session")
def folder(folder_path: Path) -> Folder:
    return load_folder(folder_path)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """`heldout.en-de.*` from PAIRS: every word is linked to the word in its own place."""
    path = tmp_path / "data"
    path.mkdir()
    write_lines(path / "heldout.en-de.tsv", [f"{source}\t{target}" for source, target in PAIRS])
    write_lines(path / "heldout.en-de.src-tgt", [f"{source} ||| {target}" for source, target in PAIRS])
    write_lines(
        path / "heldout.en-de.gold", [" ".join(f"{i}-{i}" for i in range(len(source.split()))) for source, _ in PAIRS]
    )
    return path


def write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
