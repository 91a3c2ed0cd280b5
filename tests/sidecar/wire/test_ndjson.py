"""Lines come out whole, in order, with no byte changed, however the stream is cut into chunks."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.ndjson import LineSplitter

STREAM = '{"a":"\u2028"}\n{"b":2}\r\n\n{"c":"x\ry"}\n{"d":4}'.encode()


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_cutting_changes_nothing(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    splitter = LineSplitter()
    lines = [line for a, b in itertools.pairwise(edges) for line in splitter.feed(STREAM[a:b])]
    assert lines == [*STREAM.splitlines(keepends=True)[:2], b"\n", b'{"c":"x\ry"}\n']
    assert splitter.rest() == b'{"d":4}'
