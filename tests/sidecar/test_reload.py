"""A changed configuration that a part of the running sidecar cannot take up changes nothing."""

from __future__ import annotations

import asyncio

from sidecar.settings import Settings
from tests.rig.world import CHAT, CRITICAL, World, chat

CAPS = [{"name": "all-day", "tier": "*", "period": "day", "usd": 10}]


async def test_what_one_part_cannot_take_up_is_in_force_nowhere(world: World) -> None:
    sidecar = await world.sidecar({"budgets": {"caps": CAPS}})
    before = sidecar.sidecar.current.policy

    async def fails(old: Settings, new: Settings) -> None:
        raise OSError("no space left on device")

    sidecar.sidecar.services.settings.subscribe(fails)
    await sidecar.reload({"budgets": {"caps": [CAPS[0] | {"usd": 0}]}, "routing": {"rules": []}})
    source = sidecar.sidecar.services.settings
    for _ in range(400):  # the sidecar may have seen the change itself, and be at it still
        if source.rejected is not None:
            break
        await asyncio.sleep(0.05)
    assert sidecar.sidecar.current.policy == before
    assert [(cap["name"], cap["usd"]) for cap in (await sidecar.admin("GET", "/budgets"))["budgets"]] == [
        ("all-day", "10.00")
    ]
    status = await sidecar.admin("GET", "/status")
    assert "no space left on device" in status["settings"]["rejected"]["problems"][0]
    answer = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert (answer.headers["x-sidecar-tier"], answer.headers["x-sidecar-reason"]) == (
        "openai",
        "critical_quality",
    )
