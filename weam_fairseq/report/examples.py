"""Sentence pairs with their links and what masked pieces were predicted from, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.report import markup
from weam_fairseq.report.drawing import draw_links

SIDES = ("source", "target")
MASKED_HEAD = ["masked piece", "the model saw", "exchanged with", "guesses from its own state", "after the exchange"]


def render_examples(examples: dict[str, Any]) -> str:
    """All examples of `examples.json`.

    Raises:
        InputError: an example lacks a part, or a link in it points outside its sentence.
    """
    records = examples.get("examples", [])
    if not records:
        return markup.absent("examples.json holds no sentence.")
    parts = []
    for number, record in enumerate(records, start=1):
        try:
            parts.append(_render_example(record))
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(
                f"examples.json: example {number} is not whole ({type(error).__name__}: {error}). Write the file again."
            ) from None
    return "".join(parts)


def exchanged_with(masked: dict[str, Any]) -> str:
    """The pieces whose states a masked piece was predicted from in the cross-lingual prediction."""
    return ", ".join(str(other["piece"]) for other in masked["exchanged_with"]) or "no link: its own state"


def _render_example(record: dict[str, Any]) -> str:
    source, target = record["source"], record["target"]
    label = f"{len(record['word_links'])} word links between “{_sentence(source)}” and “{_sentence(target)}”"
    return (
        f'<div class="example"><h3>{markup.text(record["pair"])}, pair {markup.text(record["index"])}</h3>'
        f'<div class="wide">{draw_links(source["words"], target["words"], record["word_links"], label)}</div>'
        + "".join(_render_pieces(record, side) for side in SIDES)
        + _render_masked(record)
        + "</div>"
    )


def _render_pieces(record: dict[str, Any], side: str) -> str:
    masked = {each["piece_idx"] for each in record["masked"] if each["side"] == side}
    pieces = "".join(
        f'<span class="piece{" masked" if idx in masked else ""}">{markup.text(piece)}</span>'
        for idx, piece in enumerate(record[side]["pieces"])
    )
    return f'<p class="pieces"><span class="side">{markup.text(record[side]["language"])}</span>{pieces}</p>'


def _render_masked(record: dict[str, Any]) -> str:
    if not record["masked"]:
        return markup.absent("No piece of this pair was masked.")
    rows = [
        [
            f"{markup.text(record[each['side']]['language'])}: <b>{markup.text(each['piece'])}</b>",
            markup.text(each["input_piece"]),
            markup.text(exchanged_with(each)),
            _render_guesses(each["own_top"], each["piece"]),
            _render_guesses(each["exchanged_top"], each["piece"]),
        ]
        for each in record["masked"]
    ]
    return markup.table_of_cells(MASKED_HEAD, rows, "left")


def _render_guesses(guesses: Sequence[str], right: str) -> str:
    """The right piece among the guesses is marked by weight and a tick, not by colour alone."""
    marked = [
        f'<span class="right">{markup.text(each)}</span>' if each == right else markup.text(each) for each in guesses
    ]
    return " · ".join(marked)


def _sentence(side: dict[str, Any]) -> str:
    return " ".join(side["words"])
