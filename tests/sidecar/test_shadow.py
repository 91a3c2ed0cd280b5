"""Shadow calls: the app never notices, privacy and caps rule, and what they find is kept apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from sidecar.storage.shadow_log import ShadowResult
from tests.rig.otlp import OtlpReceiver
from tests.rig.world import CHAT, CRITICAL, RunningSidecar, World, chat

PERSONAL = "Write to Erika at erika.musterfrau@web.de about her diabetes."


def shadowing(**shadow: Any) -> Mapping[str, Any]:
    return {"rollout": {"percent": 0, "shadow": {"share": 1, **shadow}}}


async def settled(sidecar: RunningSidecar, calls: int, skipped: int = 0) -> dict[str, Any]:
    """The summary, once so many shadow calls have ended and been skipped."""
    for _ in range(500):
        found: dict[str, Any] = await sidecar.admin("GET", "/rollout/shadow")
        if (found["summary"]["calls"], found["skipped"]) == (calls, skipped):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"not so within 10 s: {found}")


async def test_by_default_there_are_none(world: World) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 0}})
    assert (await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)).status_code == 200
    found = await sidecar.admin("GET", "/rollout/shadow")
    assert (found["share"], found["skipped"], found["summary"]["calls"]) == (0, 0, 0)
    assert await world.openai.arrived() == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_legacy_call_is_tried_routed_once_the_app_has_its_answer(
    world: World, receiver: OtlpReceiver, stream: bool
) -> None:
    sidecar = await world.sidecar(shadowing())
    body = chat(max_tokens=8, stream=stream)
    answer = await sidecar.http.post(CHAT, json=body, headers=CRITICAL)
    assert (answer.status_code, answer.headers["x-sidecar-tier"]) == (200, "local_ollama")
    summary = (await settled(sidecar, 1))["summary"]
    assert summary["failed"] == 0
    assert summary["cost_nano_usd"] > 0
    assert summary["legacy_ms"] > 0
    assert summary["shadow_tokens"] > 0
    record = await sidecar.record()
    assert (record.features.arm, record.tier, record.cost_nano_usd) == ("legacy", "local_ollama", 0)
    rollout = await sidecar.admin("GET", "/rollout")
    assert (rollout["evidence"]["legacy"]["calls"], rollout["evidence"]["routed"]["calls"]) == (1, 0)
    assert sidecar.sidecar.services.ledger.open_holds == 0
    await receiver.until(lambda: any(span.name == "shadow" for span in receiver.spans))
    span = next(span for span in receiver.spans if span.name == "shadow")
    assert span.attributes["sidecar.shadow_of"] == answer.headers["x-sidecar-request-id"]
    assert span.attributes["sidecar.tier"] == "openai"
    assert span.trace_id != answer.headers["x-sidecar-trace-id"]
    assert span.links == [answer.headers["x-sidecar-trace-id"]]


async def test_what_may_not_leave_stays_in_the_shadow_too(world: World) -> None:
    sidecar = await world.sidecar(shadowing())
    answer = await sidecar.http.post(
        CHAT, json=chat(PERSONAL, max_tokens=8), headers={"x-sidecar-quality": "critical"}
    )
    assert answer.status_code == 200
    assert (await settled(sidecar, 1))["summary"]["cost_nano_usd"] == 0
    assert (await world.openai.arrived(), await world.cloud.arrived()) == (0, 0)
    assert await world.local.arrived() == 2


async def test_a_tier_that_fails_in_the_shadow_is_nothing_to_the_app(world: World) -> None:
    await world.openai.fault(status=500)
    await world.cloud.fault(status=500)
    sidecar = await world.sidecar({**shadowing(), "routing": {"fallback": ["openai", "ollama_cloud"]}})
    await world.local.fault(status=500, path="/api/chat")
    for _ in range(2):
        answer = await sidecar.http.post(CHAT, json=chat(max_tokens=8), headers=CRITICAL)
        assert answer.status_code == 200
    summary = (await settled(sidecar, 2))["summary"]
    assert summary["failed"] == 2
    assert summary["error_rate"]["value"] == 1
    assert summary["slower_ms"] is None


async def test_their_own_cap_holds_for_the_whole_day(world: World) -> None:
    sidecar = await world.sidecar(shadowing(usd_per_day="0.50"))
    now_ns = time.time_ns()
    before = ShadowResult(
        now_ns, "shadow-1", "1", "", "openai", "gpt-4o", "x", False, "", 1.0, 1.0, 9, 9, 499_999_000
    )
    await sidecar.sidecar.services.shadow_log.add(before)
    await sidecar.http.post(CHAT, json=chat(max_tokens=8), headers=CRITICAL)
    await settled(sidecar, 2)
    assert (await world.openai.arrived(), await world.cloud.arrived()) == (0, 0)
    assert await world.local.arrived() == 2


async def test_the_caps_over_a_tier_hold_too(world: World) -> None:
    caps = [{"name": "nothing", "tier": "*", "period": "day", "usd": 0}]
    sidecar = await world.sidecar({**shadowing(), "budgets": {"caps": caps}})
    await sidecar.http.post(CHAT, json=chat(max_tokens=8), headers=CRITICAL)
    assert (await settled(sidecar, 1))["summary"]["cost_nano_usd"] == 0
    assert await world.openai.arrived() == 0


async def test_no_more_are_under_way_than_may_be(world: World) -> None:
    await world.openai.fault(delay_s=1.0)
    sidecar = await world.sidecar(shadowing(max_concurrency=1))
    for _ in range(3):
        answer = await sidecar.http.post(CHAT, json=chat(max_tokens=8), headers=CRITICAL)
        assert answer.status_code == 200
    await settled(sidecar, 1, skipped=2)


async def test_a_shadow_that_is_under_way_at_the_end_leaves_nothing_held(world: World) -> None:
    await world.openai.fault(delay_s=20.0)
    sidecar = await world.sidecar(shadowing())
    await sidecar.http.post(CHAT, json=chat(max_tokens=8), headers=CRITICAL)
    for _ in range(200):
        if sidecar.sidecar.services.ledger.open_holds:
            break
        await asyncio.sleep(0.02)
    await sidecar.restart()
    assert sidecar.sidecar.services.ledger.open_holds == 0


async def test_routed_calls_and_what_failed_have_no_shadow(world: World) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 100, "shadow": {"share": 1}}})
    await sidecar.http.post(CHAT, json=chat(max_tokens=8), headers=CRITICAL)
    await sidecar.admin("PUT", "/rollout", {"percent": 0})
    await world.local.fault(status=400)
    await sidecar.http.post(CHAT, json=chat(max_tokens=8), headers=CRITICAL)
    await asyncio.sleep(0.2)
    found = await sidecar.admin("GET", "/rollout/shadow")
    assert (found["skipped"], found["summary"]["calls"]) == (0, 0)
