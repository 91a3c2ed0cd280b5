"""What models can do, as data, and what a call needs that one of them cannot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

TOOLS, VISION, SCHEMA, THINKING, CONTEXT = "tools", "vision", "schema", "thinking", "context"

#: No tokenizer in use makes fewer tokens of a long text than one for so many characters. A call is only
#: kept from a model when it is sure to be too long for it; upstreams refuse the others themselves.
_CHARS_PER_TOKEN_MAX = 8


class Capabilities(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one model can do. None: not known, and then it is taken to be able to.

    ``tools``: call functions. ``vision``: read images. ``schema``: answer by a JSON schema. ``thinking``:
    think before it answers. ``context_tokens``: how much it can read and write in one call.
    """

    tools: bool | None = None
    vision: bool | None = None
    schema: bool | None = None
    thinking: bool | None = None
    context_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def over(self, other: Capabilities) -> Capabilities:
        """What is said here, and of the rest what ``other`` says."""
        if self is NOTHING_KNOWN:
            return other
        if other is NOTHING_KNOWN:
            return self
        said = {
            name: getattr(other, name) if getattr(self, name) is None else getattr(self, name)
            for name in self.__struct_fields__
        }
        return Capabilities(**said)

    def lacking(self, needs: Iterable[str], chars: int) -> frozenset[str]:
        """What of ``needs`` the model is known to lack, and whether ``chars`` of text are too many for it."""
        lacks = {need for need in needs if getattr(self, need) is False}
        if self.context_tokens is not None and chars > self.context_tokens * _CHARS_PER_TOKEN_MAX:
            lacks.add(CONTEXT)
        return frozenset(lacks)


NOTHING_KNOWN = Capabilities()
#: The key under which a tier says something of all its models.
EVERY_MODEL = "*"
