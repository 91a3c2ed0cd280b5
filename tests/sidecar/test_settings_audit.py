"""What a changed configuration file changed, or would have, is in the audit log, old and new."""

from __future__ import annotations

from typing import Any

from tests.rig.world import RunningSidecar, World

DAY_CAP = {"name": "all-day", "tier": "*", "period": "day", "usd": 10}


async def newest(sidecar: RunningSidecar) -> dict[str, Any]:
    entries: list[dict[str, Any]] = (await sidecar.admin("GET", "/audit"))["entries"]
    return entries[0]


async def test_a_reloaded_file_is_audited_key_by_key(world: World) -> None:
    sidecar = await world.sidecar({"budgets": {"caps": [DAY_CAP]}})
    rules = sidecar.config["routing"]["rules"]
    raised, moved = [{**DAY_CAP, "usd": 25}], [{**rules[0], "tier": "ollama_cloud"}, *rules[1:-1]]
    await sidecar.reload({"budgets": {"caps": raised}, "routing": {"rules": moved}})
    entry = await newest(sidecar)
    assert (entry["actor"], entry["action"]) == ("configuration file", "settings.applied")
    assert entry["reason"] == str(sidecar.path)
    gone = "routing.rules.batch_processing"
    assert set(entry["old"]) == {"budgets.caps.all-day.usd", "routing.rules.critical_quality.tier", gone}
    assert (float(entry["old"]["budgets.caps.all-day.usd"]), entry["new"][gone]) == (10, None)
    assert float(entry["new"]["budgets.caps.all-day.usd"]) == 25
    assert entry["old"][gone]["tier"] == "ollama_cloud"
    assert entry["new"]["routing.rules.critical_quality.tier"] == "ollama_cloud"


async def test_of_a_secret_it_says_only_that_it_was_replaced(world: World) -> None:
    sidecar = await world.sidecar()
    await sidecar.reload({"tiers": {"openai": {"api_key": "another-key"}}})
    entry = await newest(sidecar)
    assert entry["old"] == {"tiers.openai.api_key": "(hidden)"}
    assert entry["new"] == {"tiers.openai.api_key": "(hidden, another one)"}
    await sidecar.reload({"tiers": {"openai": {"api_key": ""}}})
    entry = await newest(sidecar)
    assert (entry["old"]["tiers.openai.api_key"], entry["new"]["tiers.openai.api_key"]) == ("(hidden)", "")


async def test_a_refused_file_is_audited_with_its_problems_and_changes_nothing(world: World) -> None:
    sidecar = await world.sidecar()
    await sidecar.reload({"routing": {"default": "nowhere"}})
    entry = await newest(sidecar)
    assert (entry["action"], entry["old"]) == ("settings.rejected", None)
    (problem,) = entry["new"]["problems"]
    assert "routing.default" in problem
    assert "nowhere" in problem


async def test_a_file_that_means_the_same_is_no_change(world: World) -> None:
    sidecar = await world.sidecar()
    await sidecar.reload({})
    assert (await sidecar.admin("GET", "/audit"))["entries"] == []
