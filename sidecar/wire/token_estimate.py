"""Estimates how many tokens a message call has, where no upstream can be asked that counts them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sidecar.core.ports import Tally

#: English text has about four bytes to a token in today's tokenizers.
_BYTES_PER_TOKEN = 4
#: Role and separators of a message; what an image costs at Anthropic at its recommended size.
_MESSAGE_TOKENS = 4
_IMAGE_TOKENS = 1_600


def count_body(fields: Mapping[str, Any], tally: Tally) -> bytes:
    """An answer to ``/v1/messages/count_tokens``, as Anthropic's own says of itself: an estimate."""
    size = _Size()
    for name in ("system", "messages", "tools"):
        size.take(fields.get(name))
    messages = len(fields["messages"]) * _MESSAGE_TOKENS
    tally.finished = True
    tokens = -(-size.bytes // _BYTES_PER_TOKEN) + messages + size.images * _IMAGE_TOKENS
    return msgspec.json.encode({"input_tokens": tokens})


class _Size:
    """The bytes of all texts, keys left out, and the images among them."""

    def __init__(self) -> None:
        self.bytes = 0
        self.images = 0

    def take(self, value: Any) -> None:
        if isinstance(value, str):
            self.bytes += len(value.encode())
        elif isinstance(value, list):
            for item in value:
                self.take(item)
        elif isinstance(value, dict):
            if value.get("type") == "image":
                self.images += 1
                return
            for key, item in value.items():
                if key not in ("type", "role", "cache_control"):
                    self.take(item)
