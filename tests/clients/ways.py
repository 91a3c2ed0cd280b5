"""The ways a client's call can take: an arm, and in the routed arm the tier that its hints lead to."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, TypeVar

import msgspec

from sidecar.demo.scripted.script import Prompt, Script, Style
from tests.rig.serving import ServedSidecar
from tests.rig.upstream import ScriptedUpstream
from tests.rig.world import CRITICAL, HIGH, PUBLIC

T = TypeVar("T")


class Way(msgspec.Struct, frozen=True):
    """``sidecar`` names the sidecar to call; its ``changes`` are to the sample configuration."""

    name: str
    arm: str
    tier: str
    headers: dict[str, str]
    model: str
    legacy_tier: str = "local_ollama"


_ROUTED = (
    Way("routed to local", "routed", "local_ollama", PUBLIC, "auto"),
    Way("routed to cloud", "routed", "ollama_cloud", HIGH, "auto"),
    Way("routed to openai", "routed", "openai", CRITICAL, "auto"),
)
_TO_OLLAMA = Way("legacy to ollama", "legacy", "local_ollama", {}, "scripted-small")
_TO_OPENAI = Way("legacy to openai", "legacy", "openai", PUBLIC, "gpt-4o-mini", legacy_tier="openai")

#: What an app that speaks OpenAI's dialect did before: it called OpenAI, or Ollama's OpenAI endpoint.
OPENAI_WAYS = (_TO_OPENAI, _TO_OLLAMA, *_ROUTED)
OLLAMA_WAYS = (_TO_OLLAMA, *_ROUTED)


class Line(msgspec.Struct, frozen=True):
    """A way with the sidecar at its beginning and the upstream at its end."""

    way: Way
    sidecar: ServedSidecar
    upstream: ScriptedUpstream

    async def asked(self) -> list[dict[str, Any]]:
        """The bodies that the upstream was sent."""
        return [msgspec.json.decode(entry.body) for entry in await self.upstream.log()]


def echo(question: str) -> str:
    """What a scripted upstream answers to ``question``."""
    script = Script("any", Style.ECHO)
    return script.generate(Prompt([question], question)).choices[0].text


async def result(value: T | Awaitable[T]) -> T:
    """What a blocking or an asynchronous client's method gives."""
    return await value if inspect.isawaitable(value) else value


async def parts(stream: Iterator[T] | AsyncIterator[T]) -> list[T]:
    """Everything that a blocking or an asynchronous client's stream gives."""
    if isinstance(stream, AsyncIterator):
        return [part async for part in stream]
    return list(stream)


EMBEDDING_MODEL = "bge-m3"
