"""What of a call's messages its spans show: nothing, unless an operator asks and the call is clean."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from sidecar.transcript import ANSWER_BYTES_MAX, CHARACTERS_MAX, MESSAGES_MAX
from tests.rig.otlp import OtlpReceiver, ReceivedSpan
from tests.rig.world import CHAT, CRITICAL, PUBLIC, RunningSidecar, World, chat

ASKED = {"telemetry": {"content": "clean_only"}}
IN, OUT, WITHHELD = "gen_ai.input.messages", "gen_ai.output.messages", "sidecar.content.withheld"

Shown = dict[str, Any]


def shown(spans: list[ReceivedSpan]) -> list[Shown]:
    """What each span shows of the messages, decoded; nothing for spans that show none."""
    kinds = {key: span.kind for span in spans for key in (IN, OUT, WITHHELD) if key in span.attributes}
    assert set(kinds.values()) <= {"CLIENT"}
    return [
        {key: span.attributes[key] for key in (IN, OUT, WITHHELD) if key in span.attributes}
        for span in spans
        if span.kind == "CLIENT"
    ]


async def call(
    sidecar: RunningSidecar, receiver: OtlpReceiver, body: Any, headers: Any = PUBLIC, path: str = CHAT
) -> tuple[httpx.Response, list[Shown]]:
    response = await sidecar.http.post(path, json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response, shown(await receiver.trace(response.headers["x-sidecar-trace-id"]))


def message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


async def test_clean_calls_show_their_messages_on_every_lane_and_in_every_dialect(
    world: World, receiver: OtlpReceiver
) -> None:
    sidecar = await world.sidecar(ASKED)
    asked = chat("how long is a loan", max_tokens=6)
    asked["messages"].insert(0, {"role": "system", "content": "be brief"})
    for path, headers, stream in (
        (CHAT, CRITICAL, False),
        (CHAT, CRITICAL, True),
        (CHAT, PUBLIC, True),
        ("/api/chat", PUBLIC, True),
        ("/api/chat", PUBLIC, False),
    ):
        _, (span,) = await call(sidecar, receiver, {**asked, "stream": stream}, headers, path)
        assert json.loads(span[IN]) == [message("system", "be brief"), message("user", "how long is a loan")]
        (answer,) = json.loads(span[OUT])
        assert answer["role"] == "assistant"
        assert answer["parts"][0]["content"].startswith("how long is a loan")
        assert answer["finish_reason"] in ("length", "stop")
        assert WITHHELD not in span
    _, (embedded,) = await call(
        sidecar, receiver, {"model": "auto", "input": ["a b"]}, PUBLIC, "/v1/embeddings"
    )
    assert embedded == {IN: json.dumps([message("user", "a b")], separators=(",", ":"))}


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("Write to erika.musterfrau@web.de", PUBLIC),
        ("how long is a loan", {"x-sidecar-data-classification": "confidential"}),
    ],
)
async def test_other_calls_show_nothing(
    world: World, receiver: OtlpReceiver, text: str, headers: dict[str, str]
) -> None:
    sidecar = await world.sidecar(ASKED)
    for stream in (False, True):
        _, spans = await call(sidecar, receiver, chat(text, stream=stream), headers)
        assert spans == [{}]
    assert b"musterfrau" not in b"".join(receiver.bodies)


async def test_an_answer_is_looked_at_too(world: World, receiver: OtlpReceiver) -> None:
    """The upstream repeats these words, and so puts an account number together that nobody sent it."""
    sidecar = await world.sidecar(ASKED)
    response, (span,) = await call(sidecar, receiver, chat("0130 00 DE89 3704 0044 0532"))
    assert "DE89 3704 0044 0532 0130 00" in response.text
    assert set(span) == {IN, WITHHELD}
    assert span[WITHHELD] == "the answer is SENSITIVE"


async def test_what_is_long_is_cut(world: World, receiver: OtlpReceiver) -> None:
    sidecar = await world.sidecar(ASKED)
    body = chat("word " * CHARACTERS_MAX)
    body["messages"] = [{"role": "user", "content": f"message {n}"} for n in range(40)] + body["messages"]
    _, (span,) = await call(sidecar, receiver, body)
    messages = json.loads(span[IN])
    assert len(messages) == MESSAGES_MAX
    assert messages[-2] == message("user", "message 39")
    last = messages[-1]["parts"][0]["content"]
    assert last.endswith(f"… ({4 * CHARACTERS_MAX} more characters)")
    assert len(last) < CHARACTERS_MAX + 40


async def test_an_answer_too_long_to_be_looked_at_is_not_shown(world: World, receiver: OtlpReceiver) -> None:
    await world.local.fault(endless=True)
    sidecar = await world.sidecar(ASKED)
    got = 0
    async with sidecar.http.stream("POST", CHAT, json=chat(stream=True), headers=PUBLIC) as response:
        async for piece in response.aiter_bytes():
            got += len(piece)
            if got > ANSWER_BYTES_MAX:
                break
    (span,) = shown(await receiver.trace(response.headers["x-sidecar-trace-id"]))
    assert set(span) == {IN, WITHHELD}
    assert span[WITHHELD] == "too long to be looked at"


async def test_it_is_switched_while_running_and_never_stored(world: World, receiver: OtlpReceiver) -> None:
    sidecar = await world.sidecar()
    _, spans = await call(sidecar, receiver, chat("first zyzzyva"))
    assert spans == [{}]
    await sidecar.reload(ASKED)
    _, (span,) = await call(sidecar, receiver, chat("second zyzzyva"))
    assert "zyzzyva" in span[IN]
    await sidecar.reload({"telemetry": {"content": "none"}})
    _, spans = await call(sidecar, receiver, chat("third zyzzyva"))
    assert spans == [{}]
    assert len(await sidecar.records()) == 3
    stored = b"".join(
        path.read_bytes() for path in world.directory.glob("data-*/*") if path.suffix != ".lock"
    )
    assert b"zyzzyva" not in stored
