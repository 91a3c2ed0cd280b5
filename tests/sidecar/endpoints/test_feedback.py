"""Rating an answer by its request id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.rig.world import CHAT, PUBLIC, RunningSidecar, World, chat


async def test_an_answer_is_rated_and_the_latest_rating_counts(world: World) -> None:
    sidecar = await world.sidecar()
    answer = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
    request_id = answer.headers["x-sidecar-request-id"]
    for score in (0.2, 1):
        body = {"request_id": request_id, "score": score, "comment": "so"}
        response = await sidecar.http.post("/v1/feedback", json=body)
        assert (response.status_code, response.json()["score"]) == (200, score)
        assert response.headers["x-sidecar-request-id"]
    stored = await sidecar.sidecar.services.feedback.get(request_id)
    assert stored is not None
    assert stored.score == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"request_id": "none-such", "score": 0.5}, 404),
        ({"request_id": "x", "score": 1.1}, 400),
        ({"request_id": "x", "score": -1}, 400),
        ({"request_id": "x", "score": "good"}, 400),
        ({"request_id": "x"}, 400),
        ({"score": 1}, 400),
        ({"request_id": "x", "score": 1, "colour": "red"}, 400),
        ({"request_id": "x", "score": 1, "comment": "c" * 2_001}, 400),
    ],
)
async def test_what_cannot_be_rated_is_said_in_the_callers_dialect(
    world: World, body: Any, status: int
) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.post("/v1/feedback", json=body)
    assert response.status_code == status, response.text
    assert response.json()["error"]["message"]


@pytest.mark.parametrize("body", [b'{"request_id": "x", "score": 1}', b"{", b"x" * 3 * 2**20])
async def test_a_web_page_cannot_rate_nor_learn_what_a_rating_looks_like(world: World, body: bytes) -> None:
    sidecar = await world.sidecar({"limits": {"max_body_mb": 2}})
    response = await sidecar.http.post("/v1/feedback", content=body, headers={"origin": "https://evil.test"})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "cross_site_request")
    assert response.headers["x-sidecar-request-id"]


async def test_the_limit_of_calls_is_that_of_every_request(world: World) -> None:
    sidecar = await world.sidecar({"limits": {"max_body_mb": 1}})

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 2**19

    for path, headers in (("/v1/feedback", {}), ("/api/show", {}), ("/admin/scan", sidecar.bearer)):
        for content in (b" " * (2**20 + 1), pieces()):
            told = await sidecar.http.post(path, content=content, headers=headers)
            assert told.status_code == 413, path
            assert "limits.max_body_mb" in told.text
            if path != "/api/show":
                assert told.json()["error"]["code"] == "request_too_large"
    twelve_mb = b'{"text": "' + b"x" * 12 * 2**20 + b'"}'
    assert (
        await sidecar.http.post("/admin/scan", content=twelve_mb, headers=sidecar.bearer)
    ).status_code == 413
    await sidecar.reload({"limits": {"max_body_mb": 13}})
    assert (
        await sidecar.http.post("/admin/scan", content=twelve_mb, headers=sidecar.bearer)
    ).status_code == 200


async def rated(world_sidecar: RunningSidecar, request_id: str) -> float:
    """The score of a call, once it is there."""
    feedback = world_sidecar.sidecar.services.feedback
    for _ in range(500):
        stored = await feedback.get(request_id)
        if stored is not None:
            return stored.score
        await asyncio.sleep(0.02)
    raise AssertionError(f"{request_id} was not rated within 10 s")


async def test_an_answer_is_rated_in_the_next_call(world: World) -> None:
    sidecar = await world.sidecar()
    first, second = [
        (await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)).headers["x-sidecar-request-id"]
        for _ in range(2)
    ]
    said = {"x-sidecar-feedback": f"{first}=0.25, {second} = 1, none-such=0.5"}
    answer = await sidecar.http.post(CHAT, json=chat(), headers={**PUBLIC, **said})
    assert answer.status_code == 200
    assert [await rated(sidecar, first), await rated(sidecar, second)] == [0.25, 1]
    evidence = (await sidecar.admin("GET", "/rollout"))["evidence"]
    assert (evidence["routed"]["ratings"], evidence["legacy"]["ratings"]) == (2, 0)
    sent = {name.lower() for entry in await world.local.log() for name, _ in entry.headers}
    assert "x-sidecar-feedback" not in sent


@pytest.mark.parametrize(
    "header", ["x", "x=", "x=2", "x=-1", "x=nan", "=1", "x=1,y", "x" * 65 + "=1", ",".join(["x=1"] * 21)]
)
async def test_a_rating_that_is_none_is_refused_in_words(world: World, header: str) -> None:
    sidecar = await world.sidecar()
    answer = await sidecar.http.post(CHAT, json=chat(), headers={**PUBLIC, "x-sidecar-feedback": header})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_hint", "x-sidecar-feedback")
    assert "0 to 1" in error["message"] or "20 at most" in error["message"]
