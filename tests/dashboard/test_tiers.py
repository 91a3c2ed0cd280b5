"""An operator takes a tier out of service on its page and puts it back, and sees what that changes first."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from sidecar.core.vocabulary import Arm
from tests.dashboard.conftest import Reader
from tests.dashboard.stage import Stage, csrf_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_tier_goes_out_of_service_and_back(chromium: Browser, fresh: Stage) -> None:
    async with Reader(chromium, fresh) as reader:
        await reader.log_in()
        page = await reader.see("/tiers")
        await page.get_by_role("link", name="Take out of service OpenAI").click()
        asked = page.get_by_role("region", name="Take OpenAI out of service?")
        await expect(asked).to_contain_text(
            "Calls for which “critical quality” and “very high complexity” ask"
        )
        await expect(asked).to_contain_text("go to Ollama Cloud or Local Ollama instead")
        await page.get_by_label("Why").fill("the bill is odd")
        await page.get_by_role("button", name="Take it out").click()
        await expect(page.get_by_role("status")).to_contain_text("OpenAI is out of service")
        card = page.get_by_label("OpenAI", exact=True)
        await expect(card).to_contain_text("taken out of service by dashboard operator: the bill is odd")
        await expect(page.locator("#health")).to_contain_text("OpenAI is off")
        trial = fresh.services.try_call("hello", "auto", {"quality": "critical"})
        assert trial.features.arm is Arm.ROUTED
        assert "openai" not in [planned.tier for planned in trial.decision.plan]

        await page.get_by_role("link", name="Put back into service OpenAI").click()
        await page.get_by_role("button", name="Put it back").click()
        await expect(page.get_by_role("status")).to_contain_text("OpenAI is back in service")
        page = await reader.see("/audit")
        did = await page.locator("table.rows tbody td:nth-child(3)").all_inner_texts()
        assert did == ["put a tier back into service", "took a tier out of service"]
        assert reader.noticed == []


async def test_two_operators_and_a_tier(fresh: Stage) -> None:
    async with fresh.client() as client:
        form = {"csrf": csrf_of((await client.get("/tiers?out=openai")).text), "tier": "openai"}
        assert (await client.post("/tiers/out", data=form)).status_code == 303
        again = await client.post("/tiers/out", data=form)
        assert again.status_code == 409
        assert "Meanwhile OpenAI was taken out of service by dashboard operator" in again.text
        assert (await client.post("/tiers/back", data=form)).status_code == 303
        again = await client.post("/tiers/back", data=form)
        assert again.status_code == 409
        gone = await client.post("/tiers/out", data={**form, "tier": "gone"})
        assert gone.status_code == 409
        assert "no tier" in gone.text
        long = await client.post("/tiers/out", data={**form, "reason": "w" * 201})
        assert long.status_code == 400
        assert "201 characters" in long.text


async def test_the_only_tier_on_this_machine_goes_with_a_warning(fresh: Stage) -> None:
    async with fresh.client() as client:
        page = (await client.get("/tiers?out=local_ollama")).text
        assert "embeddings and calls that may not leave are refused" in page
        assert "Calls that are not part of the rollout yet went there too" in page
        assert "Take it out" not in (await client.get("/tiers?out=none")).text
        assert "Put it back" not in (await client.get("/tiers?back=openai")).text
