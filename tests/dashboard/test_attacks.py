"""What another site, another program or a guest might try on an operator's browser does not work."""

from __future__ import annotations

import csv
import io
import random
import time
from pathlib import Path

import httpx
import pytest

from dashboard.auth import FAILURES_MAX
from tests.dashboard.stage import Stage, record, stage
from tests.dashboard.test_router import stranger

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: What browsers say of an image, a frame, a script and a page that is fetched ahead.
UNSEEN = (
    {"sec-fetch-dest": "image", "sec-fetch-site": "cross-site"},
    {"sec-fetch-dest": "iframe", "sec-fetch-site": "cross-site"},
    {"sec-fetch-dest": "script", "sec-fetch-site": "same-site"},
    {"sec-fetch-dest": "document", "sec-fetch-site": "none", "sec-purpose": "prefetch;prerender"},
)


async def test_another_site_cannot_use_up_links_or_lock_the_operator_out(fresh: Stage) -> None:
    link = fresh.link()
    async with stranger(fresh) as client:
        for headers in UNSEEN:
            assert (await client.get(link, headers=headers)).status_code == 403
            for _ in range(FAILURES_MAX):
                answer = await client.get("/login", params={"token": "wrong"}, headers=headers)
                assert answer.status_code == 403
        for _ in range(FAILURES_MAX):
            answer = await client.post("/login", data={"token": "x"}, headers={"origin": "http://evil.test"})
            assert answer.status_code == 403
        assert (await client.get(link)).status_code == 303


async def test_a_link_on_another_site_leads_in_and_keeps_the_session(past: Stage) -> None:
    """Browsers hold strict cookies back for such a visit; a page of ours asks again."""
    elsewhere = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}
    async with stranger(past) as client:
        page = await client.get("/decisions?tier=openai&q=a%22b", headers=elsewhere)
        assert page.status_code == 200
        assert 'content="0; url=/dashboard/decisions?tier=openai&amp;q=a%22b"' in page.text
        begun = await client.get(past.link(), headers=elsewhere)
        assert 'content="0; url=/dashboard"' in begun.text
        assert (await client.get("")).status_code == 200
        assert (await client.post("/logout", headers=elsewhere)).status_code == 403


async def test_a_session_is_new_with_each_login_and_the_old_one_ends(past: Stage) -> None:
    chosen = "0" * 64
    async with stranger(past) as client:
        client.cookies.set(f"aegis-session-{past.port}", chosen, domain="127.0.0.1", path="/dashboard")
        assert (await client.get("")).status_code == 303
        await client.get(past.link())
        first = client.cookies[f"aegis-session-{past.port}"]
        assert first != chosen
        await client.post("/login", data={"token": past.services.admin_token})
        assert client.cookies[f"aegis-session-{past.port}"] != first
    async with stranger(past, cookie=f"aegis-session-{past.port}={first}") as thief:
        assert (await thief.get("")).status_code == 303


async def test_two_sidecars_in_one_browser_do_not_log_each_other_out(past: Stage, tmp_path: Path) -> None:
    directory = tmp_path / "other"
    directory.mkdir()
    async with stage(directory) as other, httpx.AsyncClient(trust_env=False) as browser:
        for running in (past, other):
            assert (await browser.get(running.link())).status_code == 303
        for running in (past, other):
            assert (await browser.get(f"{running.base}/dashboard")).status_code == 200


@pytest.mark.parametrize(
    "back", ["https://evil.test/", "//evil.test/dashboard", "/dashboard\r\nset-cookie: a=b"]
)
async def test_the_theme_leads_nowhere_else(past: Stage, back: str) -> None:
    async with stranger(past) as client:
        answer = await client.post("/theme", data={"theme": "dark", "back": back})
        assert answer.headers["location"] == "/dashboard"
        assert "a=b" not in answer.headers["set-cookie"]
        answer = await client.post("/theme", data={"theme": "dark;path=/"})
        assert "path=/;" not in answer.headers["set-cookie"].replace(" ", "").lower()


async def test_no_cell_of_an_export_is_a_formula(fresh: Stage) -> None:
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", "\uff20x"]
    for number, text in enumerate(texts):
        changes = {"app": text, "session": text, "model": text, "error_code": text}
        fresh.services.log.record(record(1, time.time_ns(), dice=random.Random(number), **changes))
    await fresh.services.log.flush()
    async with fresh.client() as client:
        answer = await client.get("/decisions.csv", params={"tier": "local_ollama\r\nx-evil: 1"})
        assert "x-evil" not in answer.headers
        assert answer.headers["content-disposition"] == 'attachment; filename="decisions.csv"'
        answer = await client.get("/decisions.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    for text, row in zip(reversed(texts), rows, strict=True):
        assert [row[name] for name in ("app", "session", "model", "error_code")] == ["'" + text] * 4


async def test_an_export_holds_what_the_page_shows(fresh: Stage) -> None:
    made = [record(number, time.time_ns(), dice=random.Random(number)) for number in range(3)]
    for one in made:
        fresh.services.log.record(one)
    await fresh.services.log.flush()
    async with fresh.client() as client:
        by_id = (await client.get("/decisions.json", params={"q": made[1].request_id})).json()
        by_session = (await client.get("/decisions.json", params={"q": made[1].session})).json()
    assert [row["request_id"] for row in by_id] == [made[1].request_id]
    assert len(by_session) == 3


async def test_odd_requests_are_refused_and_nothing_breaks(past: Stage) -> None:
    async with past.client() as client:
        for method, path, status in (
            ("DELETE", "", 405),
            ("PUT", "/rollout", 405),
            ("GET", "/rollout%00", 404),
            ("GET", "/decisions/..%2f..%2fadmin", 404),
            ("GET", "/static/%2e%2e/%2e%2e/pyproject.toml", 404),
            ("POST", "/policy", 403),
        ):
            assert (await client.request(method, path)).status_code == status, path
        answer = await client.post(
            "/rollout",
            content=b"csrf=" + b"a" * 2_000_000,
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code == 413
        answer = await client.get("", headers={"cookie": "aegis-zone=../../etc/passwd"})
        assert answer.status_code == 303
        client.cookies.set("aegis-zone", "../../etc/passwd", path="/dashboard")
        assert (await client.get("/audit")).status_code == 200
