"""Settings that commands make before they compute."""

import os

import pytest

from weam_fairseq.common.process_setup import bound_compiled_products

CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@pytest.mark.parametrize(("given", "expected"), [(None, "128"), ("7", "7")])
def test_what_the_user_has_set_stays(given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CAPACITY, given or "")
    if given is None:
        monkeypatch.delenv(CAPACITY)
    bound_compiled_products()
    assert os.environ[CAPACITY] == expected
