"""Two workers are one sidecar: every surface, edit and arm is the same, whichever worker a client meets."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.rig.crew import CONNECTIONS, Crew, all_ready
from tests.rig.process import SERVE, Served
from tests.rig.world import CHAT, CRITICAL, PUBLIC, World, chat, merged

#: A live edit is seen by every worker within this.
SEEN_WITHIN_S = 1.0


@pytest.fixture
async def crew(world: World, tmp_path: Path) -> AsyncIterator[Crew]:
    caps = [{"name": "openai-day", "tier": "openai", "period": "day", "usd": 100}]
    crew = Crew(world.config({"budgets": {"caps": caps}}), tmp_path)
    async with crew.running():
        yield crew


async def test_live_edits_are_seen_by_all_within_a_second(crew: Crew) -> None:
    async def tiers() -> set[str]:
        answers = await crew.everywhere(CRITICAL)
        assert {status for status, _, _ in answers} == {200}
        return {headers["x-sidecar-tier"] for _, headers, _ in answers}

    assert await tiers() == {"openai"}
    await crew.admin("PUT", "/tiers/openai", {"in_service": False})
    await asyncio.sleep(SEEN_WITHIN_S)
    assert await tiers() == {"ollama_cloud"} or await tiers() == {"local_ollama"}
    await crew.admin("PUT", "/tiers/openai", {"in_service": True})
    await crew.admin("PUT", "/budgets/openai-day", {"usd": 0})
    await asyncio.sleep(SEEN_WITHIN_S)
    assert "openai" not in await tiers()
    await crew.admin("PUT", "/budgets/openai-day", {"usd": 100})
    await asyncio.sleep(SEEN_WITHIN_S)
    assert await tiers() == {"openai"}
    await crew.admin("PUT", "/rollout", {"percent": 0, "reason": "a test"})
    await asyncio.sleep(SEEN_WITHIN_S)
    arms = {headers["x-sidecar-arm"] for _, headers, _ in await crew.everywhere(CRITICAL)}
    assert arms == {"legacy"}


async def test_a_changed_file_is_taken_up_by_all_and_a_bad_one_by_none(crew: Crew) -> None:
    changed = merged(crew.config, {"tiers": {"openai": {"models": {"default": "gpt-4.1"}}}})
    crew.write(changed)

    async def models() -> set[str]:
        return {headers["x-sidecar-model"] for _, headers, _ in await crew.everywhere(CRITICAL)}

    for _ in range(100):
        if await models() == {"gpt-4.1"}:
            break
        await asyncio.sleep(0.1)
    assert await models() == {"gpt-4.1"}
    crew.write(merged(changed, {"tiers": {"openai": {"max_concurrency": 1}}}))
    for _ in range(100):
        rejected = (await crew.admin("GET", "/status"))["settings"]["rejected"]
        if rejected is not None:
            break
        await asyncio.sleep(0.1)
    (problem,) = rejected["problems"]
    assert "tiers.openai.max_concurrency" in problem
    assert "--workers 1" in problem
    assert await models() == {"gpt-4.1"}


async def test_a_session_has_one_arm_on_all_workers(crew: Crew) -> None:
    await crew.admin("PUT", "/rollout", {"percent": 50, "reason": "a test"})
    await asyncio.sleep(SEEN_WITHIN_S)
    arms = []
    for session in range(4):
        headers = {**PUBLIC, "x-sidecar-session": f"session-{session}"}
        answers = await crew.everywhere(headers)
        (arm,) = {headers["x-sidecar-arm"] for _, headers, _ in answers}
        arms.append(arm)
    assert set(arms) <= {"legacy", "routed"}
    # What became of calls comes to the hub a moment later.
    counted = 0
    for _ in range(100):
        evidence = (await crew.admin("GET", "/rollout"))["evidence"]
        counted = sum(evidence[arm]["calls"] for arm in ("legacy", "routed"))
        if counted >= 4 * CONNECTIONS:
            break
        await asyncio.sleep(0.1)
    assert counted == 4 * CONNECTIONS


async def test_every_surface_is_reached_through_every_worker(crew: Crew) -> None:
    await crew.everywhere(CRITICAL)
    for path, status in (
        ("/", 200),
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/v1/models", 200),
        ("/v1/models/auto", 200),
        ("/api/tags", 200),
        ("/api/version", 200),
        ("/metrics", 200),
        ("/admin/status", 401),
        ("/dashboard", 303),
        ("/dashboard/login", 200),
        ("/nowhere", 404),
    ):
        for _ in range(4):
            answer = await crew.ask("GET", path)
            assert answer[0] == status, (path, answer)
    assert (await crew.ask("HEAD", "/"))[0] == 200
    lines: list[str] = []
    for _ in range(100):
        _, _, metrics = await crew.ask("GET", "/metrics")
        lines = [line for line in metrics.splitlines() if line.startswith("sidecar_calls_total{")]
        if sum(float(line.rsplit(" ", 1)[1]) for line in lines) == CONNECTIONS:
            break
        await asyncio.sleep(0.1)
    assert sum(float(line.rsplit(" ", 1)[1]) for line in lines) == CONNECTIONS, lines
    for path in (CHAT, CHAT + "/"):
        status, headers, _ = await crew.ask("POST", path, json=chat(max_tokens=4), headers=CRITICAL)
        assert (status, headers["x-sidecar-tier"]) == (200, "openai")
    status, _, text = await crew.ask("GET", CHAT)
    assert (status, "takes POST" in text) == (405, True)
    cross = {"sec-fetch-site": "cross-site", "origin": "https://elsewhere.example"}
    assert (await crew.ask("GET", "/v1/models", headers=cross))[0] == 403
    assert (await crew.ask("GET", "/dashboard", headers={"host": "elsewhere.example"}))[0] == 403
    rating = {"request_id": headers["x-sidecar-request-id"], "score": 1}
    assert (await crew.ask("POST", "/v1/feedback", json=rating))[0] < 300


async def test_an_operator_stays_logged_in_whichever_worker_he_meets_and_pages_are_live(crew: Crew) -> None:
    path = crew.ready_line.split("dashboard ")[1].strip().removeprefix(crew.base)
    async with crew.client() as client:
        async with client.get(crew.base + path) as landed:
            assert landed.status == 200
        for _ in range(6):
            async with client.get(f"{crew.base}/dashboard/tiers") as page:
                assert (page.status, "local_ollama" in await page.text()) == (200, True)
        async with client.get(f"{crew.base}/dashboard/live/decisions") as stream:
            assert stream.content_type == "text/event-stream"
            answers = await crew.everywhere(CRITICAL)
            wanted = answers[0][1]["x-sidecar-request-id"].encode()
            seen = b""
            async with asyncio.timeout(20):
                while wanted not in seen:
                    seen += await stream.content.readany()
            # The stream does not keep the sidecar from ending.
            assert await asyncio.to_thread(crew.stop) == 0


async def test_traffic_is_that_of_all_workers(crew: Crew) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def call() -> int:
            async with client.post(crew.base + CHAT, json=chat(max_tokens=4), headers=CRITICAL) as response:
                return response.status

        assert set(await asyncio.gather(*(call() for _ in range(CONNECTIONS)))) == {200}
        # The connections are kept open; each worker has some of them.
        workers = await crew.until(lambda workers: all(worker["connections"] for worker in workers))
        assert len({worker["pid"] for worker in workers}) == 2
        status = await crew.admin("GET", "/status")
        assert status["connections"]["open"] >= 2
        assert status["calls"]["limit"] == 1024


async def test_a_worker_that_keeps_failing_a_tier_shows_on_the_pages(world: World, crew: Crew) -> None:
    await world.openai.fault(status=500)
    for _ in range(3):
        await crew.everywhere(CRITICAL)
    for _ in range(50):
        (tier,) = [tier for tier in (await crew.admin("GET", "/tiers"))["tiers"] if tier["name"] == "openai"]
        if tier["circuit"]["state"] == "open":
            break
        await asyncio.sleep(0.1)
    assert (tier["on"], tier["circuit"]["state"]) == (False, "open")
    assert "resting" in tier["why"]
    assert tier["queue"]["limit"] == 128


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ("5", "at most --workers 4"),
        ("0", "'0' is no number from 1 to 64"),
        ("many", "'many' is no number"),
    ],
)
def test_more_workers_than_can_share_a_tier_are_refused(
    world: World, tmp_path: Path, workers: str, words: str
) -> None:
    served = Served(world.config(), tmp_path)
    ran = subprocess.run(
        [*SERVE, str(served.path), "--workers", workers],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (2, False), ran.stderr
    assert words in ran.stderr


async def test_a_port_and_a_data_directory_in_use_are_refused(
    crew: Crew, world: World, tmp_path: Path
) -> None:
    await crew.until(all_ready(2))
    port = int(crew.base.rsplit(":", 1)[1])
    other = tmp_path / "other"
    other.mkdir()
    for config, words in (
        (world.config({"listen": {"port": port}}), f"cannot listen on 127.0.0.1:{port}"),
        (crew.config, "data"),
    ):
        second = Served(config, other)
        ran = await asyncio.to_thread(
            subprocess.run,
            [*SERVE, str(second.path), "--workers", "2"],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (ran.returncode, "Traceback" in ran.stderr) == (2, False), ran.stderr
        assert words in ran.stderr
