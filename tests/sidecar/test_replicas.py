"""Replicas that share a salt agree on each session's arm, and another salt is not taken in silence."""

from __future__ import annotations

import asyncio

import pytest

from tests.rig.world import CHAT, PUBLIC, RunningSidecar, World, chat

SESSIONS = [f"session-{number}" for number in range(120)]


async def arms(sidecar: RunningSidecar) -> list[str]:
    """The arm that each session is on."""

    async def call(session: str) -> str:
        response = await sidecar.http.post(
            CHAT, json=chat(max_tokens=4), headers={**PUBLIC, "x-sidecar-session": session}
        )
        return response.headers["x-sidecar-arm"]

    found: list[str] = []
    for start in range(0, len(SESSIONS), 6):
        found += await asyncio.gather(*map(call, SESSIONS[start : start + 6]))
    return found


async def test_two_sidecars_with_one_salt_agree_on_every_session(world: World) -> None:
    shared = {"rollout": {"percent": 50, "salt": "one-for-all", "legacy": {"tier": "ollama_cloud"}}}
    first, second = await world.sidecar(shared), await world.sidecar(shared)
    here, there = await arms(first), await arms(second)
    assert here == there
    assert 30 < here.count("routed") < 90
    names = [(await each.admin("GET", "/status"))["rollout"] for each in (first, second)]
    assert names[0] == names[1] == {"percent": 50, "salt": names[0]["salt"], "warning": ""}
    assert "one-for-all" not in str(names)


async def test_without_a_salt_each_places_sessions_by_its_own(world: World) -> None:
    first, second = await world.sidecar(), await world.sidecar()
    salts = {each.sidecar.services.rollout.current.salt for each in (first, second)}
    assert len(salts) == 2


async def test_another_salt_is_taken_at_the_next_start_with_a_warning_everywhere(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 50}})
    made = sidecar.sidecar.services.rollout.current
    await sidecar.reload({"rollout": {"salt": "the-new-salt"}})
    assert sidecar.sidecar.services.rollout.current.salt == made.salt
    waits = "rollout.salt: changed in the file, takes effect at the next start"
    assert waits in (await sidecar.admin("GET", "/status"))["settings"]["warnings"]

    await sidecar.restart()
    services = sidecar.sidecar.services
    assert services.rollout.current.salt == "the-new-salt"
    assert services.rollout.current.percent == 50
    words = "many have changed arms"
    assert words in caplog.text
    assert words in (await sidecar.admin("GET", "/status"))["rollout"]["warning"]
    (entry,) = (await sidecar.admin("GET", "/audit"))["entries"]
    assert (entry["action"], entry["actor"]) == ("rollout.salt", "configuration file")
    assert (entry["old"], entry["new"]) == (made.salt_name, services.rollout.current.salt_name)
    await sidecar.http.post("/dashboard/login", data={"token": services.admin_token})
    assert words in (await sidecar.http.get("/dashboard")).text
    for shown in (caplog.text, str(entry), (await sidecar.http.get("/dashboard/policy")).text):
        assert "the-new-salt" not in shown

    await sidecar.restart()
    assert (await sidecar.admin("GET", "/status"))["rollout"]["warning"] == ""
    assert len((await sidecar.admin("GET", "/audit"))["entries"]) == 1
