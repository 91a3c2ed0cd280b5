"""Who gets in, what is refused, and what every answer carries."""

from __future__ import annotations

import re

import httpx
import pytest

from dashboard.action import Action
from dashboard.auth import FAILURES_MAX
from dashboard.pages import ACTIONS, PAGES
from tests.dashboard.stage import Stage, csrf_of, give_past, spend

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATHS = tuple(page.path for page in PAGES if "{" not in page.path)


def stranger(running: Stage, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"{running.base}/dashboard", headers=headers, trust_env=False, verify=False
    )


async def test_strangers_are_led_to_the_login_and_back(past: Stage) -> None:
    async with stranger(past) as client:
        for path in PATHS:
            answer = await client.get(path.rstrip("/"))
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/dashboard/login"), path
        answer = await client.get("/decisions?tier=openai")
        assert answer.headers["location"] == "/dashboard/login?then=%2Fdashboard%2Fdecisions%3Ftier%3Dopenai"
        given = {"token": past.services.admin_token, "then": "/dashboard/decisions?tier=openai"}
        answer = await client.post("/login", data=given)
        assert answer.headers["location"] == "/dashboard/decisions?tier=openai"


@pytest.mark.parametrize(
    "then",
    ["https://evil.test/dashboard", "//evil.test/dashboard", "/admin", "/dashboard\\..", "/dashboardx"],
)
async def test_a_login_leads_nowhere_else(past: Stage, then: str) -> None:
    async with stranger(past) as client:
        answer = await client.post("/login", data={"token": past.services.admin_token, "then": then})
        assert answer.headers["location"] == "/dashboard"


async def test_a_link_logs_in_once(past: Stage) -> None:
    link = past.link()
    async with stranger(past) as client:
        answer = await client.get(link)
        assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/dashboard" in cookie
        assert past.services.admin_token not in cookie
        assert (await client.get("")).status_code == 200
    async with stranger(past) as client:
        answer = await client.get(link)
        assert answer.status_code == 403
        assert "has been used" in answer.text


async def test_guessing_is_slowed_down(fresh: Stage) -> None:
    async with stranger(fresh) as client:
        for _ in range(FAILURES_MAX):
            assert (await client.post("/login", data={"token": "wrong"})).status_code == 403
        braked = await client.post("/login", data={"token": fresh.services.admin_token})
        assert braked.status_code == 429
        assert 0 < int(braked.headers["retry-after"]) <= 60


async def test_logging_out_ends_the_session(past: Stage) -> None:
    async with past.client() as client:
        cookies = dict(client.cookies)
        page = await client.get("")
        await client.post("/logout", data={"csrf": csrf_of(page.text)})
        async with stranger(past) as thief:
            thief.cookies.update(cookies)
            assert (await thief.get("")).status_code == 303


async def test_every_answer_keeps_other_sites_out(past: Stage) -> None:
    async with past.client() as client:
        for path in (*PATHS, "/login", "/nowhere", "/decisions/none", "/decisions.csv"):
            answer = await client.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.test", "evil.test:4000", "127.0.0.1.evil.test", ""])
async def test_a_foreign_host_is_refused(past: Stage, host: str) -> None:
    async with stranger(past, host=host) as client:
        for path in ("", "/login", "/live/overview"):
            assert (await client.get(path)).status_code == 403
    async with httpx.AsyncClient(base_url=past.base, headers={**past.bearer, "host": host}) as client:
        assert (await client.get("/admin/status")).status_code == 403


@pytest.mark.parametrize("action", ACTIONS, ids=[action.path for action in ACTIONS])
async def test_a_change_needs_an_operator_a_token_and_our_own_page(past: Stage, action: Action) -> None:
    path = action.path
    async with stranger(past) as client:
        assert (await client.post(path, data={})).status_code == 401
    async with past.client() as client:
        assert (await client.post(path, data={})).status_code == 403
        assert (await client.post(path, data={"csrf": "0" * 64})).status_code == 403
        csrf = csrf_of((await client.get("")).text)
        for headers in (
            {"origin": "http://evil.test"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ):
            answer = await client.post(path, data={"csrf": csrf}, headers=headers)
            assert answer.status_code == 403, headers
        own = {"origin": past.base, "sec-fetch-site": "same-origin"}
        assert (await client.post(path, data={"csrf": csrf}, headers=own)).status_code == 400
    async with past.client() as operator:
        other = csrf_of((await operator.get("")).text)
    async with past.client() as client:
        assert (await client.post(path, data={"csrf": other})).status_code == 403, "another session's token"


async def test_a_viewer_sees_everything_and_changes_nothing(viewed: Stage) -> None:
    async with viewed.client("only-look-at-it") as client:
        for path in (*PATHS, "/rollout?to=75", "/budgets?edit=all-day", "/budgets?add=cap"):
            page = await client.get(path)
            assert page.status_code == 200
            forms = set(re.findall(r'<form method="post" action="([^"]+)"', page.text))
            assert forms <= {"/dashboard/theme", "/dashboard/logout", "/dashboard/policy#try"}, path
        csrf = csrf_of((await client.get("")).text)
        for action in ACTIONS:
            answer = await client.post(action.path, data={"csrf": csrf, "percent": "75", "version": "1"})
            assert answer.status_code == 403
            assert "Viewers" in answer.text
    assert viewed.services.rollout.current.percent == 30


async def test_static_files_are_kept_for_good_and_change_their_name(past: Stage) -> None:
    async with past.client() as client:
        urls = set(re.findall(r'(?:src|href)="(/dashboard/static/[^"]+)"', (await client.get("")).text))
        assert len(urls) >= 8
        for url in urls:
            answer = await client.get(past.base + url)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-type"].split(";")[0] in (
                "text/css",
                "text/javascript",
                "image/svg+xml",
            )
        stale = re.sub(r"/static/[0-9a-f]{12}/", "/static/000000000000/", next(iter(urls)))
        assert (await client.get(past.base + stale)).status_code == 404
        assert (await client.get("/static/../../pyproject.toml")).status_code == 404


async def test_what_is_not_there_says_so(past: Stage) -> None:
    async with past.client() as client:
        answer = await client.get("/decisions/no-such-call")
        assert answer.status_code == 404
        assert "There is no decision" in answer.text
        answer = await client.get("/nowhere/at/all")
        assert answer.status_code == 404
        assert "There is no such page" in answer.text
        answer = await client.get("/decisions?since=yesterday")
        assert answer.status_code == 200
        assert "neither ISO 8601 nor Unix seconds" in answer.text


async def test_wrong_values_are_refused_in_words(fresh: Stage) -> None:
    async with fresh.client() as client:
        csrf = csrf_of((await client.get("/rollout")).text)
        for path, fields, words in (
            ("/rollout", {"percent": "101", "version": "1"}, "0 to 100"),
            ("/rollout", {"percent": "50"}, "version"),
            ("/rollout", {"percent": "50", "version": "9"}, "Meanwhile"),
            ("/budgets/set", {"name": "all-day", "usd": "-1", "expected_usd": "10"}, "got -1"),
            ("/budgets/set", {"name": "gone", "usd": "1", "expected_usd": "10"}, "removed the cap gone"),
            ("/budgets/add", {"name": "all-day", "tier": "*", "period": "day", "usd": "1"}, "already"),
            ("/budgets/add", {"name": "x", "tier": "none", "period": "day", "usd": "1"}, "there is no tier"),
            ("/budgets/add", {"name": "x", "tier": "*", "period": "week", "usd": "1"}, "week"),
            ("/budgets/release", {"hold": "99"}, "released already"),
        ):
            answer = await client.post(path, data={"csrf": csrf, **fields})
            assert answer.status_code in (400, 409), path
            assert "Not changed." in answer.text
            assert words in answer.text, fields
    assert [entry.action for entry in (await fresh.services.audit.page()).entries] == []


async def test_a_rejected_configuration_is_on_every_page(fresh: Stage) -> None:
    fresh.path.write_text("tiers: {}\nnonsense: 1\n")
    await fresh.services.settings.look()
    await fresh.services.settings.look()
    async with fresh.client() as client:
        for path in PATHS:
            assert "The changed configuration is not applied" in (await client.get(path)).text, path
        assert "nonsense" in (await client.get("/policy")).text


async def test_secrets_are_on_no_page(past: Stage) -> None:
    async with past.client() as client:
        for path in PATHS:
            page = (await client.get(path)).text
            for secret in ("cloud-secret-key", "openai-secret-key", past.services.admin_token):
                assert secret not in page, path


async def test_a_released_hold_counts_no_more(fresh: Stage) -> None:
    await give_past(fresh.services, calls=5)
    await spend(fresh.services, "openai", 3_000_000_000, "lost", unknown=True)
    await fresh.services.ledger.flush()
    (hold,) = await fresh.services.ledger.unreconciled()
    async with fresh.client() as client:
        csrf = csrf_of((await client.get("/budgets")).text)
        await client.post("/budgets/release", data={"csrf": csrf, "hold": str(hold.id)})
        page = await client.get("/budgets")
        assert "The hold is released" in page.text
        assert "The hold is released" not in (await client.get("/budgets")).text
    assert await fresh.services.ledger.unreconciled() == []
    (entry,) = (await fresh.services.audit.page()).entries
    assert (entry.action, entry.old, entry.new) == ("hold.release", "unreconciled", "released")
