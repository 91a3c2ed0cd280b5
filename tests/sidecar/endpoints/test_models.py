"""Which models there are, in both dialects, with the local Ollama up, down, or answering rubbish."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from sidecar import __version__
from tests.rig.answering import Answering
from tests.rig.upstream import RefusedPort
from tests.rig.world import RunningSidecar, World

OWN_NAMES = [
    "auto",
    "local_ollama/llama3.2",
    "llama3.2",
    "local_ollama/nomic-embed-text",
    "nomic-embed-text",
    "ollama_cloud/gpt-oss:120b",
    "gpt-oss:120b",
    "openai/gpt-4o",
    "gpt-4o",
]
RUBBISH: list[dict[str, Any]] = [
    {"body": "garbage"},
    {"body": "html"},
    {"body": "empty"},
    {"status": 500},
    {"close": True},
    {"truncate": True},
    {"redirect": "http://127.0.0.1:9/api/tags"},
]


#: What the scripted Ollama has; a tier's own and pins to it come with them.
PULLED = [
    f"{pin}scripted-{kind}:latest" for kind in ("small", "large", "embed") for pin in ("local_ollama/", "")
]


async def get(sidecar: RunningSidecar, path: str) -> Any:
    response = await sidecar.http.get(path)
    assert response.status_code == 200, response.text
    return response.json()


async def names(sidecar: RunningSidecar) -> list[str]:
    return [model["name"] for model in (await get(sidecar, "/api/tags"))["models"]]


async def show(sidecar: RunningSidecar, **body: Any) -> httpx.Response:
    return await sidecar.http.post("/api/show", json=body)


async def test_openais_list_names_auto_each_tiers_models_and_pins(world: World) -> None:
    sidecar = await world.sidecar()
    listed = await get(sidecar, "/v1/models")
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == [*OWN_NAMES, *PULLED]
    for model in listed["data"]:
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
        # An id may hold a slash, written as it is or escaped.
        assert await get(sidecar, f"/v1/models/{model['id']}") == model
        assert await get(sidecar, f"/v1/models/{model['id'].replace('/', '%2F')}") == model
    owners = {model["id"]: model["owned_by"] for model in listed["data"]}
    assert (owners["auto"], owners["openai/gpt-4o"], owners["llama3.2"]) == (
        "sidecar",
        "openai",
        "local_ollama",
    )
    for unknown in ("gpt-none", "openai/llama3.2", "a/b/c", "x" * 1_000):
        response = await sidecar.http.get(f"/v1/models/{unknown}")
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "model_not_found"
        assert len(response.text) < 500
    assert not await world.openai.log()


async def test_a_tier_that_is_off_offers_nothing(world: World) -> None:
    sidecar = await world.sidecar({"tiers": {"openai": {"api_key": ""}}})
    listed = {model["id"] for model in (await get(sidecar, "/v1/models"))["data"]}
    assert listed == {*OWN_NAMES, *PULLED} - {"openai/gpt-4o", "gpt-4o"}
    assert (await sidecar.http.get("/v1/models/openai/gpt-4o")).status_code == 404


async def test_a_tier_out_of_service_offers_nothing_until_it_is_back(world: World) -> None:
    sidecar = await world.sidecar()

    async def listed() -> list[str]:
        return [model["id"] for model in (await get(sidecar, "/v1/models"))["data"]]

    await sidecar.admin("PUT", "/tiers/openai", {"in_service": False})
    assert not {"openai/gpt-4o", "gpt-4o"} & {*(await listed()), *(await names(sidecar))}
    assert (await sidecar.http.get("/v1/models/openai/gpt-4o")).status_code == 404
    await sidecar.admin("PUT", "/tiers/local_ollama", {"in_service": False})
    assert await listed() == ["auto", "ollama_cloud/gpt-oss:120b", "gpt-oss:120b"]
    assert await names(sidecar) == await listed()
    for tier in ("openai", "local_ollama"):
        await sidecar.admin("PUT", f"/tiers/{tier}", {"in_service": True})
    assert await listed() == [*OWN_NAMES, *PULLED]


async def test_a_model_of_the_apps_own_is_found_with_and_without_its_tag(world: World) -> None:
    sidecar = await world.sidecar()
    for name in ("scripted-large:latest", "scripted-large", "local_ollama/scripted-large"):
        model = await get(sidecar, f"/v1/models/{name}")
        assert (model["id"], model["owned_by"]) == (name, "local_ollama")


async def test_an_ollama_that_hangs_is_not_waited_for(world: World) -> None:
    sidecar = await world.sidecar()
    await world.local.fault(path="/api/tags", delay_s=20)
    began = time.monotonic()
    assert [model["id"] for model in (await get(sidecar, "/v1/models"))["data"]] == OWN_NAMES
    assert time.monotonic() - began < 5


async def test_questions_about_models_have_a_request_id_whatever_comes_of_them(world: World) -> None:
    sidecar = await world.sidecar()
    asked = [
        await sidecar.http.get(path)
        for path in (
            "/v1/models",
            "/v1/models/auto",
            "/v1/models/none",
            "/api/tags",
            "/api/ps",
            "/api/version",
        )
    ]
    asked += [await show(sidecar, model=name) for name in ("scripted-small", "openai/gpt-4o", "")]
    asked += [await sidecar.http.head(path) for path in ("/api/tags", "/api/version")]
    ids = [response.headers["x-sidecar-request-id"] for response in asked]
    assert len(set(ids)) == len(asked) == 11


async def test_who_asks_for_headers_alone_gets_those(world: World) -> None:
    sidecar = await world.sidecar()
    for path in ("/api/tags", "/api/version", "/health/live", "/health/ready"):
        response = await sidecar.http.head(path)
        assert (response.status_code, response.content) == (200, b""), path
    sidecar.sidecar.services.draining = True
    assert (await sidecar.http.head("/health/ready")).status_code == 503


async def test_with_ollama_up_its_own_words_are_told_and_ours_added(world: World) -> None:
    sidecar = await world.sidecar()
    tags = (await get(sidecar, "/api/tags"))["models"]
    assert [tag["name"] for tag in tags] == [
        "scripted-small:latest", "scripted-large:latest", "scripted-embed:latest", *OWN_NAMES
    ]  # fmt: skip
    assert all({"name", "model", "modified_at", "size", "digest", "details"} <= set(tag) for tag in tags)
    assert (await get(sidecar, "/api/version"))["version"] != f"0.0.0-sidecar.{__version__}"
    assert {model["name"] for model in (await get(sidecar, "/api/ps"))["models"]} == {
        "scripted-small:latest", "scripted-large:latest", "scripted-embed:latest"
    }  # fmt: skip
    own = await show(sidecar, model="scripted-small")
    assert own.json()["modelfile"] == "FROM scripted-small"
    assert (await show(sidecar, name="scripted-small")).json() == own.json()
    assert (await show(sidecar, model="auto")).json()["modelfile"] == "FROM llama3.2"
    assert (await show(sidecar, model="local_ollama/llama3.2")).json()["modelfile"] == "FROM llama3.2"
    assert not await world.cloud.log()


async def test_what_show_cannot_answer(world: World) -> None:
    sidecar = await world.sidecar()
    for body, words in (
        (b"", "the body is not valid JSON"),
        (b"garbage", "the body is not valid JSON"),
        (b"[]", "the body must be a JSON object"),
        (b'{"model": 3}', "model must be a string"),
        (b'{"model": ""}', "model must not be empty"),
        (b"{}", "model is required"),
    ):
        response = await sidecar.http.post("/api/show", content=body)
        assert (response.status_code, set(response.json())) == (400, {"error"}), body
        assert response.json()["error"].startswith(words)
    await world.local.fault(path="/api/show", status=404)
    response = await show(sidecar, model="no/such")
    assert response.status_code == 404
    assert set(response.json()) == {"error"}
    # A model of ours that the local Ollama does not have is somebody's elsewhere.
    assert (await show(sidecar, model="openai/gpt-4o")).json()["capabilities"] == ["completion"]


async def _assert_answers_without_ollama(sidecar: RunningSidecar) -> None:
    assert await names(sidecar) == OWN_NAMES
    assert await get(sidecar, "/api/ps") == {"models": []}
    assert await get(sidecar, "/api/version") == {"version": f"0.0.0-sidecar.{__version__}"}
    assert (await show(sidecar, model="openai/gpt-4o")).status_code == 200
    assert [model["id"] for model in (await get(sidecar, "/v1/models"))["data"]] == OWN_NAMES


async def test_with_ollama_down_our_own_names_are_told(world: World, refused_port: RefusedPort) -> None:
    sidecar = await world.sidecar({"tiers": {"local_ollama": {"base_url": refused_port.url}}})
    await _assert_answers_without_ollama(sidecar)
    unknown = await show(sidecar, model="no-such")
    assert (unknown.status_code, set(unknown.json())) == (404, {"error"})


async def test_with_ollama_answering_rubbish_our_own_names_are_told(world: World) -> None:
    sidecar = await world.sidecar()
    for rubbish in RUBBISH:
        await world.local.fault(**rubbish)
        await _assert_answers_without_ollama(sidecar)
        await world.local.heal()
    assert "scripted-small:latest" in await names(sidecar)


@pytest.mark.parametrize("answer", [b"[]", b'{"models": 3}', b'{"models": [1, null, {"name": "x"}]}'])
async def test_json_that_is_no_list_of_models_is_passed_over(world: World, answer: bytes) -> None:
    async with Answering(answer) as ollama:
        sidecar = await world.sidecar({"tiers": {"local_ollama": {"base_url": ollama.url}}})
        told = await names(sidecar)
    assert [name for name in told if name != "x"] == OWN_NAMES


async def test_there_is_somebody(world: World) -> None:
    sidecar = await world.sidecar()
    head, body = await sidecar.http.head("/"), await sidecar.http.get("/")
    assert (head.status_code, head.content) == (200, b"")
    assert (body.status_code, body.text) == (200, "Ollama is running")
    assert (await get(sidecar, "/health/live")) == {"status": "live"}
    assert (await get(sidecar, "/health/ready")) == {"status": "ready"}
