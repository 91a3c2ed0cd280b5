"""Everything that goes wrong upstream, on both lanes, at both doors, plain and streamed."""

from __future__ import annotations

import itertools
import json
import sqlite3
from pathlib import Path

import httpx
import msgspec
import pytest

from sidecar.core.vocabulary import Lane, Outcome
from sidecar.demo.scripted.faults import Fault
from sidecar.wire.error_body import error_words
from tests.rig.fault_table import ROWS, Ending, Row, page
from tests.rig.upstream import RefusedPort
from tests.rig.world import CHAT, CRITICAL, HIGH, RunningSidecar, World, chat

OLLAMA = "/api/chat"


class Way(msgspec.Struct, frozen=True):
    """A way through the sidecar: by door and headers to a first tier on a lane, behind it the next tier."""

    door: str
    headers: dict[str, str]
    lane: Lane
    first: str
    then: str


WAYS = (
    Way(CHAT, CRITICAL, Lane.RELAY, "openai", "ollama_cloud"),
    Way(OLLAMA, HIGH, Lane.RELAY, "ollama_cloud", "local_ollama"),
    Way(CHAT, HIGH, Lane.ANY_LLM, "ollama_cloud", "local_ollama"),
    Way(OLLAMA, CRITICAL, Lane.ANY_LLM, "openai", "ollama_cloud"),
)


def test_the_page_says_what_is_tested() -> None:
    path = Path(__file__).parents[2] / "docs" / "faults.md"
    assert path.read_text() == page(), "write it anew: python -m tests.rig.fault_table > docs/faults.md"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
async def test_a_fault_ends_as_the_table_says(world: World, refused_port: RefusedPort, row: Row) -> None:
    addresses = {
        "refused": refused_port.url,
        "dns": "http://there-is-none.invalid",
        "tls": world.local.url.replace("http://", "https://"),
    }
    first_byte_s = 0.25 if row.fault == "timeout" else 20.0
    sidecar = await world.sidecar()
    await sidecar.warm()
    good = {name: sidecar.config["tiers"][name]["base_url"] for name in ("openai", "ollama_cloud")}
    bad = {name: addresses[row.address] + ("/v1" if name == "openai" else "") for name in good if row.address}
    calls: list[str] = []
    for number, (way, stream) in enumerate(itertools.product(WAYS, (False, True))):
        if (fault := row.stream if stream else row.plain) is None:
            continue
        faulty = world.openai if way.first == "openai" else world.cloud
        await faulty.heal()
        if fault:
            await faulty.fault(**fault)
        # A changed tier is built anew, so that no breaker remembers the call before.
        fresh = {
            name: {"base_url": url, "timeouts": {"first_byte_s": 20.0}, "queue": {"max": 50 + number}}
            for name, url in good.items()
        }
        fresh[way.first] |= {"timeouts": {"first_byte_s": first_byte_s}} | (
            {"base_url": bad[way.first]} if bad else {}
        )
        await sidecar.reload({"tiers": fresh})
        response = await sidecar.http.post(
            way.door, json=chat(stream=stream, max_tokens=40), headers=way.headers
        )
        await check(sidecar, row, way, stream, response)
        calls.append(response.headers["x-sidecar-request-id"])
        assert sorted(record.request_id for record in await sidecar.records()) == sorted(calls)
        await faulty.heal()


async def check(sidecar: RunningSidecar, row: Row, way: Way, stream: bool, response: httpx.Response) -> None:
    where = f"{way.lane} {way.door} {'stream' if stream else 'plain'}: {response.text[:300]}"
    record = await sidecar.record(response)
    first = record.attempts[0]
    assert (first.tier, first.lane, first.fault) == (way.first, way.lane, row.fault), where
    # A free tier holds nothing.
    then = ["reported"] if row.ending is Ending.NEXT and way.then != "local_ollama" else []
    assert await settlements(sidecar, record.request_id) == [row.settlement, *then], where
    assert response.status_code == row.status, where
    if row.ending is Ending.NEXT:
        assert [attempt.tier for attempt in record.attempts] == [way.first, way.then], where
        assert response.headers["x-sidecar-fallback"] == way.first, where
        assert response.headers["x-sidecar-tier"] == way.then, where
        assert record.outcome is Outcome.COMPLETE, where
        assert well_formed(way.door, stream, response), where
        return
    # It is the first tier's own answer, and no other was tried before it.
    assert len(record.attempts) == 1, where
    assert "x-sidecar-fallback" not in response.headers, where
    assert response.headers["x-sidecar-tier"] == way.first, where
    if row.ending is Ending.BROKEN:
        assert (record.outcome, record.error_code) == (Outcome.UPSTREAM_FAILED, "upstream_failed"), where
        assert is_error(way.door, last_event(response)), where
        assert response.text.count('"error"') == 1, where
        assert "[DONE]" not in response.text, where
    else:
        assert error_words(json.loads(response.text)["error"]) == words_of(row), where
        assert is_error(way.door, response.text), where
        assert record.outcome is Outcome.COMPLETE_WITHOUT_USAGE, where


def words_of(row: Row) -> str:
    """What the scripted upstream says, whose caller is to read just that."""
    refusal = Fault(**(row.plain or {})).refusal
    assert refusal is not None
    return refusal.message


async def settlements(sidecar: RunningSidecar, request_id: str) -> list[str]:
    """What became of a call's holds, in the order of its attempts."""
    await sidecar.sidecar.services.ledger.flush()
    path = Path(sidecar.sidecar.current.settings.data_dir) / "ledger.sqlite"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [
            str(state)
            for (state,) in connection.execute(
                "SELECT state FROM ledger_holds WHERE request_id = ? ORDER BY attempt", (request_id,)
            )
        ]
    finally:
        connection.close()


def last_event(response: httpx.Response) -> str:
    return response.text.strip().split("\n")[-1].removeprefix("data: ")


def is_error(door: str, text: str) -> bool:
    error = json.loads(text)["error"]
    return isinstance(error, str) if door == OLLAMA else isinstance(error["message"], str)


def well_formed(door: str, stream: bool, response: httpx.Response) -> bool:
    """Whether it is a whole answer of the door's dialect."""
    if door == OLLAMA:
        return bool(json.loads(last_event(response))["done"])
    if stream:
        return response.text.endswith("data: [DONE]\n\n")
    return bool(response.json()["choices"][0]["message"]["content"])
