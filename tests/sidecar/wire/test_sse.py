"""Events come out whole, in order, with no byte changed, however the stream is cut into chunks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.sse import EventSplitter, event_data

STREAM = b': hi\n\ndata: {"a":1}\n\nevent: x\r\ndata: one\r\ndata:two\r\n\r\ndata: [DONE]\n\n'


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_cutting_changes_nothing(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    splitter = EventSplitter()
    events = [e for a, b in itertools.pairwise(edges) for e in splitter.feed(STREAM[a:b])]
    assert b"".join(events) + splitter.rest() == STREAM
    assert [event_data(event) for event in events] == [b"", b'{"a":1}', b"one\ntwo", b"[DONE]"]


def test_what_is_not_whole_is_kept_back() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: 1\n") == []
    assert splitter.rest() == b"data: 1\n"
    assert splitter.feed(b"\ndata: 2") == [b"data: 1\n\n"]
    assert splitter.rest() == b"data: 2"


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\n\n", b"x"),
        (b"data:  x\n\n", b" x"),
        (b": comment\n\n", b""),
        (b"id: 7\nevent: e\ndata: x\n\n", b"x"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
    ],
)
def test_data_of_an_event(event: bytes, data: bytes) -> None:
    assert event_data(event) == data
