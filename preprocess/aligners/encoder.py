"""Word links from a Hugging Face encoder, without training: compares the states of a middle layer.

The words of a sentence are joined by single spaces, and its pieces go to the words whose characters they overlap, so
any fast tokenizer works. Words are not lower-cased: the tokenizer does that if its model needs it. No code from the
folder is run, and nothing is downloaded.

Shapes: S source pieces, T target pieces, D width. "Forward" is the direction of the other aligners: every target
piece looks for its source pieces.

argmax: cosine similarity; a piece is linked to the piece that is most similar to it (Jalili Sabet et al. 2020,
SimAlign). softmax: inner product; a piece is linked to every piece whose share in the softmax over the other sentence
is above the threshold (Dou and Neubig 2021, awesome-align).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import id_range

from ..corpus import sha256
from .base import SMALLEST_PROBABILITY, Aligned, Aligner, AlignerKind, AlignerRecipe, Alignments, Link, option
from .directions import symmetrize as join
from .lines import WordPair, count_lines, read_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

log = logging.getLogger(__name__)

METHODS = ("softmax", "argmax")

_WINDOW = 2_048  # pairs that are read at once and batched by length

# In these models position rows start after the padding index, so fewer rows are usable than the config says.
_SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert")


@dataclass(frozen=True)
class EncoderOptions:
    """How links come from an encoder."""

    method: str = option(
        "--encoder-method",
        "softmax",
        "softmax (default; awesome-align; gives probabilities) or argmax (SimAlign; gives none)",
        choices=METHODS,
    )
    layer: int | None = option(
        "--encoder-layer",
        None,
        "layer whose states are compared; 0 is the embeddings (default: two thirds of the layers, 8 of 12)",
        type=int,
        metavar="N",
    )
    threshold: float = option(
        "--encoder-threshold",
        1e-3,
        "for softmax: share of the softmax, between 0 and 1, above which pieces are linked (default 0.001)",
        type=float,
        metavar="P",
    )
    bf16: bool = option(
        "--encoder-bf16",
        False,
        "compute in bfloat16, which takes about half the memory and changes links a little",
        action="store_true",
    )
    batch_size: int = option(
        "--encoder-batch", 64, "sentences that are encoded at once (default 64)", type=int, metavar="N"
    )
    device: str | None = option(
        "--encoder-device",
        None,
        "torch device, such as cpu or cuda:1 (default: the GPU, if any)",
        metavar="DEVICE",
    )


class Encoder(AlignerKind):
    name = "encoder"
    summary = "encoder needs no training and gives its links probabilities"
    needs_model = True
    options = EncoderOptions

    def build(self, recipe: AlignerRecipe) -> EncoderAligner:
        if recipe.model is None:
            raise InputError("The aligner encoder needs a Hugging Face folder: add --aligner-model DIR.")
        return EncoderAligner(recipe.model, recipe.options or EncoderOptions())

    def check_machine(self, options: EncoderOptions | None) -> None:
        check_device(options.device if options else None)


class PieceLinks(NamedTuple):
    """The links of both directions, and the (S, T) probabilities of each direction if the method has them."""

    forward: list[Link]
    reverse: list[Link]
    forward_probabilities: Floats | None = None
    reverse_probabilities: Floats | None = None

    def probability(self, link: Link, how: str) -> float | None:
        """The mean of the two directions; with `forward`, the probability of that direction."""
        if self.forward_probabilities is None or self.reverse_probabilities is None:
            return None
        forward, reverse = float(self.forward_probabilities[link]), float(self.reverse_probabilities[link])
        mean = forward if how == "forward" else (forward + reverse) / 2
        return min(1.0, max(SMALLEST_PROBABILITY, mean))


class _Pieces(NamedTuple):
    """A sentence: model inputs by name, the positions of its pieces, and the words of each piece."""

    inputs: dict[str, list[int]]
    positions: list[int]
    words: list[list[int]]


class EncoderAligner(Aligner):
    """`folder` has a config, weights and a tokenizer. Raises InputError if any of it is missing or does not load.

    Sentences that are too long for the model are cut and counted: words after the cut have no links.
    The other pairs of a batch change the states of a pair by float rounding only.
    """

    by_pair = True
    own_cores = True
    cased = True

    def __init__(self, folder: Path, options: EncoderOptions) -> None:
        import inspect

        from ..piece_encoder import white_space_ids

        if options.method not in METHODS:
            raise InputError(f"The encoder's method must be one of {', '.join(METHODS)}, but is {options.method!r}.")
        if not 0 < options.threshold < 1:
            raise InputError(f"The encoder's threshold must be between 0 and 1, but is {options.threshold}.")
        if options.batch_size < 1:
            raise InputError(f"The encoder's batch size must be at least 1 sentence, but is {options.batch_size}.")
        self._options = options
        self._model, self._tokenizer = _load(folder, options.bf16)
        self._placed = False
        layers = self._model.config.num_hidden_layers
        self._layer = max(1, round(layers * 2 / 3)) if options.layer is None else options.layer
        if not 0 <= self._layer <= layers:
            raise InputError(f"The encoder's layer must be 0 to {layers} in {folder}, but is {self._layer}.")
        accepted = inspect.signature(self._model.forward).parameters
        backend = self._tokenizer.backend_tokenizer
        self._blank = frozenset(white_space_ids(json.loads(backend.to_str()), backend.get_vocab()))
        self._input_names = [name for name in self._tokenizer.model_input_names if name in accepted]
        self._max_pieces = _max_pieces(self._model.config, self._tokenizer)
        threshold = f", threshold {options.threshold:g}" if options.method == "softmax" else ""
        how = f"{threshold}{', bf16' if options.bf16 else ''}{f', {options.device}' if options.device else ''}"
        self.name = f"encoder ({options.method}, layer {self._layer}{how})"
        self.version = f"sha256:{_hash(folder)}"

    def align_file(self, words: Path, symmetrize: str = "intersect") -> Iterator[Aligned]:
        from tqdm import tqdm

        self.cut = 0
        if not self._placed:  # not earlier: the machine that prepares a cluster run may have no GPU
            self._model = self._model.to(check_device(self._options.device))
            self._placed = True
        pairs = read_words(words)
        with tqdm(total=count_lines(words), desc="align (encoder)", unit=" pairs", leave=False, disable=None) as bar:
            while window := list(islice(pairs, _WINDOW)):
                yield from self._aligned(window, symmetrize)
                bar.update(len(window))

    def align(self, pairs: Sequence[WordPair], symmetrize: str = "intersect") -> Alignments:
        found = super().align(pairs, symmetrize)
        if self.cut:
            log.warning(
                "%s sentences had over %s pieces and were cut. Words after the cut have no links.",
                f"{self.cut:,}",
                self._max_pieces,
            )
        return found

    def _aligned(self, pairs: Sequence[WordPair], symmetrize: str) -> list[Aligned]:
        sources = self._tokenize([source for source, _ in pairs])
        targets = self._tokenize([target for _, target in pairs])
        # Pairs of similar length share a batch, so that there is little padding; the longest come first.
        order = sorted(range(len(pairs)), key=lambda n: (-len(sources[n].positions) - len(targets[n].positions), n))
        found: list[Aligned] = [Aligned([])] * len(pairs)
        for start in range(0, len(order), self._options.batch_size):
            batch = order[start : start + self._options.batch_size]
            source_states = self._states([sources[n] for n in batch])
            target_states = self._states([targets[n] for n in batch])
            for n, source, target in zip(batch, source_states, target_states, strict=True):
                found[n] = self._linked(source, target, sources[n].words, targets[n].words, symmetrize)
        return found

    def _linked(
        self, source: Floats, target: Floats, source_words: list[list[int]], target_words: list[list[int]], how: str
    ) -> Aligned:
        if not len(source) or not len(target):  # the tokenizer dropped the complete text, such as control characters
            return Aligned([], [] if self._options.method == "softmax" else None)
        links = piece_links(source, target, self._options.method, self._options.threshold)
        return Aligned(*word_links(links, source_words, target_words, how))

    def _tokenize(self, sentences: Sequence[list[str]]) -> list[_Pieces]:
        batch = self._tokenizer(
            [" ".join(words) for words in sentences],
            truncation=True,
            max_length=self._max_pieces,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        self.cut += sum(bool(encoding.overflowing) for encoding in batch.encodings)
        found = []
        for n, words in enumerate(sentences):
            owners = _word_of_character(words)
            special, offsets = batch["special_tokens_mask"][n], batch["offset_mapping"][n]
            ids = batch["input_ids"][n]
            # A word-start mark by itself has the span of the next character, but belongs to no word.
            positions = [at for at, flag in enumerate(special) if not flag and ids[at] not in self._blank]
            of_piece = [sorted({w for w in owners[slice(*offsets[p])] if w is not None}) for p in positions]
            # A piece without a word would only take links from the others.
            kept = [(p, owned) for p, owned in zip(positions, of_piece, strict=True) if owned]
            inputs = {name: batch[name][n] for name in self._input_names}
            found.append(_Pieces(inputs, [p for p, _ in kept], [owned for _, owned in kept]))
        return found

    def _states(self, sentences: Sequence[_Pieces]) -> list[Floats]:
        """For each sentence (pieces, D) of the layer, in float32."""
        import torch

        rows = {name: [sentence.inputs[name] for sentence in sentences] for name in self._input_names}
        batch = self._tokenizer.pad(rows, padding=True, return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            states = self._model(**batch, output_hidden_states=True).hidden_states[self._layer]
        values = states.float().cpu().numpy()
        return [values[row, sentence.positions] for row, sentence in enumerate(sentences)]


def _word_of_character(words: Sequence[str]) -> list[int | None]:
    """The word of each character of words joined by single spaces; None for a space."""
    owners: list[int | None] = []
    for word_idx, word in enumerate(words):
        owners += [word_idx] * len(word) + [None]
    return owners


def check_device(name: str | None) -> str:
    """The device of that name, or the default one. Raises InputError if torch does not have it on this machine."""
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1).to(name)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        first = str(error).strip().splitlines()[0]
        raise InputError(f"--encoder-device must be a device that torch has, but is {name!r}: {first}") from None
    return name


def _load(folder: Path, bf16: bool) -> tuple[Any, Any]:
    import torch
    import transformers

    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} has no config.json, so it is not a Hugging Face folder. Name another --aligner-model."
        )
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        model, info = transformers.AutoModel.from_pretrained(folder, output_loading_info=True, **local)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
    except Exception as error:  # each file format has exceptions of its own
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"{folder} does not load as an encoder: {first}") from error
    if getattr(model.config, "is_encoder_decoder", False):
        raise InputError(f"{folder} has a decoder too. Name a model that is only an encoder, such as a BERT.")
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing:
        # transformers would fill them with random numbers, and the links would be random.
        raise InputError(f"{folder} lacks {len(missing)} weights, such as {missing[0]}. Save the complete model.")
    if not tokenizer.is_fast:
        raise InputError(f"The tokenizer in {folder} gives no character offsets. Add a tokenizer.json.")
    id_range(tokenizer.get_vocab(), folder)
    return model.to(torch.bfloat16 if bf16 else torch.float32).eval(), tokenizer


def _max_pieces(config: Any, tokenizer: Any) -> int:
    rows = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    if config.model_type in _SHIFTED_POSITIONS:
        rows -= config.pad_token_id + 1
    return min(rows, tokenizer.model_max_length)


def _hash(folder: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 over the hashes of the folder's files, sorted by name."""
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.iterdir() if file.is_file()):
        digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()[:16]


def piece_links(source: Floats, target: Floats, method: str, threshold: float) -> PieceLinks:
    """From states (S, D) and (T, D), S and T at least 1. Among equal similarities, argmax takes the first piece."""
    if method == "argmax":
        similarity = _unit(source) @ _unit(target).T
        forward = [(int(i), j) for j, i in enumerate(similarity.argmax(axis=0))]
        return PieceLinks(forward, [(i, int(j)) for i, j in enumerate(similarity.argmax(axis=1))])
    similarity = source @ target.T
    over_source, over_target = _softmax(similarity, axis=0), _softmax(similarity, axis=1)
    return PieceLinks(_above(over_source, threshold), _above(over_target, threshold), over_source, over_target)


def word_links(
    links: PieceLinks, source_words: list[list[int]], target_words: list[list[int]], how: str
) -> tuple[list[Link], list[float] | None]:
    """Joins the directions over pieces, as SimAlign and awesome-align do, and gives the words of the linked pieces.

    source_words and target_words give the words of each piece. A word link has the probability of its
    likeliest piece link.
    """
    found: dict[Link, float | None] = {}
    for p, q in join(len(source_words), len(target_words), links.forward, links.reverse, how):
        probability = links.probability((p, q), how)
        for link in ((i, j) for i in source_words[p] for j in target_words[q]):
            known = found.get(link)
            found[link] = probability if known is None or probability is None else max(known, probability)
    linked = sorted(found)
    if links.forward_probabilities is None:
        return linked, None
    return linked, [value for link in linked if (value := found[link]) is not None]


def _unit(states: Floats) -> Floats:
    import numpy as np

    return states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _softmax(similarity: Floats, axis: int) -> Floats:
    import numpy as np

    powers = np.exp(similarity - similarity.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def _above(probabilities: Floats, threshold: float) -> list[Link]:
    import numpy as np

    return [(int(i), int(j)) for i, j in np.argwhere(probabilities > threshold)]
