"""Calls that are turned away at the door leave the same traces as others: a span, a line, a count."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest

from sidecar.telemetry.log_format import JsonFormatter
from tests.rig.otlp import OtlpReceiver
from tests.rig.world import CHAT, PUBLIC, World, chat

#: code: (status, method, body, headers)
REFUSALS: dict[str, tuple[int, str, Any, dict[str, str]]] = {
    "invalid_request": (400, "POST", {"model": "auto"}, {}),
    "invalid_hint": (400, "POST", chat(), {"x-sidecar-quality": "best"}),
    "cross_site_request": (403, "POST", chat(), {"origin": "https://elsewhere.example"}),
    "method_not_allowed": (405, "PUT", chat(), {}),
    "request_too_large": (413, "POST", chat("x" * 2**20), {}),
}


async def line_of(caplog: pytest.LogCaptureFixture, request_id: str) -> Any:
    """The JSON of a call's line, which is written a moment after its spans are sent."""
    async with asyncio.timeout(10):
        while True:
            for record in caplog.records:
                if record.name == "sidecar.calls" and f"request_id={request_id} " in record.getMessage():
                    return json.loads(JsonFormatter().format(record))
            await asyncio.sleep(0.01)


async def test_each_has_its_span_its_line_and_its_count(
    world: World, receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sidecar.calls")
    sidecar = await world.sidecar({"limits": {"max_body_mb": 1}})
    parent = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    for code, (status, method, body, headers) in REFUSALS.items():
        receiver.spans.clear()
        response = await sidecar.http.request(method, CHAT, json=body, headers={**parent, **headers})
        assert (response.status_code, response.headers["x-sidecar-trace-id"]) == (status, "a" * 32), code
        (span,) = await receiver.trace("a" * 32)
        assert (span.kind, span.name, span.parent_id) == ("SERVER", f"{method} {CHAT}", "b" * 16)
        assert not span.failed, "it is the caller's fault"
        assert span.attributes["sidecar.error_code"] == code
        assert span.attributes["sidecar.request_id"] == response.headers["x-sidecar-request-id"]
        assert span.attributes["http.response.status_code"] == status
        line = await line_of(caplog, response.headers["x-sidecar-request-id"])
        assert line == line | {
            "level": "INFO",
            "trace_id": "a" * 32,
            "span_id": span.span_id,
            "outcome": "refused",
            "status": status,
            "error_code": code,
        }
    text = (await sidecar.http.get("/metrics")).text
    counted = re.findall(r'^sidecar_calls_refused_total\{code="(\w+)"\} 1$', text, re.M)
    assert sorted(counted) == sorted(REFUSALS)
    assert await sidecar.records() == []
    assert not [entry for entry in await world.local.log() if entry.path.endswith("/chat")]


async def test_one_call_too_many_is_an_error_of_ours(
    world: World, receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sidecar.calls")
    sidecar = await world.sidecar()
    await sidecar.reload({"limits": {"max_in_flight": 1}})
    await world.local.fault(endless=True)
    async with sidecar.http.stream("POST", CHAT, json=chat(stream=True), headers=PUBLIC) as first:
        await anext(first.aiter_bytes())
        response = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
        assert response.status_code == 503
        (span,) = await receiver.trace(response.headers["x-sidecar-trace-id"])
    code = response.json()["error"]["code"]
    assert (span.failed, span.message, span.attributes["error.type"]) == (True, code, code)
    assert (await line_of(caplog, response.headers["x-sidecar-request-id"]))["level"] == "WARNING"


async def test_a_refused_call_that_is_not_sampled_is_not_kept(world: World, receiver: OtlpReceiver) -> None:
    sidecar = await world.sidecar({"telemetry": {"sample": 0}})
    assert (await sidecar.http.post(CHAT, json={})).status_code == 400
    await world.aclose()
    assert receiver.spans == []
