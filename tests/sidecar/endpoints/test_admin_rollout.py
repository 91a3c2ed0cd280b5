"""The rollout over the admin API: what it shows, its levers, and what it refuses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.rig.world import RunningSidecar, World


async def push(sidecar: RunningSidecar, lever: str, body: Any = None) -> httpx.Response:
    content: dict[str, Any] = {} if body is None else {"json": body}
    return await sidecar.http.post(f"/admin/rollout/{lever}", headers=sidecar.bearer, **content)


async def test_what_is_shown_of_a_rollout_that_has_just_begun(world: World) -> None:
    limits = {"error_rate_max": 0.05, "p95_ms_max": 1_000}
    sidecar = await world.sidecar({"rollout": {"percent": 30, "gates": limits}})
    rollout = await sidecar.admin("GET", "/rollout")
    assert (rollout["percent"], rollout["version"], rollout["state"]) == (30, 1, "holding")
    assert rollout["stages"] == [10, 30, 50, 75, 100]
    assert (rollout["previous_stage"], rollout["next_stage"], rollout["on_breach"]) == (10, 50, "previous")
    assert (rollout["actor"], rollout["reason"]) == ("configuration", "the first start")
    gates = {gate["gate"]: gate for gate in rollout["gates"]}
    assert list(gates) == ["error_rate", "p95", "spend"]
    assert (gates["error_rate"]["state"], gates["error_rate"]["limit"]) == ("waiting", 0.05)
    assert (gates["error_rate"]["evidence"], gates["error_rate"]["needed"]) == (1, 40)
    assert (gates["p95"]["limit"], gates["p95"]["warn"], gates["p95"]["measured"]) == (1_000, 600, None)
    assert gates["spend"]["state"] == "passing"
    assert rollout["evidence"]["routed"] == {"calls": 0, "failed": 0, "excluded": 0, "ratings": 0}
    assert rollout["split"] == {"sessions": 0, "expected": 0.3, "measured": None, "wrong": ""}
    assert rollout["schedule"]["enabled"] is False
    assert [change["to_percent"] for change in rollout["history"]] == [30]


async def test_the_levers(world: World) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 30}})
    assert (await push(sidecar, "pause", {"reason": "lunch"})).json()["state"] == "paused"
    assert (await push(sidecar, "resume")).json()["state"] == "holding"
    back = (await push(sidecar, "rollback", {"reason": "looks odd", "version": 3})).json()
    assert (back["state"], back["percent"], back["version"]) == ("rolled_back", 10, 4)
    moved = await sidecar.http.put(
        "/admin/rollout", json={"percent": 50, "reason": "mended", "version": 4}, headers=sidecar.bearer
    )
    assert (moved.json()["state"], moved.json()["percent"]) == ("holding", 50)
    history = [
        (change["event"], change["to_percent"], change["reason"]) for change in moved.json()["history"]
    ]
    assert history == [
        ("set", 50, "mended"),
        ("roll_back", 10, "looks odd"),
        ("resume", 30, ""),
        ("pause", 30, "lunch"),
        ("", 30, "the first start"),
    ]
    entries = (await sidecar.admin("GET", "/audit"))["entries"]
    assert [(entry["action"], entry["subject"], entry["old"], entry["new"]) for entry in entries] == [
        ("rollout.set", "percent", 10, 50),
        ("rollout.rollback", "percent", 30, 10),
        ("rollout.resume", "state", "paused", "holding"),
        ("rollout.pause", "state", "holding", "paused"),
    ]


async def test_what_does_not_fit_the_state_or_the_version_is_a_409(world: World) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 0}})
    for lever, words in (("resume", "the rollout is holding"), ("rollback", "nothing is routed")):
        refused = await push(sidecar, lever)
        assert refused.status_code == 409
        assert words in refused.json()["error"]["message"]
    for lever in ("pause", "resume", "rollback"):
        stale = await push(sidecar, lever, {"version": 7})
        assert stale.status_code == 409
        assert "version 1" in stale.json()["error"]["message"]
    for key in ("version", "expected_version"):
        stale = await sidecar.http.put("/admin/rollout", json={"percent": 10, key: 7}, headers=sidecar.bearer)
        assert stale.status_code == 409
    assert (await sidecar.admin("GET", "/rollout"))["version"] == 1


@pytest.mark.parametrize("body", [{"reason": 5}, {"percent": 10}, [1], {"version": "x"}])
async def test_a_lever_takes_its_own_words_only(world: World, body: Any) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 30}})
    assert (await push(sidecar, "rollback", body)).status_code == 400
    assert (await sidecar.admin("GET", "/rollout"))["percent"] == 30


async def test_nobody_pushes_a_lever_without_the_token(world: World) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 30}})
    for lever in ("pause", "resume", "rollback"):
        assert (await sidecar.http.post(f"/admin/rollout/{lever}")).status_code == 401
    assert (await sidecar.admin("GET", "/rollout"))["percent"] == 30


async def test_the_schema_knows_them(world: World) -> None:
    sidecar = await world.sidecar()
    schema = (await sidecar.http.get("/admin/schema/openapi.json")).json()
    paths = schema["paths"]
    assert {
        "/admin/rollout",
        "/admin/rollout/pause",
        "/admin/rollout/resume",
        "/admin/rollout/rollback",
    } <= set(paths)
    (shown,) = paths["/admin/rollout"]["get"]["responses"]["200"]["content"].values()
    name = shown["schema"]["$ref"].rsplit("/", 1)[1]
    assert {"state", "gates", "schedule", "history", "split"} <= set(
        schema["components"]["schemas"][name]["properties"]
    )
