"""Ollama gets exactly what was asked, and its answer comes back as it was."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest

from sidecar.core.vocabulary import OPENAI_CHAT
from sidecar.upstreams.any_llm_upstream import AnyLLMLane
from tests.rig.upstream import ScriptedUpstream
from tests.sidecar.upstreams.lanes import outbound, read_json


async def test_an_image_that_names_a_file_is_not_read_from_the_disk(
    ollama_lane: AnyLLMLane, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the sidecar's own file")
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{secret}"}}
    call = outbound(
        OPENAI_CHAT, messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}]
    )
    await ollama_lane.send(call)

    (entry,) = await upstream.log()
    assert base64.b64encode(secret.read_bytes()).decode() not in entry.body
    assert msgspec.json.decode(entry.body)["messages"] == [
        {"role": "user", "content": "hi", "images": [str(secret)]}
    ]


@pytest.mark.parametrize("text", ["<think>a plan</think> then", "<thinking>x</thinking>", "<think> unclosed"])
async def test_tags_in_an_answer_stay_where_the_model_put_them(ollama_lane: AnyLLMLane, text: str) -> None:
    answer = await ollama_lane.send(outbound(OPENAI_CHAT, messages=[{"role": "user", "content": text}]))
    message = (await read_json(answer))["choices"][0]["message"]
    assert message["content"].startswith(text)
    assert "reasoning" not in message
    assert answer.tally.output_text_bytes == len(message["content"])


async def test_empty_content_and_zeros_are_sent_as_they_are(
    ollama_lane: AnyLLMLane, upstream: ScriptedUpstream
) -> None:
    messages = [{"role": "system", "content": ""}, {"role": "user", "content": "hi"}]
    await ollama_lane.send(outbound(OPENAI_CHAT, messages=messages, keep_alive=0, temperature=0, seed=0))

    (entry,) = await upstream.log()
    assert msgspec.json.decode(entry.body) == {
        "model": "gpt-4o",
        "messages": messages,
        "stream": False,
        "keep_alive": 0,
        "options": {"temperature": 0.0, "seed": 0},
    }
