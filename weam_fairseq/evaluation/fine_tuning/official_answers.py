"""How the scripts of BERT and XTREME extract an answer from start and end logits (`compute_predictions_logits` of
transformers, with n_best_size 20 and max_answer_length 30, for questions that all have an answer).

The answer is the best pair of the 20 best starts and the 20 best ends among all positions, including those of the
question, the special pieces and the padding. With a weak model, no pair may be valid; its answer is then the word
`empty`. The text is that of the white-space words around the pieces, cut to the pieces if their characters can be
aligned.

Shapes: `T` positions of one input, padded to the recipe's length as in those scripts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

N_BEST = 20
MAX_ANSWER_PIECES = 30
NO_VALID_ANSWER = "empty"

# The white space of their reader. A no-break space, for example, is part of a word.
_WORD = re.compile("[^ \t\r\n\u202f]+")


class Candidate(NamedTuple):
    """`first` and `last` are positions of one input."""

    score: float
    first: int
    last: int


def best_candidate(start: np.ndarray, end: np.ndarray, position: int, starts: np.ndarray) -> Candidate | None:
    """The best valid pair of a start and an end, or None if none of the 20 × 20 pairs is valid.

    Ties are broken by the earlier position for logits, and by the better start for sums.

    Args:
        start: *Shape:* (T,), and so `end`.
        position: where the context's pieces begin.
        starts: *Shape:* (pieces of the context in this input,): whether each may begin an answer here.
    """
    best_starts, best_ends = (np.argsort(-logits, kind="stable")[:N_BEST] for logits in (start, end))
    may_start = np.zeros(len(start), dtype=bool)
    may_start[position : position + len(starts)] = starts
    pieces = best_ends[None, :] - best_starts[:, None] + 1
    valid = may_start[best_starts][:, None] & (best_ends < position + len(starts))[None, :]
    valid &= (pieces >= 1) & (pieces <= MAX_ANSWER_PIECES)
    if not valid.any():
        return None
    sums = start[best_starts].astype(np.float64)[:, None] + end[best_ends].astype(np.float64)[None, :]
    place = int(np.argmax(np.where(valid, sums, -np.inf)))
    row, column = divmod(place, len(best_ends))
    return Candidate(float(sums[row, column]), int(best_starts[row]), int(best_ends[column]))


class AnswerTexts:
    """Pieces of a raw context to the text of an answer."""

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers import normalizers, pre_tokenizers

        self._tokenizer = tokenizer
        model = tokenizer.backend_tokenizer.model
        self._prefix: str | None = getattr(model, "continuing_subword_prefix", None) if _is_wordpiece(model) else None
        lower_case = _lower_cases(tokenizer)
        # BERT's basic tokenizer, which the scripts align with for all models.
        self._normalizer = normalizers.BertNormalizer(lowercase=lower_case, strip_accents=lower_case)
        self._splitter = pre_tokenizers.BertPreTokenizer()

    def cut(self, context: str, offsets: Sequence[tuple[int, int]], ids: Sequence[int]) -> str:
        """The answer's text.

        Args:
            offsets: the characters `[start, end)` of each piece of the answer in the raw context.
            ids: the pieces.
        """
        words = list(_WORD.finditer(context))
        ends = [word.end() for word in words]
        first, last = (min(bisect_right(ends, offsets[side][0]), len(words) - 1) for side in (0, -1))
        return self.align(self._joined(ids), " ".join(word[0] for word in words[first : last + 1]))

    def align(self, pieces: str, words: str) -> str:
        """The part of `words` with the characters of `pieces`; all of it if they cannot be aligned.

        Apart from spaces, the basic tokenizer must keep the number of characters, so that they map one to one.
        """
        split = " ".join(text for text, _ in self._splitter.pre_tokenize_str(self._normalizer.normalize_str(words)))
        found = split.find(pieces)
        places = _not_spaces(words)
        rank = {place: number for number, place in enumerate(_not_spaces(split))}
        first, last = rank.get(found), rank.get(found + len(pieces) - 1)
        if found < 0 or first is None or last is None or len(places) != len(rank):
            return words
        return words[places[first] : places[last] + 1]

    def _joined(self, ids: Sequence[int]) -> str:
        pieces = self._tokenizer.convert_ids_to_tokens(list(ids))
        if self._prefix is None:
            text = self._tokenizer.convert_tokens_to_string(pieces)
        else:  # the tokenizer's own decoder would also remove spaces before punctuation
            text = " ".join(pieces).replace(f" {self._prefix}", "")
        return " ".join(text.split())


def _not_spaces(text: str) -> list[int]:
    return [place for place, character in enumerate(text) if character != " "]


def _is_wordpiece(model: Any) -> bool:
    from tokenizers import models

    return isinstance(model, models.WordPiece)


def _lower_cases(tokenizer: Any) -> bool:
    """The scripts' option --do_lower_case."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer is not None and "a" in normalizer.normalize_str("A")
