"""How each front door's chats become OpenAI-shaped, as any-llm takes them, and its answers the door's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from sidecar.core.ports import OutboundCall
from sidecar.core.vocabulary import (
    ANTHROPIC_MESSAGES,
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    OLLAMA_GENERATE,
    OPENAI_CHAT,
    OPENAI_COMPLETIONS,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    Door,
)
from sidecar.wire import (
    anthropic_to_openai,
    ollama_to_openai,
    openai_response,
    openai_to_anthropic,
    openai_to_ollama,
    openai_to_responses,
    responses_to_openai,
    text_completion,
)
from sidecar.wire.outbound import asked_for_usage
from sidecar.wire.response_events import ResponseEvents
from sidecar.wire.timings import Timings

_JSON = "application/json"
_OLLAMA_JSON = "application/json; charset=utf-8"
_SSE = "text/event-stream; charset=utf-8"
_NDJSON = "application/x-ndjson"


class StreamWriter(Protocol):
    """Writes the chunks of a chat completion stream as a door's own; ``end`` raises on what is no answer."""

    def feed(self, chunk: Mapping[str, Any], wall_s: float) -> bytes: ...

    def end(self, wall_s: float, timings: Timings) -> bytes: ...


class Translation(msgspec.Struct, frozen=True):
    """One door's way there and back.

    ``fields`` makes a request OpenAI-shaped and raises ``UpstreamFault`` for what cannot be. ``whole``
    writes a whole answer (a chat completion or an embedding answer, as plain dicts without nulls),
    ``stream`` makes the writer of a streamed one.
    """

    fields: Callable[[dict[str, Any]], dict[str, Any]]
    whole: Callable[[OutboundCall, Mapping[str, Any], float, Timings], bytes]
    stream: Callable[[OutboundCall], StreamWriter] | None = None
    whole_type: str = _JSON
    stream_type: str = _SSE


def _ollama_lines(call: OutboundCall) -> StreamWriter:
    return openai_to_ollama.AnswerLines(model=call.model, generate=call.door == OLLAMA_GENERATE)


def _response(call: OutboundCall, answer: Mapping[str, Any], wall_s: float, _: Timings) -> bytes:
    return msgspec.json.encode(
        openai_to_responses.response_body(
            answer,
            _as_asked(call),
            model=call.model,
            wall_s=wall_s,
            reasoning=responses_to_openai.shows_reasoning(call.fields),
        )
    )


def _response_events(call: OutboundCall) -> StreamWriter:
    reasoning = responses_to_openai.shows_reasoning(call.fields)
    return ResponseEvents(_as_asked(call), model=call.model, reasoning=reasoning)


def _as_asked(call: OutboundCall) -> dict[str, Any]:
    """The request's fields as a response repeats them: without metadata that was ours."""
    metadata = call.fields.get("metadata")
    if not isinstance(metadata, dict):
        return call.fields
    rest = {name: value for name, value in metadata.items() if name not in call.strip_metadata}
    return {**call.fields, "metadata": rest}


TRANSLATIONS: dict[Door, Translation] = {
    OPENAI_CHAT: Translation(
        dict,
        lambda call, answer, wall_s, _: openai_response.completion_body(
            answer, model=call.model, wall_s=wall_s
        ),
        lambda call: openai_response.CompletionEvents(model=call.model, include_usage=asked_for_usage(call)),
    ),
    OPENAI_COMPLETIONS: Translation(
        text_completion.chat_fields,
        lambda call, answer, wall_s, _: text_completion.completion_body(
            answer, call.fields, model=call.model, wall_s=wall_s
        ),
        lambda call: text_completion.TextEvents(
            call.fields, model=call.model, include_usage=asked_for_usage(call)
        ),
    ),
    OPENAI_EMBEDDINGS: Translation(
        dict, lambda call, answer, _, __: openai_response.embeddings_body(answer, model=call.model)
    ),
    OPENAI_RESPONSES: Translation(responses_to_openai.chat_fields, _response, _response_events),
    ANTHROPIC_MESSAGES: Translation(
        anthropic_to_openai.chat_fields,
        lambda call, answer, _, __: openai_to_anthropic.message_body(
            answer, model=call.model, thinking=anthropic_to_openai.asks_for_thinking(call.fields)
        ),
        lambda call: openai_to_anthropic.MessageEvents(
            model=call.model, thinking=anthropic_to_openai.asks_for_thinking(call.fields)
        ),
    ),
    OLLAMA_CHAT: Translation(
        ollama_to_openai.chat_fields,
        lambda call, answer, wall_s, timings: openai_to_ollama.chat_body(
            answer, model=call.model, wall_s=wall_s, timings=timings
        ),
        _ollama_lines,
        _OLLAMA_JSON,
        _NDJSON,
    ),
    OLLAMA_GENERATE: Translation(
        ollama_to_openai.generate_fields,
        lambda call, answer, wall_s, timings: openai_to_ollama.generate_body(
            answer, model=call.model, wall_s=wall_s, timings=timings
        ),
        _ollama_lines,
        _OLLAMA_JSON,
        _NDJSON,
    ),
    OLLAMA_EMBED: Translation(
        ollama_to_openai.embed_fields,
        lambda call, answer, _, timings: openai_to_ollama.embed_body(
            answer, model=call.model, timings=timings
        ),
        whole_type=_OLLAMA_JSON,
    ),
    OLLAMA_EMBEDDINGS: Translation(
        ollama_to_openai.embeddings_fields,
        lambda _, answer, __, ___: openai_to_ollama.embeddings_body(answer),
        whole_type=_OLLAMA_JSON,
    ),
}
