"""One example of each kind of task, as raw text with its gold answer."""

from __future__ import annotations

from typing import NamedTuple


class SentencePair(NamedTuple):
    """Two sentences and their label, as text."""

    first: str
    second: str
    label: str


class Answer(NamedTuple):
    """`start` counts characters of the raw context from 0."""

    text: str
    start: int


# Stands before the count in the id of a question whose id others have too.
REPEATED = "#"


class Question(NamedTuple):
    """A question about a context; all `answers` are right."""

    id: str
    text: str
    context: str
    answers: tuple[Answer, ...]


class TaggedSentence(NamedTuple):
    """Words with one tag each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


class Choice(NamedTuple):
    """A prompt and its possible continuations; `label` counts them from 0."""

    prompt: str
    choices: tuple[str, ...]
    label: int


Example = SentencePair | Question | TaggedSentence | Choice
