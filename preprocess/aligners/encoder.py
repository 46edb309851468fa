"""Word links from a Hugging Face encoder, without training: compares the states of a middle layer.

The words of a sentence are joined by single spaces, and its pieces go to the words whose characters they overlap, so
any fast tokenizer works. Words are not lower-cased: the tokenizer does that if its model needs it. No code from the
folder is run, and nothing is downloaded.

argmax: cosine similarity; a piece is linked to the piece that is most similar to it (Jalili Sabet et al. 2020,
SimAlign). itermax: the same, then once more among pieces that are not both linked (the same paper). softmax: inner
product; a piece is linked to every piece whose share in the softmax over the other sentence is above the threshold (Dou
and Neubig 2021, awesome-align).

How it is fast: only the layers up to the one that is compared run. Sentences of similar length share a batch, whatever
their partners' lengths; then the pairs of similar size are compared at once.

Shapes: B pairs, S source pieces, T target pieces, D width, L links. "Forward" is the direction of the other aligners:
every target piece looks for its source pieces.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import file_sha256
from weam_fairseq.common.tokenizers import max_pieces, open_tokenizer, words_of_characters
from weam_fairseq.common.weights import load_model

from .base import SMALLEST_PROBABILITY, AlignerKind, AlignerRecipe, Alignments, ArrayAligner, Links, option
from .directions import JOINED
from .directions import symmetrize as join
from .lines import WordPair, count_lines, read_words

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

METHODS = ("argmax", "itermax", "softmax")

_WINDOW = 2_048  # pairs that are read at once and batched by length
_CELLS = 1 << 20  # cells (source piece, target piece) that are compared at once


@dataclass(frozen=True)
class EncoderOptions:
    """How links come from an encoder."""

    method: str = option(
        "--encoder-method",
        "argmax",
        "argmax (default) or itermax (both of SimAlign), or softmax (awesome-align), which also gives probabilities; "
        "softmax was designed for masked LMs and makes more errors with multilingual-e5",
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
    summary = "encoder needs no training and has the fewest errors if its encoder is good"
    needs_model = True
    options = EncoderOptions

    def build(self, recipe: AlignerRecipe) -> EncoderAligner:
        if recipe.model is None:
            raise InputError("The aligner encoder needs a Hugging Face folder: add --aligner-model DIR.")
        return EncoderAligner(recipe.model, recipe.options or EncoderOptions())

    def check_machine(self, options: EncoderOptions | None) -> None:
        check_device(options.device if options else None)


class _Pieces(NamedTuple):
    """A sentence: model inputs by name, the positions of its pieces, and the words of each piece."""

    inputs: dict[str, list[int]]
    positions: list[int]
    words: list[list[int]]


class EncoderAligner(ArrayAligner):
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
        if options.method != "softmax" and options.threshold != EncoderOptions.threshold:
            raise InputError(
                f"--encoder-threshold is for --encoder-method softmax, but the method is {options.method}. Leave it "
                "out, or choose softmax."
            )
        if options.batch_size < 1:
            raise InputError(f"The encoder's batch size must be at least 1 sentence, but is {options.batch_size}.")
        self._options = options
        self._model, self._tokenizer = _load(folder, options.bf16)
        self._read: Any = None  # opened when the machine that aligns is known
        layers = self._model.config.num_hidden_layers
        self._layer = max(1, round(layers * 2 / 3)) if options.layer is None else options.layer
        if not 0 <= self._layer <= layers:
            raise InputError(f"The encoder's layer must be 0 to {layers} in {folder}, but is {self._layer}.")
        accepted = inspect.signature(self._model.forward).parameters
        backend = self._tokenizer.backend_tokenizer
        self._blank = frozenset(white_space_ids(json.loads(backend.to_str()), backend.get_vocab()))
        self._input_names = [name for name in self._tokenizer.model_input_names if name in accepted]
        self._max_pieces = max_pieces(self._model.config, self._tokenizer)
        threshold = f", threshold {options.threshold:g}" if options.method == "softmax" else ""
        how = f"{threshold}{', bf16' if options.bf16 else ''}{f', {options.device}' if options.device else ''}"
        self.name = f"encoder ({options.method}, layer {self._layer}{how})"
        self.version = f"sha256:{_hash(folder)}"

    def check_symmetrize(self, how: str) -> None:
        if self._options.method == "itermax" and how != "intersect":
            raise InputError(f"itermax joins the directions by itself. Leave --symmetrize {how} out.")

    def link_arrays(self, words: Path, symmetrize: str = "intersect") -> Iterator[Links]:
        from tqdm import tqdm

        self.check_symmetrize(symmetrize)
        self.cut = 0
        if self._read is None:  # not earlier: the machine that prepares a cluster run may have no GPU
            self._model = self._model.to(check_device(self._options.device))
            self._read = LayerReader(self._model, self._layer)
        pairs = read_words(words)
        with tqdm(total=count_lines(words), desc="align (encoder)", unit=" pairs", leave=False, disable=None) as bar:
            while window := list(islice(pairs, _WINDOW)):
                yield self._linked(window, symmetrize)
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

    def _linked(self, pairs: Sequence[WordPair], symmetrize: str) -> Links:
        import numpy as np

        sides = [self._tokenize([pair[side] for pair in pairs]) for side in (0, 1)]
        states = self._states([*sides[0], *sides[1]])
        found = [(np.empty(0, np.int64),) * 3 + (np.empty(0, np.float32),)]
        for numbers in _alike([(len(one.positions), len(other.positions)) for one, other in zip(*sides, strict=True)]):
            one, other = ([states[side * len(pairs) + n] for n in numbers] for side in (0, 1))
            pieces = piece_links(one, other, self._options.method, self._options.threshold, symmetrize)
            of_piece = [[sides[side][n].words for n in numbers] for side in (0, 1)]
            pair, source, target, probability = word_links(pieces, *of_piece)
            found.append((np.array(numbers)[pair], source, target, probability))
        pair, source, target, probability = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.argsort(pair, kind="stable")
        return Links(
            np.bincount(pair, minlength=len(pairs)).astype(np.int32),
            np.stack([source, target], axis=1)[order].astype(np.int32),
            probability[order] if self._options.method == "softmax" else None,
        )

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
            owners = words_of_characters(words)
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

    def _states(self, sentences: Sequence[_Pieces]) -> list[torch.Tensor]:
        """For each sentence (pieces, D) of the layer, in float32."""
        import torch

        found: list[Any] = [None] * len(sentences)
        order = sorted(range(len(sentences)), key=lambda n: -len(next(iter(sentences[n].inputs.values()), ())))
        for start in range(0, len(order), self._options.batch_size):
            batch = order[start : start + self._options.batch_size]
            rows = {name: [sentences[n].inputs[name] for n in batch] for name in self._input_names}
            inputs = self._tokenizer.pad(rows, padding=True, padding_side="right", return_tensors="pt")
            inputs = inputs.to(self._model.device)
            with torch.inference_mode():
                states = self._read(inputs).float()
            for row, n in enumerate(batch):
                found[n] = states[row, sentences[n].positions]
        return found


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

    from weam_fairseq.common.process_setup import bound_compiled_products

    bound_compiled_products()
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} has no config.json, so it is not a Hugging Face folder. Name another --aligner-model."
        )
    model, lacking = load_model(folder, "AutoModel", "as an encoder")
    if getattr(model.config, "is_encoder_decoder", False):
        raise InputError(f"{folder} has a decoder too. Name a model that is only an encoder, such as a BERT.")
    missing = sorted(key for key in lacking if not key.startswith("pooler."))
    if missing:
        # transformers would fill them with random numbers, and the links would be random.
        raise InputError(f"{folder} lacks {len(missing)} weights, such as {missing[0]}. Save the complete model.")
    return model.to(torch.bfloat16 if bf16 else torch.float32), open_tokenizer(folder)


def _hash(folder: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 over the hashes of the folder's files, sorted by name."""
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.iterdir() if file.is_file()):
        digest.update(f"{file.name} {file_sha256(file)}\n".encode())
    return digest.hexdigest()[:16]


class _LayerWasReadError(Exception):
    """Ends a forward pass when the layer's states are known."""


class LayerReader:
    """The states of one layer, (B, pieces, D), without running the layers above it.

    A hook on the layer ends the pass. Some families change the states between layers and `hidden_states`, so a first
    short pass compares the two. If they differ, all layers run.
    """

    def __init__(self, model: Any, layer: int) -> None:
        import torch

        self._model, self._layer, self._states = model, layer, None
        stack = _layers_of(model)
        self.stops = False
        if stack is None or not 0 < layer < len(stack):
            return
        ids = torch.arange(2, 8).clamp(max=model.config.vocab_size - 1)[None].to(model.device)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.inference_mode():
            expected = self(inputs)
            self._hook = stack[layer - 1].register_forward_hook(self._keep)
            self.stops = True
            try:
                self.stops = bool(torch.equal(self(inputs), expected))
            except (TypeError, AttributeError, IndexError):
                self.stops = False
        if not self.stops:
            self._hook.remove()

    def __call__(self, inputs: Any) -> Any:
        if not self.stops:
            return self._model(**inputs, output_hidden_states=True).hidden_states[self._layer]
        with suppress(_LayerWasReadError):
            self._model(**inputs)
        states, self._states = self._states, None
        return states

    def _keep(self, module: Any, inputs: Any, output: Any) -> None:
        self._states = output[0] if isinstance(output, tuple) else output
        raise _LayerWasReadError


def _layers_of(model: Any) -> Any:
    """The list of the model's layers; None if there is not exactly one."""
    import torch

    lists = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == model.config.num_hidden_layers > 1
    ]
    return lists[0] if len(lists) == 1 else None


def _alike(sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Numbers of pairs of similar sizes that have about `_CELLS` cells together; pairs with an empty side are out."""
    order = sorted((size, n) for n, size in enumerate(sizes) if min(size))
    group: list[int] = []
    most = (0, 0)
    for size, n in order:
        grown = max(most[0], size[0]), max(most[1], size[1])
        if group and (len(group) + 1) * grown[0] * grown[1] > _CELLS:
            yield group
            group, grown = [], size
        group.append(n)
        most = grown
    if group:
        yield group


def piece_links(
    source: Sequence[torch.Tensor], target: Sequence[torch.Tensor], method: str, threshold: float, how: str
) -> LinkColumns:
    """The links of B pairs from their states (S, D) and (T, D), S and T at least 1, with both directions joined.

    Returns the numbers of pair, source piece and target piece, and the probability: the mean of both directions, or
    that of the forward direction if `how` is `forward`; 1 unless the method is softmax. Among equal similarities,
    argmax takes the first piece.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    with torch.inference_mode():
        if method == "argmax":
            source, target = ([torch.nn.functional.normalize(one, dim=1) for one in side] for side in (source, target))
        if method == "itermax":
            from weam_fairseq.common.state_links import itermax

            joined = torch.zeros(len(source), max(map(len, source)), max(map(len, target)), dtype=torch.bool)
            for number, pair in enumerate(zip(source, target, strict=True)):
                found = itermax(*(states.cpu().numpy() for states in pair))
                joined[number, : found.shape[0], : found.shape[1]] = torch.from_numpy(found)
            return _columns(joined, torch.ones(joined.shape))
        rows, columns = pad_sequence(list(source), batch_first=True), pad_sequence(list(target), batch_first=True)
        similarity = rows @ columns.transpose(1, 2)
        outside = ~(_inside(source, rows)[:, :, None] & _inside(target, columns)[:, None, :])
        similarity.masked_fill_(outside, -torch.inf)
        if method == "argmax":
            shares = [torch.zeros_like(similarity).scatter_(d, similarity.argmax(d, True), 1.0) for d in (1, 2)]
            forward, reverse = ((share > 0) & ~outside for share in shares)
            probability = torch.ones_like(similarity)
        else:
            # A padding piece has no finite similarity; its shares are not read.
            shares = [similarity.softmax(d).masked_fill(outside, 0.0) for d in (1, 2)]
            forward, reverse = (share > threshold for share in shares)
            probability = shares[0] if how == "forward" else (shares[0] + shares[1]) / 2
        return _columns(_joined(forward, reverse, how), probability)


# The number of the pair, of what is linked on both sides, and the probability: (L,) each.
LinkColumns = tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.float32]"]


def _inside(states: Sequence[torch.Tensor], padded: torch.Tensor) -> torch.Tensor:
    """(B, pieces): which rows of `padded` are no padding."""
    import torch

    sizes = torch.tensor([len(one) for one in states], device=padded.device)
    return torch.arange(padded.shape[1], device=padded.device) < sizes[:, None]


def _joined(forward: torch.Tensor, reverse: torch.Tensor, how: str) -> torch.Tensor:
    if how in JOINED:
        return JOINED[how](forward, reverse)
    import torch

    joined = forward.new_zeros(forward.shape)
    for number, directions in enumerate(zip(forward, reverse, strict=True)):
        one, other = ([(p, q) for p, q in direction.nonzero().tolist()] for direction in directions)
        links = join(forward.shape[1], forward.shape[2], one, other, how)
        joined[number][tuple(torch.tensor(links, dtype=torch.long).reshape(-1, 2).T)] = True
    return joined


def _columns(joined: torch.Tensor, probability: torch.Tensor) -> LinkColumns:
    places = joined.nonzero(as_tuple=True)
    values = probability[places].clamp(SMALLEST_PROBABILITY, 1).cpu().numpy()
    pair, source, target = (place.cpu().numpy() for place in places)
    return pair, source, target, values


def word_links(
    pieces: LinkColumns, source_words: Sequence[list[list[int]]], target_words: Sequence[list[list[int]]]
) -> LinkColumns:
    """The links of the words of linked pieces, sorted: a word link has the probability of its likeliest piece link.

    source_words and target_words give the words of each piece of each pair.
    """
    import numpy as np

    pair, source, target, probability = pieces
    first_source, words_source, flat_source = _words_of(source_words, pair, source)
    first_target, words_target, flat_target = _words_of(target_words, pair, target)
    copies = words_source * words_target
    of = np.repeat(np.arange(len(pair)), copies)
    within = np.arange(len(of)) - np.repeat(np.cumsum(copies) - copies, copies)
    i = flat_source[first_source[of] + within // words_target[of]]
    j = flat_target[first_target[of] + within % words_target[of]]
    order = np.lexsort((-probability[of], j, i, pair[of]))
    pair, i, j, probability = pair[of][order], i[order], j[order], probability[of][order]
    new = np.ones(len(pair), dtype=bool)
    new[1:] = (np.diff(pair) != 0) | (np.diff(i) != 0) | (np.diff(j) != 0)
    return pair[new], i[new], j[new], probability[new]


def _words_of(words: Sequence[list[list[int]]], pair: Any, piece: Any) -> tuple[Any, Any, Any]:
    """Where the words of each linked piece start in one list of all words, how many they are, and that list."""
    import numpy as np

    sizes = np.array([len(of_piece) for of_pair in words for of_piece in of_pair], dtype=np.int64)
    flat = np.array([word for of_pair in words for of_piece in of_pair for word in of_piece], dtype=np.int64)
    pieces = np.array([len(of_pair) for of_pair in words], dtype=np.int64)
    place = (np.cumsum(pieces) - pieces)[pair] + piece
    return (np.cumsum(sizes) - sizes)[place], sizes[place], flat
