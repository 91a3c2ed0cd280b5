"""Which field of a call asks for what."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.wire.asked_by import asking_field, asks_to_think


@pytest.mark.parametrize(
    ("need", "fields", "named"),
    [
        ("tools", {"tools": [1]}, "tools"),
        ("schema", {"text": {"format": {}}}, "text"),
        ("schema", {"format": "json"}, "format"),
        ("thinking", {"think": True}, "think"),
        ("vision", {"prompt": "x", "images": ["x"]}, "images"),
        ("vision", {"input": [1]}, "input"),
        ("context", {"messages": [1]}, "messages"),
        ("something", {}, "something"),
    ],
)
def test_the_field_is_named(need: str, fields: dict[str, Any], named: str) -> None:
    assert asking_field(need, fields) == named


@pytest.mark.parametrize(
    ("fields", "asks"),
    [
        ({}, False),
        ({"reasoning_effort": "low"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"think": False}, False),
        ({"think": "high"}, True),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"reasoning": {"effort": "medium"}}, True),
        ({"reasoning": {"summary": "auto"}}, False),
    ],
)
def test_who_asks_to_think(fields: dict[str, Any], asks: bool) -> None:
    assert asks_to_think(fields) is asks
