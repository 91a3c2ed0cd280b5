"""Cursors come back as they went out and are refused otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.storage.cursors import decode_cursor, encode_cursor


@given(st.integers(0, 10**18 - 1))
def test_a_cursor_comes_back(sequence: int) -> None:
    assert decode_cursor("decisions", encode_cursor("decisions", sequence)) == sequence


@given(st.text())
def test_anything_else_is_refused_and_nothing_breaks(text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        decode_cursor("decisions", text)


def test_a_cursor_of_another_listing_is_refused() -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        decode_cursor("decisions", encode_cursor("audit", 7))
