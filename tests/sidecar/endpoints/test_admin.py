"""The operators' JSON API: who may use it, what it shows, and that a change is checked, kept and audited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.rig.serving import ServedSidecar
from tests.rig.upstream import ScriptedUpstream
from tests.rig.world import CHAT, CRITICAL, HIGH, PUBLIC, RunningSidecar, World, chat

READS = [
    "/rollout",
    "/decisions",
    "/decisions/x",
    "/tiers",
    "/audit",
    "/status",
    "/budgets",
    "/holds",
    "/spend",
]
NO_TOKENS: dict[str, Any] = {
    "missing": {},
    "empty": {"authorization": ""},
    "wrong": {"authorization": "Bearer wrong"},
    "of another scheme": {"authorization": "Basic d3Jvbmc6d3Jvbmc="},
    "not UTF-8": {"authorization": b"Bearer \xff\xfe"},
    "in the query": {},
}


async def put_rollout(sidecar: RunningSidecar, body: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await sidecar.http.put("/admin/rollout", content=content, headers=sidecar.bearer)


async def decisions(sidecar: RunningSidecar, **query: Any) -> list[dict[str, Any]]:
    """Every page of what ``/admin/decisions`` finds, two to a page."""
    await sidecar.sidecar.services.log.flush()
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        response = await sidecar.http.get(
            "/admin/decisions", params={"limit": 2, **query, **cursor}, headers=sidecar.bearer
        )
        assert response.status_code == 200, response.text
        page = response.json()
        assert len(page["decisions"]) <= 2
        found += page["decisions"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def test_nobody_without_the_token_sees_or_changes_anything(world: World) -> None:
    sidecar = await world.sidecar()
    for headers in NO_TOKENS.values():
        params = {"token": sidecar.sidecar.services.admin_token}
        told = [await sidecar.http.get(f"/admin{path}", headers=headers, params=params) for path in READS]
        told.append(await sidecar.http.put("/admin/rollout", json={"percent": 1}, headers=headers))
        for response in told:
            assert response.status_code == 401, response.url
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.json()["error"]["code"] == "unauthorized"
            assert params["token"] not in response.text
    assert (await sidecar.admin("GET", "/rollout"))["percent"] == 100
    scheme = {"authorization": f"bearer {sidecar.sidecar.services.admin_token}"}
    assert (await sidecar.http.get("/admin/rollout", headers=scheme)).status_code == 200


async def test_what_an_operator_sees_first(world: World) -> None:
    sidecar = await world.sidecar()
    rollout = await sidecar.admin("GET", "/rollout")
    assert (rollout["percent"], rollout["version"]) == (100, 1)
    tiers = {tier["name"]: tier for tier in (await sidecar.admin("GET", "/tiers"))["tiers"]}
    assert list(tiers) == ["local_ollama", "ollama_cloud", "openai"]
    assert [tiers[name]["off_box"] for name in tiers] == [False, True, True]
    assert all(tier["on"] for tier in tiers.values())
    status = await sidecar.admin("GET", "/status")
    assert status["settings"]["rejected"] is None
    assert status["settings"]["file"] == str(sidecar.path)
    assert (status["rollout"]["percent"], status["rollout"]["warning"]) == (100, "")
    assert await sidecar.admin("GET", "/audit") == {"entries": [], "next_cursor": None}
    assert await sidecar.admin("GET", "/decisions") == {"decisions": [], "next_cursor": None}
    everything = [json.dumps(await sidecar.admin("GET", path)) for path in READS if path != "/decisions/x"]
    for secret in ("cloud-key", "openai-key", sidecar.sidecar.services.admin_token):
        assert secret not in "".join(everything)


async def test_decisions_are_found_by_what_they_are(world: World) -> None:
    sidecar = await world.sidecar()
    for headers in (PUBLIC, CRITICAL, HIGH, {"x-sidecar-data-classification": "pii"}, PUBLIC):
        response = await sidecar.http.post(CHAT, json=chat(), headers={**headers, "x-sidecar-app": "shop"})
        assert response.status_code == 200
    await sidecar.http.post("/v1/embeddings", json={"model": "bge-m3", "input": "x"})
    newest_first = await decisions(sidecar)
    assert len(newest_first) == 6
    assert newest_first[0]["reason"] == "embedding_local_only"
    started = [line["started_ns"] for line in newest_first]
    assert started == sorted(started, reverse=True)
    for query, count in (
        ({"tier": "openai"}, 1),
        ({"tier": "local_ollama"}, 4),
        ({"tier": "local_ollama", "app": "shop"}, 3),
        ({"reason": "high_quality"}, 1),
        ({"arm": "routed"}, 6),
        ({"arm": "legacy"}, 0),
        ({"outcome": "complete"}, 6),
        ({"verdict": "SENSITIVE"}, 1),
        ({"tier": "", "arm": ""}, 6),
        ({"request_id": response.headers["x-sidecar-request-id"]}, 1),
        ({"since": started[3] / 1e9 - 1e-6}, 4),
        ({"until": "2001-01-01T00:00:00Z"}, 0),
        ({"min_cost_usd": "0.000001"}, 2),
    ):
        assert len(await decisions(sidecar, **query)) == count, query
    one = await sidecar.admin("GET", f"/decisions/{newest_first[4]['request_id']}")
    assert (one["arm"], one["reason"], one["tier"]) == ("routed", "critical_quality", "openai")
    assert [step["rule"] for step in one["trace"]][-1] == "critical_quality"
    assert one["trace"][-1]["applied"] is True


async def test_a_decision_is_there_with_the_answer_and_says_all_of_itself(world: World) -> None:
    sidecar = await world.sidecar()
    answer = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
    one = await sidecar.admin("GET", f"/decisions/{answer.headers['x-sidecar-request-id']}")
    assert (one["cost_nano_usd"], one["error_code"], one["passed_over"]) == (0, "", [])
    hints = one["features"]["hints"]
    assert (hints["quality"], hints["complexity"], hints["batch_size"], hints["session"]) == (
        ("medium", "low", 1, None)
    )
    assert one["features"]["verdict"]["kinds"] == {}
    assert [state["unavailable"] for state in one["tier_states"]] == ["", "", ""]
    assert one["attempts"][0]["fault"] == ""

    await sidecar.admin("PUT", "/tiers/local_ollama", {"in_service": False})
    refused = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
    one = await sidecar.admin("GET", f"/decisions/{refused.headers['x-sidecar-request-id']}")
    assert (one["tier"], one["model"], one["attempts"], one["usage"]) == ("", "", [], None)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=nonsense", "cursor"),
        ("colour=red", "colour"),
        ("arm=blue", "arm"),
        ("outcome=fine", "outcome"),
        ("since=yesterday", "since"),
        ("until=2026-01-01T00:00:00", "until"),
        ("min_cost_usd=cheap", "min_cost_usd"),
        ("status_class=9xx", "status_class"),
    ],
)
async def test_a_question_that_is_none_is_refused_by_name(world: World, query: str, named: str) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.get(f"/admin/decisions?{query}", headers=sidecar.bearer)
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]


async def test_what_is_not_there_is_a_404(world: World) -> None:
    sidecar = await world.sidecar()
    for path in ("/decisions/no-such", "/nothing", "/decisions/a/b"):
        response = await sidecar.http.get(f"/admin{path}", headers=sidecar.bearer)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    wrong = await sidecar.http.delete("/admin/rollout", headers=sidecar.bearer)
    assert wrong.status_code == 405
    assert set(wrong.headers["allow"].split(", ")) >= {"GET", "PUT"}


NO_PERCENTAGES: dict[str, Any] = {
    "below": {"percent": -1},
    "above": {"percent": 101},
    "not a number": b'{"percent": NaN}',
    "endless": b'{"percent": 1e999}',
    "a word": {"percent": "x"},
    "no number in quotes": {"percent": "NaN"},
    "too fine": {"percent": 10.123},
    "true": {"percent": True},
    "null": {"percent": None},
    "missing": {},
    "a key too many": {"percent": 30, "tier": "openai"},
    "a list": [30],
    "nothing": b"",
    "garbage": b"\xff\xfe",
    "a version that is a word": {"percent": 30, "expected_version": "one"},
}


async def test_a_percentage_that_is_none_is_refused(world: World) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 10}})
    for name, body in NO_PERCENTAGES.items():
        response = await put_rollout(sidecar, body)
        assert response.status_code == 400, (name, response.text)
        assert response.json()["error"]["message"], name
    assert (await sidecar.admin("GET", "/rollout"))["percent"] == 10
    assert (await sidecar.admin("GET", "/audit"))["entries"] == []


async def test_a_change_takes_effect_at_once_and_is_audited(world: World) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 0}})
    assert (await sidecar.http.post(CHAT, json=chat(model="x"))).headers["x-sidecar-arm"] == "legacy"
    changed = await put_rollout(sidecar, {"percent": 100, "reason": "ready", "expected_version": 1})
    assert (changed.json()["percent"], changed.json()["version"]) == (100, 2)
    assert (await sidecar.http.post(CHAT, json=chat())).headers["x-sidecar-arm"] == "routed"
    stale = await put_rollout(sidecar, {"percent": 50, "expected_version": 1})
    assert stale.status_code == 409
    assert "2" in stale.json()["error"]["message"]
    assert (await put_rollout(sidecar, {"percent": 100})).json()["version"] == 2
    assert (await put_rollout(sidecar, {"percent": 12.5})).json()["version"] == 3
    newest, oldest = (await sidecar.admin("GET", "/audit"))["entries"]
    assert (newest["old"], newest["new"], newest["reason"]) == (100, 12.5, "")
    assert (oldest["old"], oldest["new"], oldest["reason"]) == (0, 100, "ready")
    for entry in (newest, oldest):
        assert (entry["action"], entry["subject"], entry["actor"]) == (
            "rollout.set",
            "percent",
            "admin token",
        )
        assert entry["at_ns"] > 1_700_000_000 * 10**9
    page = await sidecar.admin("GET", "/audit?limit=1")
    assert page["entries"] == [newest]
    rest = await sidecar.admin("GET", f"/audit?limit=1&cursor={page['next_cursor']}")
    assert rest == {"entries": [oldest], "next_cursor": None}


def test_what_an_operator_set_survives_a_restart(
    upstream_processes: tuple[ScriptedUpstream, ScriptedUpstream, ScriptedUpstream], tmp_path: Path
) -> None:
    config = World(*upstream_processes, tmp_path).config({"rollout": {"percent": 10}})
    with ServedSidecar(config, tmp_path) as sidecar:
        token = sidecar.bearer
        sidecar.set_percent(30)
        # A busy machine may take its time to import what a routed call needs.
        called = httpx.post(
            f"{sidecar.openai_base}/chat/completions", json=chat(model="x"), trust_env=False, timeout=60
        )
        assert called.status_code == 200
    with ServedSidecar(config, tmp_path) as sidecar:
        assert sidecar.bearer == token
        with httpx.Client(base_url=f"{sidecar.base}/admin", headers=token, trust_env=False) as admin:
            rollout = admin.get("/rollout").json()
            assert (rollout["percent"], rollout["version"]) == (30, 2)
            assert [entry["new"] for entry in admin.get("/audit").json()["entries"]] == [30]
            (line,) = admin.get("/decisions").json()["decisions"]
            assert line["request_id"] == called.headers["x-sidecar-request-id"]
