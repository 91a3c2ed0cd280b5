"""A key that is refused is told of: as an alert, by the webhook, over the admin API and on every page."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.rig.world import CHAT, CRITICAL, RunningSidecar, World, chat
from tests.sidecar.test_budget_webhook import Receiver, listening


@pytest.fixture
async def receiver() -> Receiver:
    return Receiver()


async def alerts_of(sidecar: RunningSidecar) -> list[dict[str, Any]]:
    await sidecar.sidecar.services.ledger.flush()
    alerts: list[dict[str, Any]] = (await sidecar.admin("GET", "/alerts"))["alerts"]
    return alerts


async def told_of(sidecar: RunningSidecar) -> str:
    """What is said of the tier over the admin API."""
    (tier,) = [one for one in (await sidecar.admin("GET", "/tiers"))["tiers"] if one["name"] == "openai"]
    return str(tier["key_refused"])


async def banner_of(sidecar: RunningSidecar) -> str:
    path = sidecar.server.login_path()
    await sidecar.http.get(path)
    page = await sidecar.http.get("/dashboard", follow_redirects=True)
    return page.text


@pytest.mark.parametrize(
    ("status", "then"),
    [
        (401, "it takes no calls until its configuration changes"),
        # The scripted upstream says that the model may not be used.
        (403, "what asks for gpt-4o goes to the next tier"),
    ],
)
@pytest.mark.parametrize("rollout", [100, 0], ids=["routed", "legacy"])
async def test_a_refused_key_is_told_of_once_for_each_configuration(
    world: World, receiver: Receiver, status: int, then: str, rollout: int
) -> None:
    await world.openai.fault(status=status)
    words = f"its key was refused with {status}, {then}"
    async with listening(receiver) as url:
        sidecar = await world.sidecar(
            {"budgets": {"webhook": url}, "rollout": {"percent": rollout, "legacy": {"tier": "openai"}}}
        )
        for number in (1, 2):
            for _ in range(3):
                await sidecar.http.post(CHAT, json=chat(model="gpt-4o"), headers=CRITICAL)
            alerts = await alerts_of(sidecar)
            assert [(alert["kind"], alert["text"]) for alert in alerts] == [
                ("tier", f"openai: {words}")
            ] * number
            assert alerts[0]["detail"] == {"tier": "openai", "model": "gpt-4o", "status": status}
            assert await told_of(sidecar) == words
            assert words in await banner_of(sidecar)
            await receiver.came(number)
            await sidecar.reload({"tiers": {"openai": {"queue": {"max": 70 + number}}}})
            assert await told_of(sidecar) == ""
    assert [json.loads(body)["text"] for _, body in receiver.got] == [f"openai: {words}"] * 2


async def test_a_model_that_the_key_may_use_after_all_clears_what_is_shown(world: World) -> None:
    await world.openai.fault(status=403, times=1)
    sidecar = await world.sidecar()
    await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert await told_of(sidecar)
    answer = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert answer.headers["x-sidecar-tier"] == "openai"
    assert await told_of(sidecar) == ""
    assert len(await alerts_of(sidecar)) == 1
