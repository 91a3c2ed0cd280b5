"""Reads what a model can do out of Ollama's answer to ``/api/show``. Facts: Ollama's API reference."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.core.capabilities import Capabilities


class _Show(msgspec.Struct):
    capabilities: list[str] | None = None
    model_info: dict[str, Any] | None = None


def shown_capabilities(body: bytes) -> Capabilities | None:
    """What the model can do; None when ``body`` is no such answer. Old servers tell the context only."""
    try:
        show = msgspec.json.decode(body, type=_Show)
    except msgspec.MsgspecError:
        return None
    info = show.model_info or {}
    context = info.get(f"{info.get('general.architecture')}.context_length")
    length = context if type(context) is int and context > 0 else None
    if show.capabilities is None:
        return Capabilities(context_tokens=length)
    told = set(show.capabilities)
    # Ollama holds any model that writes to a schema, by a grammar.
    return Capabilities(
        tools="tools" in told,
        vision="vision" in told,
        schema="completion" in told,
        thinking="thinking" in told,
        context_tokens=length,
    )
