"""What stands before an attempt, through a whole sidecar: the breaker, the places, the call's own time."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import httpx
import pytest

from sidecar.core.vocabulary import Outcome
from tests.rig.upstream import ScriptedUpstream
from tests.rig.world import CHAT, CRITICAL, PUBLIC, RunningSidecar, World, chat

PERSONAL = "Write to Erika at erika.musterfrau@web.de about her diabetes."


async def tier(sidecar: RunningSidecar, name: str) -> dict[str, Any]:
    tiers = (await sidecar.admin("GET", "/tiers"))["tiers"]
    return dict(next(each for each in tiers if each["name"] == name))


async def waiting(sidecar: RunningSidecar, name: str, count: int) -> None:
    """Until so many calls wait in line for a tier."""
    while (await tier(sidecar, name))["queue"]["waiting"] != count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def under_way(upstream: ScriptedUpstream, count: int) -> None:
    """Until so many requests have arrived at an upstream."""
    while (await upstream.arrived()) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_a_tier_that_keeps_failing_is_left_alone_and_says_so(world: World) -> None:
    sidecar = await world.sidecar()
    await world.local.fault(status=500)
    for _ in range(5):
        failed = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
        assert "attempt_failed" in failed.text
    refused = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_tier_available")
    assert 1 <= int(refused.headers["retry-after"]) <= 5
    assert "local_ollama: circuit_open (resting after server_error" in refused.text
    kept = await sidecar.http.post("/api/chat", json=chat(PERSONAL))
    assert kept.status_code == 503
    assert "may not leave" in kept.json()["error"]
    assert 1 <= int(kept.headers["retry-after"]) <= 5
    assert len(await world.local.log()) == 5
    view = await tier(sidecar, "local_ollama")
    assert (view["on"], view["circuit"]["state"]) == (False, "open")
    assert "server_error" in view["circuit"]["last_fault"]
    record = (await sidecar.records())[-1]
    assert [state.unavailable for state in record.tier_states if state.name == "local_ollama"] == [
        "circuit_open"
    ]


async def test_it_sees_one_probe_and_then_all_calls_again(world: World) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(status=429, retry_after=1, times=1)
    first = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert first.headers["x-sidecar-fallback"] == "openai"
    second = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert second.headers["x-sidecar-tier"] == "ollama_cloud"
    assert "x-sidecar-fallback" not in second.headers
    assert len(await world.openai.log()) == 1
    while (await tier(sidecar, "openai"))["circuit"]["wait_s"] > 0:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await world.openai.fault(delay_s=0.5, times=1)
    answers = await asyncio.gather(
        *(sidecar.http.post(CHAT, json=chat(), headers=CRITICAL) for _ in range(5))
    )
    assert sorted(answer.headers["x-sidecar-tier"] for answer in answers) == [
        *["ollama_cloud"] * 4, "openai"
    ]  # fmt: skip
    assert (await tier(sidecar, "openai"))["circuit"]["state"] == "closed"
    again = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert again.headers["x-sidecar-tier"] == "openai"


async def test_while_it_fails_a_tier_sees_probes_alone_and_it_comes_back_by_itself(world: World) -> None:
    breaker = {"failures_in_a_row": 3, "open_s": 0.1, "open_max_s": 0.4}
    sidecar = await world.sidecar({"tiers": {"openai": {"breaker": breaker}}})
    await world.openai.fault(status=500)
    calls, tried = 0, list[float]()
    async with asyncio.timeout(20):
        while len(tried) < 6:
            answer = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
            assert (answer.status_code, answer.headers["x-sidecar-tier"]) == (200, "ollama_cloud")
            calls += 1
            tried = [entry.time for entry in await world.openai.log() if entry.path == CHAT]
    assert calls > 2 * len(tried)
    # After the third failure it is left alone for 0.1 s, then for 0.2 s, then always for 0.4 s.
    pauses_s = [later - earlier for earlier, later in itertools.pairwise(tried[2:])]
    assert all(pause_s > rest_s - 0.02 for pause_s, rest_s in zip(pauses_s, (0.1, 0.2, 0.4), strict=True))
    await world.openai.heal()
    async with asyncio.timeout(10):
        while (await tier(sidecar, "openai"))["circuit"]["state"] != "closed":
            await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    answer = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert answer.headers["x-sidecar-tier"] == "openai"


async def test_while_nobody_answers_a_check_that_costs_nothing_no_call_is_spent_on_it(world: World) -> None:
    sidecar = await world.sidecar(
        {
            "tiers": {
                "openai": {
                    "base_url": "http://127.0.0.1:9/v1",
                    "breaker": {"failures_in_a_row": 2, "open_s": 0.2, "open_max_s": 0.4},
                }
            }
        }
    )
    for _ in range(2):
        failed = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
        assert failed.headers["x-sidecar-fallback"] == "openai"
    rested_until_s = asyncio.get_running_loop().time() + 1.5
    while asyncio.get_running_loop().time() < rested_until_s:
        passed = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
        assert "x-sidecar-fallback" not in passed.headers
        await asyncio.sleep(0.02)
    assert (await tier(sidecar, "openai"))["circuit"]["state"] == "open"


async def test_a_model_that_is_being_loaded_is_no_failure(world: World) -> None:
    sidecar = await world.sidecar(
        {
            "tiers": {
                "local_ollama": {"timeouts": {"first_byte_s": 0.15}, "breaker": {"failures_in_a_row": 2}},
                "openai": {"timeouts": {"first_byte_s": 0.15}, "breaker": {"failures_in_a_row": 2}},
            }
        }
    )
    await world.local.fault(delay_s=30.0, times=3)
    await world.openai.fault(delay_s=30.0, times=2)
    for _ in range(3):
        waited = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
        assert (waited.status_code, "no answer" in waited.text) == (503, True)
    assert (await tier(sidecar, "local_ollama"))["circuit"]["state"] == "closed"
    assert (await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)).status_code == 200
    # It has answered, so it is loaded: from here on silence is a failure, as it always is off the machine.
    await world.local.fault(delay_s=30.0)
    for _ in range(2):
        await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
        await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    for name in ("local_ollama", "openai"):
        assert (await tier(sidecar, name))["circuit"]["state"] == "open"


RETRIES = {"retry": {"max": 2, "wait_s": 0.02}}


@pytest.mark.parametrize("door", [CHAT, "/api/chat"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tier_can_be_given_another_try_before_the_next_ones_turn(
    world: World, door: str, stream: bool
) -> None:
    sidecar = await world.sidecar({"tiers": {"openai": RETRIES}})
    await world.openai.fault(status=503, times=2)
    response = await sidecar.http.post(door, json=chat(stream=stream), headers=CRITICAL)
    assert (response.status_code, response.headers["x-sidecar-tier"]) == (200, "openai")
    assert "x-sidecar-fallback" not in response.headers
    record = await sidecar.record()
    assert [(each.tier, each.fault, each.settlement) for each in record.attempts] == [
        ("openai", "server_error", "unknown"),
        ("openai", "server_error", "unknown"),
        ("openai", "", "reported"),
    ]
    starts = [each.started_ms for each in record.attempts]
    ends = [each.ended_ms for each in record.attempts]
    assert starts[1] - ends[0] >= 10
    assert starts[2] - ends[1] >= 20


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        ({"status": 503}, 3),
        ({"status": 429, "retry_after": 1}, 1),
        ({"status": 401}, 1),
        ({"delay_s": 30.0}, 1),
    ],
    ids=["503", "429 with Retry-After", "401", "silence"],
)
async def test_after_its_tries_or_where_trying_again_is_no_use_the_next_tier_answers(
    world: World, fault: dict[str, Any], tries: int
) -> None:
    sidecar = await world.sidecar({"tiers": {"openai": {**RETRIES, "timeouts": {"first_byte_s": 0.2}}}})
    await world.openai.fault(**fault)
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert response.headers["x-sidecar-tier"] == "ollama_cloud"
    assert response.headers["x-sidecar-fallback"] == "openai"
    assert [each.tier for each in (await sidecar.record()).attempts] == [*tries * ["openai"], "ollama_cloud"]


async def test_tries_again_keep_within_the_calls_time(world: World) -> None:
    slow = {"retry": {"max": 5, "wait_s": 20.0}, "timeouts": {"total_s": 0.3}}
    brief = {"timeouts": {"total_s": 0.3}}
    sidecar = await world.sidecar({"tiers": {"openai": slow, "ollama_cloud": brief, "local_ollama": brief}})
    await world.openai.fault(status=500)
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_tier_available")
    assert len((await sidecar.record()).attempts) == 1


async def test_a_refused_key_rests_the_tier_until_its_configuration_changes(world: World) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(status=401, times=1)
    for _ in range(2):
        response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
        assert response.headers["x-sidecar-tier"] == "ollama_cloud"
    assert len(await world.openai.log()) == 1
    assert "until the tier's configuration changes" in (await tier(sidecar, "openai"))["why"]
    await sidecar.reload({"tiers": {"openai": {"timeouts": {"idle_s": 29}}}})
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert response.headers["x-sidecar-tier"] == "openai"


async def test_calls_that_the_caller_must_mend_do_not_open_the_breaker(world: World) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(status=422)
    for _ in range(8):
        response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
        assert response.status_code == 422
    assert (await tier(sidecar, "openai"))["circuit"]["state"] == "closed"


async def test_the_legacy_arm_teaches_the_breaker_too(world: World) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 0}})
    await world.local.fault(status=500)
    for _ in range(5):
        assert (await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)).status_code == 500
    assert (await tier(sidecar, "local_ollama"))["circuit"]["state"] == "open"


async def test_a_prompt_that_is_too_long_goes_where_it_fits(world: World) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(code="context_length_exceeded")
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert (response.status_code, response.headers["x-sidecar-fallback"]) == (200, "openai")
    assert (await sidecar.record()).attempts[0].fault == "too_long"


async def test_a_prompt_that_fits_nowhere_is_the_callers_to_mend(world: World) -> None:
    sidecar = await world.sidecar()
    for upstream in (world.openai, world.cloud, world.local):
        await upstream.fault(code="context_length_exceeded")
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "context_length_exceeded")
    assert "maximum context length" in error["message"]
    assert response.headers["x-sidecar-fallback"] == "openai,ollama_cloud"
    assert response.headers["x-sidecar-tier"] == "local_ollama"


async def test_all_attempts_share_the_calls_time(world: World) -> None:
    times = {"timeouts": {"first_byte_s": 0.4, "total_s": 0.6}}
    sidecar = await world.sidecar(
        {"tiers": {"openai": times, "ollama_cloud": times, "local_ollama": {"timeouts": {"total_s": 0.5}}}}
    )
    for upstream in (world.openai, world.cloud, world.local):
        await upstream.fault(delay_s=30.0)
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_tier_available")
    record = await sidecar.record()
    assert [(each.tier, each.fault) for each in record.attempts] == [
        ("openai", "timeout"), ("ollama_cloud", "timeout")
    ]  # fmt: skip
    assert "the time that the call may take" in record.attempts[1].detail
    assert record.duration_ms < 5_000
    # The second had no fair chance, which is not its fault.
    assert (await tier(sidecar, "ollama_cloud"))["circuit"]["last_fault"] == ""
    assert "timeout" in (await tier(sidecar, "openai"))["circuit"]["last_fault"]


async def test_a_stream_without_end_is_ended_when_its_time_is_up(world: World) -> None:
    sidecar = await world.sidecar({"tiers": {"openai": {"timeouts": {"total_s": 0.5}}}})
    await world.openai.fault(endless=True, drip_s=0.02)
    response = await sidecar.http.post(CHAT, json=chat(stream=True), headers=CRITICAL)
    last = json.loads(response.text.strip().split("\n")[-1].removeprefix("data: "))
    assert "the answer of openai broke off" in last["error"]["message"]
    assert (await sidecar.record()).outcome is Outcome.UPSTREAM_FAILED
    assert (await world.openai.log())[0].client_left


async def test_a_full_tier_lets_wait_and_then_turns_away(world: World) -> None:
    sidecar = await world.sidecar({"tiers": {"local_ollama": {"max_concurrency": 1, "queue": {"max": 1}}}})
    await world.local.fault(delay_s=1.0)

    async def call() -> httpx.Response:
        return await sidecar.http.post(CHAT, json=chat(PERSONAL))

    first = asyncio.create_task(call())
    await under_way(world.local, 1)
    second = asyncio.create_task(call())
    await waiting(sidecar, "local_ollama", 1)
    turned_away = await call()
    assert turned_away.status_code == 503
    assert turned_away.json()["error"]["code"] == "sensitive_and_local_down"
    assert "saturated (1 calls are at work and 1 wait)" in turned_away.text
    assert int(turned_away.headers["retry-after"]) >= 1
    assert [(await task).status_code for task in (first, second)] == [200, 200]
    view = (await tier(sidecar, "local_ollama"))["queue"]
    assert (view["in_use"], view["waiting"], view["turned_away"]) == (0, 0, 1)


async def test_a_call_that_may_leave_goes_past_a_full_tier(world: World) -> None:
    sidecar = await world.sidecar({"tiers": {"openai": {"max_concurrency": 1, "queue": {"max": 0}}}})
    await world.openai.fault(endless=True, drip_s=0.01)
    async with sidecar.http.stream("POST", CHAT, json=chat(stream=True), headers=CRITICAL) as taken:
        assert taken.headers["x-sidecar-tier"] == "openai"
        response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
        assert response.headers["x-sidecar-tier"] == "ollama_cloud"
        record = await sidecar.record(response)
        assert {each.tier: each.reason for each in record.decision.rejected}["openai"] == "saturated"
    await world.openai.log()
    again = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL, timeout=30)
    assert again.headers["x-sidecar-tier"] == "openai"


async def test_who_leaves_the_line_takes_no_place_along(world: World) -> None:
    sidecar = await world.sidecar({"tiers": {"openai": {"max_concurrency": 1}}})
    await world.openai.fault(delay_s=1.0, times=1)
    first = asyncio.create_task(sidecar.http.post(CHAT, json=chat(), headers=CRITICAL))
    await under_way(world.openai, 1)
    leaving = asyncio.create_task(sidecar.http.post(CHAT, json=chat(), headers=CRITICAL))
    await waiting(sidecar, "openai", 1)
    leaving.cancel()
    await waiting(sidecar, "openai", 0)
    assert (await first).status_code == 200
    assert (await tier(sidecar, "openai"))["queue"]["in_use"] == 0
    assert len(await world.openai.log()) == 1
    assert sorted(record.outcome for record in await sidecar.records()) == ["client_left", "complete"]
    # Nothing is held for one who waits.
    assert sidecar.sidecar.services.ledger.counters.holds == 1


@pytest.mark.parametrize("door", [CHAT, "/api/chat"])
async def test_over_the_limit_of_calls_under_way_they_are_turned_away_at_once(
    world: World, door: str
) -> None:
    sidecar = await world.sidecar({"limits": {"max_in_flight": 1}})
    await world.local.fault(delay_s=1.0, times=1)
    first = asyncio.create_task(sidecar.http.post(CHAT, json=chat(), headers=PUBLIC))
    await under_way(world.local, 1)
    turned_away = await sidecar.http.post(door, json=chat(), headers=PUBLIC)
    assert (turned_away.status_code, turned_away.headers["retry-after"]) == (503, "1")
    error = turned_away.json()["error"]
    assert "limits.max_in_flight" in (error["message"] if door == CHAT else error)
    assert (await first).status_code == 200
    calls = (await sidecar.admin("GET", "/status"))["calls"]
    assert calls == {"under_way": 0, "limit": 1, "turned_away": 1}
