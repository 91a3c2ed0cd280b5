"""However a request is written, no upstream can bill more for it than was held: it is bounded, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig.upstream import ScriptedUpstream, StartUpstream
from tests.rig.world import CHAT, CRITICAL, HIGH, PUBLIC, RunningSidecar, World

OLLAMA = "/api/chat"
GENERATE = "/api/generate"
COMPLETIONS = "/v1/completions"
NANO_USD = {"openai": 15_000, "ollama_cloud": 1_000}

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "<&>" * 20,
        "parameters": {"type": "object", "properties": {"word": {"type": "string", "enum": ["\u00e9"] * 9}}},
    },
}
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
WORDS = "hello"
#: Characters that become longer in form NFC, and such as take many bytes.
ODD = "\U0001d160\u0344\ufb2c\U0001f469\u200d\U0001f469\u200d\U0001f467" * 50


def says(content: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": content}], **fields}


OPENAI_BODIES: list[dict[str, Any]] = [
    says(WORDS),
    says(WORDS, max_tokens=None),
    says(WORDS, max_tokens=None, max_completion_tokens=None),
    says(WORDS, max_completion_tokens=7),
    says(WORDS, max_tokens=9, max_completion_tokens=7),
    says(WORDS, max_tokens=7, n=5),
    says(WORDS, n=5),
    says(WORDS, n=None),
    says(WORDS, max_tokens=-1),
    says(WORDS, max_tokens="10"),
    says(WORDS, max_tokens=1e18),
    says(WORDS, max_tokens=10**18),
    says(WORDS, max_tokens=5.0),
    says(WORDS, max_tokens=True),
    says(WORDS, max_tokens=[5]),
    says(WORDS, extra_body={"max_tokens": 4_000}),
    says(WORDS, extra_body={"n": 9}, max_tokens=5),
    says(WORDS, options={"num_predict": -1}),
    says(WORDS, num_predict=-1, n_predict=-1),
    says(WORDS, Max_Tokens=4_000),
    says(WORDS, N=4),
    says(WORDS, max_new_tokens=4_000),
    says(WORDS, stop=["x"], logprobs=True, top_logprobs=20),
    says(WORDS, service_tier="priority"),
    says(WORDS, modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}),
    says(WORDS, prediction={"type": "content", "content": "x" * 900}),
    says(WORDS, web_search_options={}),
    says(WORDS, tools=[{"type": "web_search"}]),
    says(WORDS, tools=[TOOL] * 9, tool_choice="required", max_tokens=60),
    says(WORDS, functions=[TOOL["function"]], max_tokens=60),
    says(WORDS, response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}),
    says([{"type": "text", "text": WORDS}] * 40),
    says([{"type": "text", "text": WORDS}, IMAGE, IMAGE], max_tokens=5),
    says([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]),
    says([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]),
    says(ODD),
    says(ODD.encode("unicode-escape").decode()),
    says("\x00\x01" * 200),
    {"model": "auto", "messages": [{"role": "user", "content": "x"}] * 300, "max_tokens": 1},
    says(WORDS, stream_options={"include_usage": False, "continuous_usage_stats": True}, stream=True),
]
OLLAMA_BODIES: list[dict[str, Any]] = [
    says(WORDS),
    *(says(WORDS, options={"num_predict": limit}) for limit in (None, 0, -1, -2, 7, 7.0, "7", True, 10**18)),
    says(WORDS, options=None),
    says(WORDS, options={}),
    says(WORDS, options=[]),
    says(WORDS, options={"NUM_PREDICT": -1, "num_predict": 5}),
    says(WORDS, Options={"num_predict": -1}),
    says(WORDS, n=9, options={"num_predict": 5}),
    says(WORDS, options={"num_predict": 5, "n": 9}),
    says(WORDS, options={"num_predict": 5, "max_tokens": 4_000, "max_completion_tokens": 4_000}),
    says(WORDS, max_tokens=4_000, max_completion_tokens=4_000, options={"num_predict": 5}),
    says(WORDS, options={"service_tier": "priority"}),
    says(WORDS, think=True, options={"num_predict": 5}),
    says(WORDS, think="high"),
    says(WORDS, format=SCHEMA),
    says(WORDS, tools=[TOOL] * 9),
    says(ODD, options={"num_ctx": 131_072, "stop": ["x"]}),
    {"model": "auto", "messages": [{"role": "user", "content": WORDS, "images": [PIXEL] * 2}]},
    {"model": "auto", "messages": [{"role": "user", "content": WORDS, "Images": [PIXEL]}]},
]
GENERATE_BODIES: list[dict[str, Any]] = [
    {"model": "auto", "prompt": WORDS, "options": {"num_predict": 0}},
    {"model": "auto", "prompt": WORDS, "template": "{{ .Prompt }}" * 99},
    {"model": "auto", "prompt": WORDS, "system": ODD, "raw": True, "context": [1, 2, 3] * 50},
    {"model": "auto", "prompt": WORDS, "suffix": "x" * 300, "images": [PIXEL], "options": {"num_predict": 3}},
]
COMPLETIONS_BODIES: list[dict[str, Any]] = [
    {"model": "auto", "prompt": WORDS},
    {"model": "auto", "prompt": WORDS, "max_tokens": None, "best_of": 4, "n": 2},
    {"model": "auto", "prompt": [WORDS] * 9, "max_tokens": 30, "n": 3},
    {"model": "auto", "prompt": [1, 2, 3], "max_tokens": 5},
    {"model": "auto", "prompt": [[1, 2], [3]], "max_tokens": 5},
    {"model": "auto", "prompt": ODD, "echo": True, "max_tokens": 5, "logprobs": 5},
    {"model": "auto", "prompt": WORDS, "suffix": "x" * 300, "max_completion_tokens": 4_000},
    {"model": "auto", "prompt": [], "max_tokens": 30},
    {"model": "auto", "prompt": None, "max_tokens": 30},
    {"model": "auto", "prompt": [["a"], 1], "max_tokens": 30},
]
TWICE = (
    b'{"model":"auto","max_tokens":1,"messages":[{"role":"user","content":"x"}],"max_tokens":4000}',
    b'{"model":"auto","max_tokens":1,"messages":[{"role":"user","content":"x"}],"max_token\\u0073":4000}',
)
CALLS: list[tuple[str, dict[str, Any]]] = [
    *((CHAT, body) for body in OPENAI_BODIES),
    *((OLLAMA, body) for body in OLLAMA_BODIES),
    *((COMPLETIONS, body) for body in COMPLETIONS_BODIES),
    *((GENERATE, body) for body in GENERATE_BODIES),
]


@pytest.mark.parametrize(("tier", "headers"), [("openai", CRITICAL), ("ollama_cloud", HIGH)])
async def test_no_request_costs_more_than_was_held_for_it(
    world: World, scripted_upstream: StartUpstream, tier: str, headers: dict[str, str]
) -> None:
    provider = "openai" if tier == "openai" else "ollama"
    greedy = await scripted_upstream(name=provider, style="greedy")
    sidecar = await world.sidecar(
        {
            "tiers": {tier: {"base_url": greedy.openai_url if provider == "openai" else greedy.url}},
            # The rest of the fallback would only repeat the question.
            "routing": {"fallback": [tier, "local_ollama"]},
        }
    )
    billed = []
    for number, (door, body) in enumerate(CALLS):
        asked = {"stream": number % 2 == 0, **body}
        billed.append(await billed_within_what_was_held(sidecar, greedy, tier, door, asked, headers))
    assert sum(cost > 0 for cost in billed) > len(CALLS) / 3, "most were refused, so little was shown"
    assert sidecar.sidecar.services.ledger.counters.over_hold == 0
    for raw in TWICE:
        response = await sidecar.http.post(CHAT, content=raw, headers=headers)
        assert response.status_code == 400
        assert "twice" in response.text


async def test_only_models_that_its_price_is_right_for_are_asked_of_a_tier(world: World) -> None:
    sidecar = await world.sidecar({"tiers": {"openai": {"models_allowed": ["gpt-4o*"]}}})
    for model, tier in (("gpt-4o-mini", "openai"), ("gpt-4o", "openai"), ("o1-pro", "ollama_cloud")):
        body = {**says(WORDS), "model": f"openai/{model}"}
        response = await sidecar.http.post(CHAT, json=body, headers=PUBLIC)
        assert (response.status_code, response.headers["x-sidecar-tier"]) == (200, tier), model
    assert len(await world.openai.log()) == 2


async def billed_within_what_was_held(
    sidecar: RunningSidecar,
    upstream: ScriptedUpstream,
    tier: str,
    door: str,
    body: dict[str, Any],
    headers: dict[str, str],
) -> int:
    """What the upstream bills for this call, in nano-dollars, which is at most what was held for it."""
    await upstream.reset()
    response = await sidecar.http.post(door, json=body, headers=headers)
    assert response.status_code in (200, 400, 503), response.text
    totals = await upstream.totals()
    billed = (totals.input_tokens + totals.output_tokens) * NANO_USD[tier]
    held = 0
    services = sidecar.sidecar.services
    await services.log.flush()
    record = await services.search.get(response.headers["x-sidecar-request-id"])
    if record is not None:
        held = sum(attempt.held_nano_usd for attempt in record.attempts)
        assert billed <= record.cost_nano_usd <= held, (door, body)
    assert billed <= held, (door, body)
    return billed
