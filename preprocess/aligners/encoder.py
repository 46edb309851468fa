"""Word links from any Hugging Face encoder, without training: states of a middle layer are compared.

The words of a sentence are joined by single spaces, and its pieces go to the words whose characters they overlap, so
every fast tokenizer will do. Words are not lower-cased: the tokenizer does that where its model wants it. No code
from the folder is run, and nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import id_range

from ..piece_encoder import white_space_ids
from .base import Aligned, Alignments, FileAligner, WordPair, count_lines, read_words
from .encoder_links import METHODS, EncoderOptions, Floats, piece_links, word_links

log = logging.getLogger(__name__)

_WINDOW = 2_048  # pairs that are read at once and batched by length

# Their position rows start after the padding index, so fewer are usable than the config says.
_SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert")


class _Pieces(NamedTuple):
    """A sentence: model inputs by name, which positions are pieces of it, and the words of each of these."""

    inputs: dict[str, list[int]]
    positions: list[int]
    words: list[list[int]]


class EncoderAligner(FileAligner):
    """`folder` has a config, weights and a tokenizer. Raises InputError when it does not load whole.

    Sentences longer than the model takes are cut, and counted: words behind the cut have no links.
    A pair's states depend on the pairs beside it in a batch, but by float rounding only.
    """

    by_pair = True
    own_cores = True
    cased = True

    def __init__(self, folder: Path, options: EncoderOptions) -> None:
        if options.method not in METHODS:
            raise InputError(f"The encoder's method must be one of {', '.join(METHODS)}, but is {options.method!r}.")
        if not 0 < options.threshold < 1:
            raise InputError(f"The encoder's threshold must lie between 0 and 1, but is {options.threshold}.")
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
        self.cut = 0
        if not self._placed:  # not before: who builds an aligner for others may have no GPU
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
                "%s sentences had over %s pieces and were cut; words behind the cut have no links.",
                f"{self.cut:,}",
                self._max_pieces,
            )
        return found

    def _aligned(self, pairs: Sequence[WordPair], symmetrize: str) -> list[Aligned]:
        sources = self._tokenize([source for source, _ in pairs])
        targets = self._tokenize([target for _, target in pairs])
        # Pairs of like length share a batch, so that little is padded; the longest first.
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
        if not len(source) or not len(target):  # the tokenizer drops all of it: control characters, say
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
            # A lone word-start mark has the span of the character behind it, but stands for no word.
            positions = [at for at, flag in enumerate(special) if not flag and ids[at] not in self._blank]
            of_piece = [sorted({w for w in owners[slice(*offsets[p])] if w is not None}) for p in positions]
            # A piece of no word would only draw links from others.
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
    """Of words joined by single spaces; None for a space."""
    owners: list[int | None] = []
    for word_idx, word in enumerate(words):
        owners += [word_idx] * len(word) + [None]
    return owners


def check_device(name: str | None) -> str:
    """The device of that name, or by default. Raises InputError when torch does not have it here."""
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1).to(name)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        first = str(error).strip().splitlines()[0]
        raise InputError(f"The encoder's device must be one that torch has, but {name!r} is none: {first}") from None
    return name


def _load(folder: Path, bf16: bool) -> tuple[Any, Any]:
    import torch
    import transformers

    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} has no config.json, so it is no Hugging Face folder. Name one for --aligner encoder."
        )
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        model, info = transformers.AutoModel.from_pretrained(folder, output_loading_info=True, **local)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
    except Exception as error:  # each format has exceptions of its own
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"{folder} does not load as an encoder: {first}") from error
    if getattr(model.config, "is_encoder_decoder", False):
        raise InputError(f"{folder} is an encoder with a decoder. Name an encoder alone, such as a BERT.")
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing:
        # transformers would fill them with random numbers, and the links would be noise.
        raise InputError(f"{folder} lacks {len(missing)} weights, such as {missing[0]}. Save the whole model.")
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
    """The first 16 hexadecimal digits of the SHA-256 over the hashes of the folder's files, in order of name."""
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.iterdir() if file.is_file()):
        with file.open("rb") as stream:
            digest.update(f"{file.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
