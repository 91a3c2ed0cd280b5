"""Whole rollouts over real sockets: one that goes wrong at 30 %, and one that goes by schedule to its end."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.rig.otlp import OtlpReceiver
from tests.rig.world import CHAT, PUBLIC, RunningSidecar, World, chat

#: The app used the cloud before; the routed arm has the local tier and nothing to fall back to, so that what
#: that tier does is what the arm does.
LEGACY: Mapping[str, Any] = {"legacy": {"tier": "ollama_cloud"}}


class Traffic:
    """An app with many sessions; remembers the arms that each session has been on, in order."""

    def __init__(self, sidecar: RunningSidecar) -> None:
        self.sidecar = sidecar
        self.arms: dict[str, list[str]] = {}
        self._sessions = itertools.count()

    async def call(self, session: str = "") -> int:
        """One call, from a new session unless another is named."""
        session = session or f"session-{next(self._sessions)}"
        response = await self.sidecar.http.post(
            CHAT, json=chat(max_tokens=4), headers={**PUBLIC, "x-sidecar-session": session}
        )
        arms = self.arms.setdefault(session, [])
        if not arms or arms[-1] != response.headers["x-sidecar-arm"]:
            arms.append(response.headers["x-sidecar-arm"])
        return response.status_code

    async def calls(self, count: int) -> None:
        for _ in range(0, count, 6):
            await asyncio.gather(*(self.call() for _ in range(6)))

    async def until(self, there: Callable[[dict[str, Any]], bool], *, calling: int = 6) -> dict[str, Any]:
        """Go on calling until the rollout is ``there``."""
        async with asyncio.timeout(60):
            while True:
                rollout: dict[str, Any] = await self.sidecar.admin("GET", "/rollout")
                if there(rollout):
                    return rollout
                if calling:
                    await self.calls(calling)
                else:
                    await asyncio.sleep(0.05)

    async def check_sticky(self, sessions: int = 40) -> None:
        """The first sessions call again; none of them has ever left the routed arm."""
        for number in range(sessions):
            await self.call(f"session-{number}")
        assert not [
            arms for arms in self.arms.values() if arms not in (["legacy"], ["routed"], ["legacy", "routed"])
        ]


async def dashboard(sidecar: RunningSidecar, path: str) -> str:
    """A page as an operator sees it."""
    await sidecar.http.post("/dashboard/login", data={"token": sidecar.sidecar.services.admin_token})
    return (await sidecar.http.get(f"/dashboard{path}")).text


async def test_a_tier_that_starts_failing_is_rolled_back_by_itself(
    world: World, receiver: OtlpReceiver
) -> None:
    gates = {"error_rate_max": 0.05, "p95_ms_max": 60_000, "min_samples_to_roll_back": 20}
    sidecar = await world.sidecar({"rollout": {"percent": 10, "gates": gates, **LEGACY}})
    traffic = Traffic(sidecar)
    await sidecar.admin("PUT", "/rollout", {"percent": 30, "reason": "10 % looked good"})
    await traffic.calls(60)
    await traffic.check_sticky()
    assert (await sidecar.admin("GET", "/rollout"))["state"] == "holding"

    await world.local.fault(status=500)
    before = await traffic.until(lambda rollout: rollout["percent"] == 10 or surely_failing(rollout))
    since = time.monotonic()
    back = (
        before
        if before["percent"] == 10
        else await traffic.until(lambda rollout: rollout["percent"] == 10, calling=0)
    )
    assert time.monotonic() - since < 5, "it has to go back within 5 s of the evidence"
    assert (back["state"], back["actor"]) == ("rolled_back", "gate error_rate")
    assert "calls failed; the limit is 5 %" in back["reason"]

    entry = (await sidecar.admin("GET", "/audit"))["entries"][0]
    assert (entry["action"], entry["actor"], entry["old"], entry["new"]) == (
        "rollout.breach",
        "gate error_rate",
        30,
        10,
    )
    assert entry["reason"] == back["reason"]
    ledger = sidecar.sidecar.services.ledger
    await ledger.flush()
    (alert,) = await ledger.alerts.latest()
    assert alert.kind == "rollout"
    assert "went back from 30 % to 10 % by itself" in alert.text
    overview = await dashboard(sidecar, "")
    assert "went back from 30 % to 10 % by itself" in overview
    assert "The rollout went back to 10 % by itself, until somebody resumes it." in overview
    page = await dashboard(sidecar, "/rollout")
    assert "rolled back" in page
    assert back["reason"] in page
    await receiver.until(lambda: any(span.name == "rollout breach" for span in receiver.spans))
    span = next(span for span in receiver.spans if span.name == "rollout breach")
    assert span.failed
    assert span.attributes["sidecar.rollout.gate"] == "error_rate"
    assert (
        span.attributes["sidecar.rollout.from_percent"],
        span.attributes["sidecar.rollout.to_percent"],
    ) == (30, 10)

    await world.local.heal()
    await traffic.calls(60)
    await asyncio.sleep(1.2)
    assert (await sidecar.admin("GET", "/rollout"))["version"] == back["version"]
    assert (await sidecar.admin("POST", "/rollout/resume", {"reason": "mended"}))["state"] == "holding"


def surely_failing(rollout: Mapping[str, Any]) -> bool:
    """Whether the evidence for a breach is there."""
    return any(gate["state"] == "breached" for gate in rollout["gates"])


def scheduled(**schedule: Any) -> Mapping[str, Any]:
    gates = {"min_samples": 20, "error_rate_max": 0.05, "p95_ms_max": 60_000, "warn": {"p95_ms": 60_000}}
    return {
        "rollout": {
            **LEGACY,
            "percent": 10,
            "gates": gates,
            "schedule": {"enabled": True, "bake_s": 3_600, **schedule},
        },
    }


async def test_a_schedule_goes_to_its_end_over_a_restart_in_the_middle_of_a_bake(world: World) -> None:
    sidecar = await world.sidecar(scheduled(), hours_per_s=2.0)
    traffic = Traffic(sidecar)
    await traffic.until(lambda rollout: rollout["percent"] == 30)
    baking = await traffic.until(lambda rollout: rollout["schedule"]["baked_s"] > 1_000, calling=0)
    assert (baking["state"], baking["percent"]) == ("baking", 30)
    await sidecar.restart()
    again = await sidecar.admin("GET", "/rollout")
    assert (again["state"], again["percent"], again["version"]) == ("baking", 30, baking["version"])
    assert again["schedule"]["baked_s"] >= baking["schedule"]["baked_s"]
    done = await traffic.until(lambda rollout: rollout["state"] == "complete")
    await traffic.check_sticky()
    assert done["percent"] == 100
    events = [change["event"] for change in reversed(done["history"])]
    stage = ["baked", "advance", "arrive"]
    assert events == ["", "start", *stage * 3, "baked", "advance", "arrive_at_the_end"]
    moves = [change for change in done["history"] if change["from_percent"] != change["to_percent"]]
    assert [change["to_percent"] for change in reversed(moves)] == [10, 30, 50, 75, 100]
    assert {change["actor"] for change in moves[:-1]} == {"schedule"}
