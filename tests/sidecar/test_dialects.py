"""Each feature of each dialect at each kind of upstream: what arrives there, and what the app gets back.

``GOLDEN=write python -m pytest tests/sidecar/test_dialects.py`` writes the transcripts anew; read the diff,
and then write the page: ``python -m tests.rig.dialect_table > docs/dialects.md``.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import httpx
import pytest

from tests.rig.dialect_table import CASES, DOORS, GOLDEN, OUTCOMES, TARGETS, Case, base, load, page
from tests.rig.upstream import ScriptedUpstream
from tests.rig.world import PUBLIC, RunningSidecar, World

HEADERS = {**PUBLIC, "anthropic-version": "2023-06-01"}
MODELS = {"openai": "openai/gpt-4o", "ollama": "ollama/qwen3", "anthropic": "anthropic/claude-x"}
#: What differs from one run to the next, and what would only fill the page.
_VARYING = (
    (re.compile(r'"(id|item_id|call_id|tool_call_id|tool_use_id)":"(?!call_7)[^"]*"'), r'"\1":"ID"'),
    (re.compile(r'"(created|created_at|completed_at)":("[^"]*"|\d+)'), r'"\1":0'),
    (re.compile(r'"(\w+_duration)":\d+'), r'"\1":0'),
)


def test_the_page_says_what_came_of_it() -> None:
    path = Path(__file__).parents[2] / "docs" / "dialects.md"
    assert path.read_text() == page(load()), (
        "write it anew: python -m tests.rig.dialect_table > docs/dialects.md"
    )


async def three_providers(world: World) -> RunningSidecar:
    """A sidecar with one tier for each kind of upstream, and no tier to go on to."""
    keyed = {"api_key": "openai-key", "price": {"usd_per_1k_tokens": 0.015}}
    tiers = {
        "local_ollama": None,
        "ollama_cloud": None,
        "openai": {"models": {"default": "gpt-4o"}},
        "ollama": {
            "provider": "ollama", "base_url": world.local.url, "off_box": False,
            "models": {"default": "qwen3"},
        },
        "anthropic": {
            "provider": "anthropic", "base_url": world.openai.url, "models": {"default": "claude-x"}, **keyed,
        },
    }  # fmt: skip
    return await world.sidecar({"tiers": tiers, "routing": {"rules": [], "fallback": []}})


@pytest.mark.parametrize("door", DOORS)
async def test_what_becomes_of_each_feature(world: World, door: str) -> None:
    sidecar = await three_providers(world)
    for upstream in sidecar.sidecar.current.upstreams.values():
        await upstream.warm()
    for target in TARGETS:
        told, outcomes = [], {}
        for case in CASES:
            if door in case.asks:
                outcomes[case.name], transcript = await _play(world, sidecar, case, door, target)
                told.append(f"=== {case.name}: {outcomes[case.name]}\n{transcript}")
        _compare(f"{door} to {target}", "\n".join(told), outcomes)


def _compare(pair: str, transcript: str, outcomes: dict[str, str]) -> None:
    path = GOLDEN / (pair.replace(" ", "-") + ".txt")
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(transcript)
        known = load() if OUTCOMES.exists() else {}
        OUTCOMES.write_text(json.dumps({**known, pair: outcomes}, indent=1, sort_keys=True) + "\n")
    assert outcomes == load()[pair]
    assert transcript == path.read_text()


async def _play(world: World, sidecar: RunningSidecar, case: Case, door: str, target: str) -> tuple[str, str]:
    """What became of the case, and the transcript of it."""
    upstream = world.local if target == "ollama" else world.openai
    whole, asked = await _ask(world, sidecar, upstream, case, door, target, stream=False)
    lines = [f"> {line}" for line in asked] + [f"< {whole.status_code} {_plain(whole.text)}"]
    if case.streams and whole.status_code == 200:
        streamed, _ = await _ask(world, sidecar, upstream, case, door, target, stream=True)
        assert streamed.status_code == 200, streamed.text
        lines += [f"~ {line}" for line in _plain(streamed.text).splitlines() if line]
    record = await sidecar.record(whole)
    transcript = "\n".join(lines) + "\n"
    details = [tier.detail for tier in record.decision.rejected if tier.tier == target]
    details += [attempt.detail for attempt in record.attempts if attempt.fault == "unsupported"]
    if details:
        assert asked == []
        return f"refused (`{details[0].split(':')[0]}`)", transcript
    assert (whole.status_code, whole.headers["x-sidecar-tier"]) == (200, target), whole.text
    if record.attempts[0].lane == "relay":
        return "kept", transcript
    return "translated" if re.search(case.trace, " ".join(asked)) else "left out", transcript


async def _ask(
    world: World,
    sidecar: RunningSidecar,
    upstream: ScriptedUpstream,
    case: Case,
    door: str,
    target: str,
    *,
    stream: bool,
) -> tuple[httpx.Response, list[str]]:
    await upstream.reset()
    fields = {**base(door), **case.asks[door]}
    body = {name: value for name, value in fields.items() if value is not None}
    body |= {"model": MODELS[target], "stream": stream}
    response = await sidecar.http.post(DOORS[door], json=body, headers=HEADERS)
    asked = [f"{entry.path} {_canonical(entry.body)}" for entry in await upstream.log()]
    return response, asked


def _canonical(body: str) -> str:
    return _plain(json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")))


def _plain(text: str) -> str:
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return text.rstrip()
