"""Names the field of a call that asks for a capability, for those who are told that no tier has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CONTENTS = ("messages", "input", "prompt", "images")
_FIELDS = {
    "tools": ("tools",),
    "schema": ("response_format", "output_format", "format", "text", "output_config"),
    "thinking": ("reasoning_effort", "think", "thinking", "reasoning", "output_config"),
    "vision": ("images", *_CONTENTS),
    "context": _CONTENTS,
}


def asking_field(need: str, fields: Mapping[str, Any]) -> str:
    """The field of ``fields`` by which ``need`` came about."""
    return next((name for name in _FIELDS.get(need, ()) if fields.get(name)), need)


def asks_to_think(fields: Mapping[str, Any]) -> bool:
    """Whether the call asks, in its dialect's words, that the model think before it answers."""
    if fields.get("think") or fields.get("reasoning_effort") not in (None, "none"):
        return True
    thinking, reasoning = fields.get("thinking"), fields.get("reasoning")
    if isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive"):
        return True
    return isinstance(reasoning, dict) and reasoning.get("effort") not in (None, "none")
