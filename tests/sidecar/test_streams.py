"""Streams from their first token to their end, whatever the end is; golden transcripts of what apps read.

``GOLDEN=write python -m pytest tests/sidecar/test_streams.py`` writes the transcripts anew; read the diff.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.vocabulary import DecisionRecord, Outcome
from tests.rig.world import CHAT, CRITICAL, HIGH, RunningSidecar, World, chat
from tests.sidecar.test_fault_matrix import OLLAMA, WAYS, Way, settlements

GOLDEN = Path(__file__).parents[1] / "golden" / "streams"
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
#: What differs from one run to the next.
_VARYING = (
    (re.compile(r'"(id)":"[^"]*"'), r'"\1":"ID"'),
    (re.compile(r'"(created)":\d+'), r'"\1":0'),
    (re.compile(r'"(created_at)":"[^"]*"'), r'"\1":"TIME"'),
    (re.compile(r'"(\w+_duration)":\d+'), r'"\1":0'),
    (re.compile(r'"(system_fingerprint|x_request)":"[^"]*"'), r'"\1":"X"'),
)


def steady(text: str) -> str:
    """``text`` without what differs from one run to the next."""
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return text


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "normal": ({}, {}),
    "usage-asked-for": ({}, {"stream_options": {"include_usage": True}}),
    "tool-call": ({}, {"tools": [TOOL]}),
    "error-before-first-token": ({"cut_after": 0}, {}),
    "error-after-first-token": ({"error_after": 3, "drip_s": 0.15}, {}),
    "cut-after-first-token": ({"cut_after": 4, "cut": "fin"}, {}),
    "no-usage": ({"usage": "missing"}, {}),
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.lane}{way.door.replace('/', '-')}")
async def test_an_app_reads_what_it_always_read(world: World, way: Way) -> None:
    sidecar = await world.sidecar()
    await sidecar.warm()
    upstream = world.openai if way.first == "openai" else world.cloud
    for name, (fault, fields) in CASES.items():
        await upstream.heal()
        if fault:
            await upstream.fault(**fault)
        if way.door == OLLAMA:
            fields = {key: value for key, value in fields.items() if key != "stream_options"}
        body = chat("say something", stream=True, max_tokens=12, **fields)
        response = await sidecar.http.post(way.door, json=body, headers=way.headers)
        assert response.status_code == 200
        text = steady(response.text)
        path = GOLDEN / f"{way.lane}{way.door.replace('/', '-')}-{name}.txt"
        if os.environ.get("GOLDEN") == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), name


async def the_record(sidecar: RunningSidecar) -> DecisionRecord:
    """The one record, once the call has ended."""
    while not (records := await sidecar.records()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    (record,) = records
    return record


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.lane}{way.door.replace('/', '-')}")
@pytest.mark.parametrize("leave_after", [0, 1, 7])
async def test_a_client_that_leaves_pays_for_what_it_was_given(
    world: World, way: Way, leave_after: int
) -> None:
    sidecar = await world.sidecar()
    await sidecar.warm()
    upstream = world.openai if way.first == "openai" else world.cloud
    await upstream.fault(endless=True, drip_s=0.02)
    body = chat("say something", stream=True, max_tokens=12)
    async with sidecar.http.stream("POST", way.door, json=body, headers=way.headers) as response:
        heard: list[str] = []
        async for line in response.aiter_lines():
            heard += [line] if line else []
            if len(heard) > leave_after:
                break
    (entry,) = await upstream.log()
    assert entry.client_left
    golden = GOLDEN / f"{way.lane}{way.door.replace('/', '-')}-normal.txt"
    whole = [line for line in golden.read_text().split("\n") if line]
    assert [steady(line) for line in heard] == whole[: len(heard)]
    record = await the_record(sidecar)
    assert (record.outcome, record.status) == (Outcome.CLIENT_LEFT, 499)
    assert await settlements(sidecar, record.request_id) == ["estimated"]
    assert record.cost_nano_usd > 0
    assert sidecar.sidecar.services.in_flight.now == 0


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.lane}{way.door.replace('/', '-')}")
async def test_the_upstream_is_let_go_within_100_ms_of_its_client(world: World, way: Way) -> None:
    sidecar = await world.sidecar()
    await sidecar.warm()
    upstream = world.openai if way.first == "openai" else world.cloud
    # Its next chunk would be too late to find out by.
    await upstream.fault(endless=True, drip_s=2.0)
    waits_s = []
    for number in range(3):
        async with sidecar.http.stream(
            "POST", way.door, json=chat(stream=True, max_tokens=12), headers=way.headers
        ) as response:
            await anext(response.aiter_lines())
            left_at = time.time()
        entry = (await upstream.log())[number]
        assert entry.client_left
        waits_s.append(entry.ended_at - left_at)
    # It takes a few ms; a busy machine is given some air, but not each time.
    assert statistics.median(waits_s) < 0.1, waits_s
    assert max(waits_s) < 1.0, waits_s


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.lane}{way.door.replace('/', '-')}")
async def test_a_client_that_leaves_after_the_last_chunk_has_had_it_all(world: World, way: Way) -> None:
    sidecar = await world.sidecar()
    body = chat(stream=True, max_tokens=20)
    async with sidecar.http.stream("POST", way.door, json=body, headers=way.headers) as response:
        async for line in response.aiter_lines():
            if "[DONE]" in line or '"done":true' in line:
                break
    record = await the_record(sidecar)
    assert record.outcome is Outcome.COMPLETE
    assert await settlements(sidecar, record.request_id) == ["reported"]


@pytest.mark.parametrize(("door", "headers"), [(CHAT, CRITICAL), (OLLAMA, HIGH)])
async def test_without_usage_what_was_delivered_is_estimated(
    world: World, door: str, headers: dict[str, str]
) -> None:
    sidecar = await world.sidecar()
    for upstream in (world.openai, world.cloud):
        await upstream.fault(usage="missing")
    await sidecar.http.post(door, json=chat(stream=True, max_tokens=20), headers=headers)
    record = await sidecar.record()
    assert record.outcome is Outcome.COMPLETE_WITHOUT_USAGE
    assert await settlements(sidecar, record.request_id) == ["estimated"]
