"""A tier that an operator takes out of service gets no call until he puts it back, restarts or not."""

from __future__ import annotations

import asyncio

from tests.rig.world import CHAT, CRITICAL, RunningSidecar, World, chat

OUT = {"in_service": False, "reason": "the bill is being looked into"}


async def tier_of(sidecar: RunningSidecar, name: str) -> dict[str, object]:
    tiers = (await sidecar.admin("GET", "/tiers"))["tiers"]
    return next(tier for tier in tiers if tier["name"] == name)


async def test_calls_pass_it_over_until_it_is_back(world: World) -> None:
    sidecar = await world.sidecar()
    view = await sidecar.admin("PUT", "/tiers/openai", OUT)
    assert (view["on"], view["out_of_service"]["actor"]) == (False, "admin token")
    answer = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert answer.headers["x-sidecar-tier"] == "ollama_cloud"
    record = await sidecar.record(answer)
    (rejected,) = record.decision.rejected
    assert (rejected.tier, rejected.reason) == ("openai", "tier_off")
    assert rejected.detail == "taken out of service by admin token: the bill is being looked into"
    assert await world.openai.log() == []

    assert (await sidecar.admin("PUT", "/tiers/openai", {"in_service": True}))["on"]
    answer = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert answer.headers["x-sidecar-tier"] == "openai"


async def test_each_change_is_audited_once(world: World) -> None:
    sidecar = await world.sidecar()
    for in_service in (True, False, False, True):
        await sidecar.admin("PUT", "/tiers/openai", {"in_service": in_service, "reason": "r"})
    entries = (await sidecar.admin("GET", "/audit"))["entries"]
    assert [(one["action"], one["subject"], one["old"], one["new"]) for one in entries] == [
        ("tier.back", "openai", "out of service", "in service"),
        ("tier.out", "openai", "in service", "out of service"),
    ]


async def test_it_stays_out_over_a_reload_and_a_restart(world: World) -> None:
    changes = {"data_dir": str(world.directory / "kept")}
    sidecar = await world.sidecar(changes)
    await sidecar.admin("PUT", "/tiers/openai", OUT)
    await sidecar.reload({"tiers": {"openai": {"default_max_tokens": 77}}})
    assert not (await tier_of(sidecar, "openai"))["on"]
    await world.aclose()
    sidecar = await world.sidecar(changes)
    tier = await tier_of(sidecar, "openai")
    assert tier["why"] == "taken out of service by admin token: the bill is being looked into"


async def test_a_call_under_way_goes_on_but_falls_back_elsewhere(world: World) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(delay_s=0.5, status=503, times=1)
    calls = [asyncio.create_task(sidecar.http.post(CHAT, json=chat(), headers=CRITICAL))]
    async with asyncio.timeout(10):
        while not await world.openai.arrived():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await sidecar.admin("PUT", "/tiers/ollama_cloud", OUT)
    (answer,) = await asyncio.gather(*calls)
    assert answer.headers["x-sidecar-tier"] == "local_ollama"
    record = await sidecar.record(answer)
    assert [(one.tier, one.reason) for one in record.passed_over] == [("ollama_cloud", "tier_off")]


async def test_what_is_not_there_is_refused(world: World) -> None:
    sidecar = await world.sidecar()
    answer = await sidecar.http.put("/admin/tiers/none", json=OUT, headers=sidecar.bearer)
    assert answer.status_code == 404
    assert "there are local_ollama, ollama_cloud, openai" in answer.text
    answer = await sidecar.http.put("/admin/tiers/openai", json={}, headers=sidecar.bearer)
    assert answer.status_code == 400
