"""Budgets through a whole sidecar: caps that hold, are seen, and are changed live."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from sidecar.core.vocabulary import Outcome
from tests.rig.upstream import StartUpstream
from tests.rig.world import CHAT, CRITICAL, HIGH, PUBLIC, RunningSidecar, World, chat

CENT = {"budgets": {"caps": [{"name": "openai-day", "tier": "openai", "period": "day", "usd": "0.10"}]}}


async def cap(sidecar: RunningSidecar, name: str = "openai-day") -> dict[str, Any]:
    caps = (await sidecar.admin("GET", "/budgets"))["budgets"]
    (found,) = [each for each in caps if each["name"] == name]
    return dict(found)


async def test_what_a_call_costs_is_posted_exactly(world: World) -> None:
    sidecar = await world.sidecar(CENT)
    response = await sidecar.http.post(CHAT, json=chat(max_tokens=50), headers=CRITICAL)
    usage = response.json()["usage"]
    cost = Decimal(usage["total_tokens"]) * Decimal("0.015") / 1000
    assert Decimal(response.headers["x-sidecar-cost-usd"]) == cost
    now = await cap(sidecar)
    assert (Decimal(now["posted"]), Decimal(now["held"])) == (cost, Decimal(0))
    assert Decimal(now["remaining"]) == Decimal("0.10") - cost
    assert now["resets_at"].endswith("T00:00:00Z")
    spend = (await sidecar.admin("GET", "/spend?by=tier,model,arm"))["spend"]
    assert [line["group"] for line in spend] == [{"tier": "openai", "model": "gpt-4o", "arm": "routed"}]
    assert Decimal(spend[0]["usd"]) == cost


async def test_hundreds_of_calls_add_up_to_the_nano_dollar(world: World) -> None:
    """Both doors, lanes, arms and clouds, plain and streamed, with cached input at its own price."""
    price = {
        "usd_per_1k_tokens": None,
        "input_usd_per_1m": "2.5",
        "output_usd_per_1m": "10",
        "cached_input_usd_per_1m": "1.250001",
    }
    openai = {"price": price, "models": {"default": "gpt-4o-mini"}}
    sidecar = await world.sidecar(
        {
            "tiers": {"openai": openai},
            "rollout": {"percent": 60, "legacy": {"tier": "openai"}},
            # A machine that is busy with other tests must keep no call at home.
            "privacy": {"max_scan_ms": 10_000},
        }
    )
    ways = list(itertools.product((CHAT, "/api/chat"), (CRITICAL, HIGH), (False, True)))
    told: Counter[str] = Counter()

    async def caller(first: int) -> None:
        for number in range(first, 320, 16):
            door, headers, stream = ways[number % len(ways)]
            text = "word " * (number * 7 % 1_500)
            body = chat(text, model="gpt-4o", stream=stream)
            response = await sidecar.http.post(
                door, json=body, headers={**headers, "x-sidecar-app": f"app-{number % 3}"}
            )
            assert response.status_code == 200, response.text
            if not stream:
                cost = Decimal(response.headers["x-sidecar-cost-usd"])
                told[response.headers["x-sidecar-tier"]] += nano(cost)

    await asyncio.gather(*(caller(first) for first in range(16)))
    by_hand: Counter[tuple[str, str]] = Counter()
    answered: Counter[str] = Counter()
    for tier, upstream in (("openai", world.openai), ("ollama_cloud", world.cloud)):
        for entry in await upstream.log():
            used, cached, written = usage_in(entry.answer)
            assert (used, written) == (entry.input_tokens, entry.output_tokens)
            milli_nano = (used - cached) * 2_500_000 + cached * 1_250_001 + written * 10_000_000
            if tier == "ollama_cloud":
                milli_nano = (used + written) * 1_000_000
            cost = -(-milli_nano // 1_000)
            by_hand[tier, json.loads(entry.body)["model"]] += cost
            answered[tier] += cost if "data:" not in entry.answer and entry.answer.count("\n") < 2 else 0
    assert {tier for tier, _ in by_hand} == {"openai", "ollama_cloud"}
    assert told == answered
    total = sum(by_hand.values())
    for by in ("tier,model", "arm", "app", "hour", "tier,model,arm,app,hour"):
        spend = (await sidecar.admin("GET", f"/spend?by={by}"))["spend"]
        assert sum(nano(Decimal(line["usd"])) for line in spend) == total, by
        assert sum(line["calls"] for line in spend) == 320
        if by == "tier,model":
            found = {(line["group"]["tier"], line["group"]["model"]): line["usd"] for line in spend}
            assert {group: nano(Decimal(usd)) for group, usd in found.items()} == by_hand
        if by in ("arm", "app"):
            assert len(spend) == (2 if by == "arm" else 3)


def nano(usd: Decimal) -> int:
    """Dollars as whole nano-dollars."""
    assert usd * 10**9 == int(usd * 10**9)
    return int(usd * 10**9)


def usage_in(answer: str) -> tuple[int, int, int]:
    """The tokens that an upstream's answer tells: of input, of cached input, of output."""
    lines = [line.removeprefix("data: ") for line in answer.splitlines() if line and "[DONE]" not in line]
    last = json.loads(lines[-1])
    if "eval_count" in last:
        return last["prompt_eval_count"], 0, last["eval_count"]
    usage = last["usage"]
    details = usage.get("prompt_tokens_details") or {}
    return usage["prompt_tokens"], details.get("cached_tokens", 0), usage["completion_tokens"]


async def test_an_exhausted_cap_moves_calls_to_the_next_tier(world: World) -> None:
    sidecar = await world.sidecar(CENT)
    await sidecar.admin("PUT", "/budgets/openai-day", {"usd": "0.000001"})
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert (response.status_code, response.headers["x-sidecar-tier"]) == (200, "ollama_cloud")
    assert response.headers["x-sidecar-reason"] == "critical_quality"
    rejected = {tier.tier: tier.reason for tier in (await sidecar.record()).decision.rejected}
    assert rejected["openai"] == "budget_exhausted"
    await sidecar.admin("PUT", "/budgets/openai-day", {"usd": "5"})
    again = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert again.headers["x-sidecar-tier"] == "openai"
    (first, second) = (await sidecar.admin("GET", "/audit"))["entries"]
    assert (second["old"], second["new"]) == ("0.10", "0.000001")
    assert (first["action"], first["subject"], first["new"]) == ("budget.set", "openai-day", "5.00")


async def test_caps_are_added_and_removed_live(world: World) -> None:
    sidecar = await world.sidecar()
    new = {"name": "all", "tier": "*", "period": "total", "usd": "0.000002"}
    assert (await sidecar.admin("POST", "/budgets", new))["resets_at"] is None
    for headers in (CRITICAL, HIGH):
        response = await sidecar.http.post(CHAT, json=chat(), headers=headers)
        assert response.headers["x-sidecar-tier"] == "local_ollama"
    assert (await sidecar.http.delete("/admin/budgets/all", headers=sidecar.bearer)).status_code == 204
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert response.headers["x-sidecar-tier"] == "openai"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/budgets/none", {"usd": 1}, 404),
        ("PUT", "/budgets/openai-day", {"usd": "a lot"}, 400),
        ("PUT", "/budgets/openai-day", {"usd": -1}, 400),
        ("PUT", "/budgets/openai-day", {"usd": "NaN"}, 400),
        ("PUT", "/budgets/openai-day", {}, 400),
        ("PUT", "/budgets/openai-day", {"usd": 1, "expected_usd": "7"}, 409),
        ("POST", "/budgets", {"name": "x", "tier": "nope", "period": "day", "usd": 1}, 400),
        ("POST", "/budgets", {"name": "x", "tier": "*", "period": "week", "usd": 1}, 400),
        ("POST", "/budgets", {"name": "openai-day", "tier": "*", "period": "day", "usd": 1}, 400),
        ("POST", "/budgets", {"name": "a b", "tier": "*", "period": "day", "usd": 1}, 400),
        ("DELETE", "/budgets/none", None, 404),
        ("POST", "/holds/99/release", None, 404),
        ("GET", "/spend?by=colour", None, 400),
    ],
)
async def test_what_cannot_be_done_is_said(
    world: World, method: str, path: str, body: Any, status: int
) -> None:
    sidecar = await world.sidecar(CENT)
    response = await sidecar.http.request(method, f"/admin{path}", json=body, headers=sidecar.bearer)
    assert response.status_code == status, response.text
    assert response.json()["error"]["message"]
    assert Decimal((await cap(sidecar))["usd"]) == Decimal("0.10")


async def test_of_changes_that_expect_the_same_one_is_made(world: World) -> None:
    sidecar = await world.sidecar(CENT)
    new = {"name": "mine", "tier": "openai", "period": "total", "usd": "7"}

    async def change(usd: int) -> tuple[int, int]:
        body = {"usd": usd, "expected_usd": "0.10"}
        put = await sidecar.http.put("/admin/budgets/openai-day", json=body, headers=sidecar.bearer)
        added = await sidecar.http.post("/admin/budgets", json=new, headers=sidecar.bearer)
        return put.status_code, added.status_code

    answers = await asyncio.gather(*(change(usd) for usd in range(1, 9)))
    assert Counter(put for put, _ in answers) == {200: 1, 409: 7}
    assert Counter(added // 100 for _, added in answers) == {2: 1, 4: 7}
    assert len((await sidecar.admin("GET", "/audit"))["entries"]) == 2


async def test_the_cap_holds_under_a_storm(world: World, scripted_upstream: StartUpstream) -> None:
    """Five hundred paid calls at once, half of them streams, against a cap that affords twenty."""
    greedy = await scripted_upstream(name="openai", style="greedy", require_key="openai-key")
    limit = Decimal("0.42")  # about twenty holds of 1,400 tokens
    sidecar = await world.sidecar(
        {
            "tiers": {
                "openai": {"base_url": greedy.openai_url},
                "local_ollama": {"queue": {"max": 1000}},
            },
            "routing": {"fallback": ["openai", "local_ollama"]},
            "budgets": {
                "caps": [{"name": "openai-day", "tier": "openai", "period": "day", "usd": str(limit)}]
            },
        }
    )

    async def call(number: int) -> tuple[int, str]:
        body = chat(f"question {number}", stream=number % 2 == 0, max_tokens=200)
        async with client.post(sidecar.base + CHAT, json=body, headers=CRITICAL) as response:
            await response.read()
            return response.status, response.headers["x-sidecar-tier"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        answers = await asyncio.gather(*(call(number) for number in range(500)))
    assert {status for status, _ in answers} == {200}
    tiers = [tier for _, tier in answers]
    why = Counter(
        (record.tier, *(tier.reason for tier in (*record.decision.rejected, *record.passed_over)))
        for record in await sidecar.records()
    )
    assert 0 < tiers.count("openai") < 500, why
    totals = await greedy.totals()
    billed = Decimal(totals.input_tokens + totals.output_tokens) * Decimal("0.015") / 1000
    assert billed <= limit
    now = await cap(sidecar)
    assert Decimal(now["held"]) == 0
    assert billed <= Decimal(now["posted"]) <= limit


async def test_a_broken_stream_posts_the_whole_hold_until_released(world: World) -> None:
    sidecar = await world.sidecar(CENT)
    await world.openai.fault(cut_after=5)
    await sidecar.http.post(CHAT, json=chat(stream=True, max_tokens=100), headers=CRITICAL)
    (hold,) = (await sidecar.admin("GET", "/holds"))["holds"]
    posted = Decimal((await cap(sidecar))["posted"])
    assert posted == Decimal(hold["usd"]) > 0
    assert (await sidecar.record()).outcome is Outcome.UPSTREAM_FAILED
    await sidecar.admin("POST", f"/holds/{hold['id']}/release")
    assert Decimal((await cap(sidecar))["posted"]) == 0
    assert (await sidecar.admin("GET", "/holds"))["holds"] == []


async def test_free_calls_write_no_ledger_row(world: World) -> None:
    sidecar = await world.sidecar(CENT)
    for _ in range(5):
        await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
    assert sidecar.sidecar.services.ledger.counters.holds == 0
    assert (await sidecar.admin("GET", "/spend"))["spend"] == []


async def test_a_catalog_price_covers_the_models_of_the_table_only(world: World) -> None:
    sidecar = await world.sidecar({"tiers": {"openai": {"price": "catalog"}}})
    response = await sidecar.http.post(CHAT, json=chat(max_tokens=20), headers=CRITICAL)
    usage = response.json()["usage"]
    # gpt-4o: $2.50 in and $10 out per million tokens.
    cost = (Decimal("2.5") * usage["prompt_tokens"] + 10 * Decimal(usage["completion_tokens"])) / 1_000_000
    assert Decimal(response.headers["x-sidecar-cost-usd"]) == cost
    other = await sidecar.http.post(CHAT, json=chat(model="openai/gpt-4.5-preview"), headers=PUBLIC)
    assert other.headers["x-sidecar-tier"] == "ollama_cloud"
    (passed,) = (await sidecar.record(other)).passed_over
    assert (passed.tier, passed.reason) == ("openai", "capability_missing")
    assert passed.detail == "model: no price is known for it"


async def test_a_priced_tier_on_this_machine_is_under_caps_too(world: World) -> None:
    local = {"price": {"usd_per_1k_tokens": 0.0001}}
    caps = [{"name": "local", "tier": "local_ollama", "period": "day", "usd": "1"}]
    sidecar = await world.sidecar({"tiers": {"local_ollama": local}, "budgets": {"caps": caps}})
    response = await sidecar.http.post(CHAT, json=chat("Write to erika.musterfrau" + "@web.de"))
    assert response.headers["x-sidecar-tier"] == "local_ollama"
    assert Decimal((await cap(sidecar, "local"))["posted"]) > 0
