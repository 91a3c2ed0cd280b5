"""Calls and any-llm lanes for the tests of this directory."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from sidecar.core.ports import Answer, OutboundCall
from sidecar.core.tiers import TierSpec, Timeouts
from sidecar.core.vocabulary import Arm, Door
from sidecar.upstreams.any_llm_upstream import AnyLLMLane

HELLO = [{"role": "user", "content": "how long may a loan last"}]


def outbound(door: Door, *, model: str = "gpt-4o", **fields: Any) -> OutboundCall:
    """A call through ``door`` with ``fields``; keywords that are a call's own are taken as such."""
    own = {name: fields.pop(name) for name in ("output_limit", "headers", "strip_metadata") if name in fields}
    return OutboundCall(
        request_id="r1",
        door=door,
        arm=Arm.ROUTED,
        body=msgspec.json.encode(fields),
        fields=fields,
        model=model,
        stream=fields.get("stream", False),
        **own,
    )


def make_lane(provider: str, base_url: str, **tier: Any) -> AnyLLMLane:
    """A lane to ``base_url``; on this machine unless ``off_box`` says otherwise."""
    spec = TierSpec(
        provider=provider,
        base_url=base_url,
        models={"default": "gpt-4o"},
        **{
            "off_box": False,
            "timeouts": Timeouts(connect_s=2, first_byte_s=10, idle_s=10, total_s=20),
            **tier,
        },
    )
    return AnyLLMLane(tier=spec, clock_s=time.monotonic, wall_s=time.time)


async def read(answer: Answer) -> bytes:
    """All bytes of ``answer``."""
    return b"".join([chunk async for chunk in answer.chunks()])


async def read_json(answer: Answer) -> dict[str, Any]:
    """The one JSON object that ``answer`` is."""
    decoded: dict[str, Any] = msgspec.json.decode(await read(answer))
    return decoded


async def read_lines(answer: Answer) -> list[dict[str, Any]]:
    """The JSON objects of an NDJSON stream."""
    return [msgspec.json.decode(line) for line in (await read(answer)).splitlines()]


async def read_events(answer: Answer) -> list[dict[str, Any]]:
    """The JSON objects of a server-sent event stream that ends as OpenAI's do."""
    *events, done, rest = (await read(answer)).split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [msgspec.json.decode(event.removeprefix(b"data: ")) for event in events]
