"""What Ollama tells of its models."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.core.capabilities import Capabilities
from sidecar.wire.ollama_show import shown_capabilities

INFO = {"general.architecture": "llama", "llama.context_length": 131_072, "clip.context_length": 7}


@pytest.mark.parametrize(
    ("shown", "can"),
    [
        (
            {"capabilities": ["completion", "tools"], "model_info": INFO},
            Capabilities(tools=True, vision=False, schema=True, thinking=False, context_tokens=131_072),
        ),
        (
            {"capabilities": ["completion", "vision", "thinking"]},
            Capabilities(tools=False, vision=True, schema=True, thinking=True),
        ),
        (
            {"capabilities": ["embedding"]},
            Capabilities(tools=False, vision=False, schema=False, thinking=False),
        ),
        ({"model_info": INFO, "license": "x"}, Capabilities(context_tokens=131_072)),
        ({"model_info": {"general.architecture": "x", "x.context_length": "many"}}, Capabilities()),
    ],
)
def test_what_is_shown(shown: dict[str, Any], can: Capabilities) -> None:
    assert shown_capabilities(msgspec.json.encode(shown)) == can


@pytest.mark.parametrize("body", [b"", b"nope", b"[]", b'{"capabilities": 3}'])
def test_what_shows_nothing(body: bytes) -> None:
    assert shown_capabilities(body) is None
