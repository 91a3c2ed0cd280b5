"""Whatever an app, a model or an upstream wrote is text on a page, and the layout holds."""

from __future__ import annotations

import random
import time

import pytest
from playwright.async_api import Browser, expect

from sidecar.core.vocabulary import Attempt, Hints, Lane, Outcome, Quality
from tests.dashboard.conftest import Reader
from tests.dashboard.stage import Stage, record, spend

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    '"><b id=planted>bold</b>',
    "' autofocus onfocus=alert(1) x='",
    "{{ 7 * 7 }}{% raw %}",
    "</template></hx-partial><p id=planted hx-get=/dashboard/audit hx-trigger=load>",
    "\x00\x07\x1b[31mred\x7f",
    "line\r\ndata: <p id=planted>\r\n\r\nevent: x",
    "\u202egnp.exe\u2066\u200b",
    "W" * 10_000,
    "=cmd|' /C calc'!A0",
    "\ud83d",
)


@pytest.mark.asyncio(loop_scope="session")
async def test_foreign_texts_are_shown_as_texts(chromium: Browser, fresh: Stage) -> None:
    services = fresh.services
    for number, text in enumerate(HOSTILE):
        plain = record(1, time.time_ns(), dice=random.Random(number))
        features = plain.features
        hostile = type(features)(
            **{
                **{name: getattr(features, name) for name in features.__struct_fields__},
                "model": text,
                "hints": Hints(quality=Quality.HIGH, session=text, app=text, complexity_why=text),
            }
        )
        services.log.record(
            record(
                1,
                time.time_ns(),
                dice=random.Random(number),
                features=hostile,
                model=text,
                session=text,
                app=text,
                error_code=text,
                outcome=Outcome.UPSTREAM_FAILED,
                attempts=(Attempt("openai", text, Lane.RELAY, 1.0, 2.0, None, 500, "server_error", text),),
            )
        )
        if "\ud83d" not in text:
            await spend(services, "openai", 15_000_000, f"r{number}", app=text)
    await services.log.flush()
    await services.ledger.flush()
    await services.set_percent(50, actor=HOSTILE[0], reason=HOSTILE[6])
    shown = (await services.search.page(limit=50)).decisions
    async with (
        Reader(chromium, fresh) as reader,
        Reader(chromium, fresh, viewport={"width": 390, "height": 844}) as phone,
    ):
        await reader.log_in()
        await phone.log_in()
        details = [f"/decisions/{row.request_id}" for row in shown]
        for path in (
            "",
            "/decisions",
            "/decisions?q=%3Cscript%3E&tier=%3Cb%3E",
            "/rollout",
            "/budgets",
            "/tiers",
            "/audit",
            *details,
        ):
            page = await reader.see(path)
            assert await reader.overflow() <= 0, path
            assert await page.locator("#planted, main script, main img, b").count() == 0, path
        for path in ("", "/decisions", "/budgets", "/audit", details[-1]):
            await phone.see(path)
            assert await phone.overflow() <= 0, path
        page = await reader.see("/decisions")
        await expect(page.locator("[data-live-state][data-state=on]")).to_be_visible()
        await expect(page.get_by_role("cell", name="<script>alert(1)</script>").first).to_be_visible()
        await expect(page.get_by_role("cell", name="{{ 7 * 7 }}{% raw %}").first).to_be_visible()
        await expect(page.get_by_role("cell", name="\\u202egnp.exe").first).to_be_visible()
        assert reader.noticed == phone.noticed == []


@pytest.mark.asyncio(loop_scope="session")
async def test_exports_do_not_run_in_a_spreadsheet(fresh: Stage) -> None:
    fresh.services.log.record(
        record(1, time.time_ns(), dice=random.Random(1), app="=HYPERLINK(1)", session="a\nb")
    )
    await fresh.services.log.flush()
    async with fresh.client() as client:
        csv = (await client.get("/decisions.csv")).text
        plain = (await client.get("/decisions.json")).json()
        wrong = await client.get("/decisions.csv?tier=openai&nonsense=1")
    assert "'=HYPERLINK(1)" in csv
    assert plain[0]["app"] == "=HYPERLINK(1)"
    assert wrong.status_code == 400
