"""Ollama's client as any-llm's provider calls it, sending exactly what it is given.

``ollama.AsyncClient`` passes requests through pydantic models that drop what they do not know (all but the
first level of a tool's schema), and reads an image that happens to name a file from the disk. any-llm's
provider puts ``keep_alive`` among the options, where Ollama ignores it, and moves what stands in
``<think>`` tags out of the content. This client builds the body itself and keeps the content aside. It also
reads a stream's lines into structs of what any-llm looks at, at a tenth of what pydantic takes for them.

Imported only when a tier needs it, as any-llm is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import ollama

from sidecar.upstreams.any_llm_http import current_note

#: Fields that stand beside ``options`` in Ollama's API; any-llm hands all it does not know as options.
_TOP_LEVEL = ("keep_alive", "shift", "truncate")


class _Function(msgspec.Struct):
    name: str
    arguments: dict[str, Any] = {}


class _ToolCall(msgspec.Struct):
    function: _Function


class _Message(msgspec.Struct):
    role: str = "assistant"
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Line(msgspec.Struct):
    """One line of a chat stream; the fields are those of ``ollama.ChatResponse``."""

    message: _Message = msgspec.field(default_factory=_Message)
    model: str | None = None
    created_at: str | None = None
    done: bool = False
    done_reason: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    error: str | None = None


_LINE = msgspec.json.Decoder(_Line)


class ExactOllamaClient(ollama.AsyncClient):
    """Speaks ``/api/chat`` and ``/api/embed``; the rest is as it was."""

    async def chat(  # type: ignore[override]
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        stream: bool = False,
        think: bool | str | None = None,
        format: str | Mapping[str, Any] | None = None,  # noqa: A002  # the name any-llm calls it by
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """The answer, or an iterator of its parts when ``stream``."""
        rest = dict(options or {})
        body = {
            "model": model,
            "messages": messages,
            "stream": stream,
            "tools": tools,
            "think": think,
            "format": format,
            **{name: rest.pop(name, None) for name in _TOP_LEVEL},
            "options": rest or None,
        }
        if stream:
            return self._lines(_without_nulls(body))
        answer = await self._request(ollama.ChatResponse, "POST", "/api/chat", json=_without_nulls(body))
        note = current_note.get()
        if note is not None and not answer.message.thinking:
            note.content = answer.message.content
        return answer

    async def _lines(self, body: Mapping[str, Any]) -> AsyncIterator[_Line]:
        async with self._client.stream("POST", "/api/chat", json=body) as response:
            response.raise_for_status()
            async for text in response.aiter_lines():
                line = _LINE.decode(text)
                if line.error:
                    raise ollama.ResponseError(line.error)
                yield line

    async def embed(self, model: str, input: str | Sequence[str], **fields: Any) -> ollama.EmbedResponse:  # type: ignore[override]  # noqa: A002
        """The embeddings. ``fields`` go beside ``input``."""
        body = {"model": model, "input": input, **fields}
        return await self._request(ollama.EmbedResponse, "POST", "/api/embed", json=_without_nulls(body))


def _without_nulls(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
