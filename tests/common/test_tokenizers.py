"""The ids of a tokenizer's special pieces and of fairseq's first four symbols."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import first_ids, id_range

NAMES = ("cls", "pad", "sep", "unk", "mask")


def test_first_ids_are_the_special_pieces() -> None:
    assert first_ids({"cls": 2, "pad": 0, "sep": 3, "unk": 1, "mask": 4}, range(9)) == [2, 0, 3, 1]


def test_an_ordinary_piece_replaces_a_missing_or_shared_one() -> None:
    assert first_ids({"cls": 0, "pad": 2, "sep": 1, "mask": 3}, range(9)) == [0, 2, 1, 4]
    assert first_ids({"cls": 8, "pad": 0, "sep": 8, "mask": 1}, range(9)) == [8, 0, 2, 3]


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 19)))
def test_first_ids_are_four_different_ones(special: dict[str, int]) -> None:
    found = first_ids(special, range(20))
    assert len(set(found)) == 4
    assert found[1] == special.get("pad", found[1]) or special["pad"] in found[:1]


def test_ids_without_a_piece_count_unless_they_are_most() -> None:
    assert id_range({"a": 0, "b": 3}, "folder") == range(4)
    with pytest.raises(InputError, match=r"folder .* it has 2 pieces and ids up to 999,999,999"):
        id_range({"a": 0, "b": 999_999_999}, "folder")
