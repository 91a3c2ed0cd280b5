"""Speaks OpenAI's dialect: chat completions, completions, responses, embeddings, models.

Answers carry fields that no client of today knows (``x_future``) beside those that all know, so that
what relays them can be seen to leave bytes alone.
"""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

from sidecar.demo.scripted import openai_checks as checks
from sidecar.demo.scripted import responses_dialect as responses
from sidecar.demo.scripted.models import Models
from sidecar.demo.scripted.openai_prompts import chat_prompt, prompts_of
from sidecar.demo.scripted.reply import Chunk, Inbound, Refusal, Reply, encode, report
from sidecar.demo.scripted.script import (
    EMBEDDING_DIMENSIONS,
    Choice,
    Generation,
    Prompt,
    Script,
    Tokens,
    embed,
)

_FUTURE = {"x_future": {"since": "2031-01-01", "nested": [1, 2.50, "é"], "nothing": None}}
_SSE = "text/event-stream; charset=utf-8"
_DONE = Chunk(b"data: [DONE]\n\n")


class OpenAIDialect:
    """Everything under ``/v1``."""

    def __init__(self, script: Script, models: Models) -> None:
        self._script = script
        self._models = models
        self._served = 0
        self._routes: dict[str, dict[str, Callable[[Inbound], Reply]]] = {
            "/v1/chat/completions": {"POST": self._chat},
            "/v1/completions": {"POST": self._completion},
            "/v1/responses": {"POST": self._responses},
            "/v1/embeddings": {"POST": self._embeddings},
            "/v1/models": {"GET": self._list},
        }

    def answer(self, inbound: Inbound) -> Reply:
        """The answer to one request; a ``Refusal`` when there is none."""
        if inbound.path.startswith("/v1/models/") and inbound.method == "GET":
            return self._retrieve(inbound.path.removeprefix("/v1/models/"))
        methods = self._routes.get(inbound.path)
        if methods is None:
            raise Refusal(404, f"Invalid URL ({inbound.method} {inbound.path})")
        if inbound.method not in methods:
            raise Refusal(
                405,
                f"Not allowed to {inbound.method} on {inbound.path}. (HINT: Perhaps you meant to make your "
                "HTTP request using a different method?)",
                code="method_not_supported",
            )
        return methods[inbound.method](inbound)

    def refuse(self, refusal: Refusal) -> Reply:
        """The refusal in this dialect's error shape."""
        return Reply((Chunk(_error(refusal)),), status=refusal.status)

    def error_event(self, refusal: Refusal) -> bytes:
        """The refusal as an event inside a stream that has begun."""
        return b"data: " + _error(refusal) + b"\n\n"

    def _id(self, prefix: str) -> str:
        self._served += 1
        return f"{prefix}-scripted{self._served:08d}"

    def _known(self, name: str) -> None:
        if name not in self._models:
            raise Refusal(
                404,
                f"The model `{name}` does not exist or you do not have access to it.",
                code="model_not_found",
            )

    # Chat ------------------------------------------------------------------------------------------

    def _chat(self, inbound: Inbound) -> Reply:
        fields = checks.decode(inbound.body)
        checks.check_arguments(fields, checks.CHAT_ARGUMENTS, required="messages")
        checks.check_chat(fields)
        self._known(fields["model"])
        generation = self._script.generate(chat_prompt(fields))
        head = {"id": self._id("chatcmpl"), "created": int(time.time()), "model": fields["model"]}
        if fields.get("stream"):
            return self._stream(_ChatEvents(head), generation, fields, inbound.usage_lie)
        choices = [
            {
                "index": index,
                "message": _message(choice),
                "logprobs": None,
                "finish_reason": _finish(choice),
            }
            for index, choice in enumerate(generation.choices)
        ]
        body = {**head, "object": "chat.completion", "choices": choices}
        return _whole(body, generation.tokens, inbound.usage_lie)

    def _stream(
        self, events: _ChatEvents | _TextEvents, generation: Generation, fields: dict[str, Any], lie: str
    ) -> Reply:
        include_usage = bool((fields.get("stream_options") or {}).get("include_usage"))
        events.announce_usage = include_usage
        chunks = [
            chunk
            for index, choice in enumerate(generation.choices)
            for chunk in events.content(index, choice)
        ]
        closing = [events.end(index, choice) for index, choice in enumerate(generation.choices)]
        usage = report(generation.tokens, lie)
        if include_usage and usage is not None:
            closing.append(events.usage(usage))
        return Reply(
            tuple(chunks),
            (*closing, _DONE),
            content_type=_SSE,
            streamed=True,
            tokens=generation.tokens,
        )

    # The legacy completions -------------------------------------------------------------------------

    def _completion(self, inbound: Inbound) -> Reply:
        fields = checks.decode(inbound.body)
        checks.check_arguments(fields, checks.COMPLETION_ARGUMENTS, required="prompt")
        self._known(fields["model"])
        checks.check_completion(fields)
        texts = prompts_of(fields["prompt"])
        # The real default is 16, and it bites: an answer without a limit is not unlimited here.
        limit = fields.get("max_tokens") or 16
        generations = [
            self._script.generate(Prompt([text], text, limit=limit, choices=fields.get("n") or 1))
            for text in texts
        ]
        generation = Generation(
            tuple(choice for each in generations for choice in each.choices),
            Tokens(
                sum(each.tokens.input for each in generations),
                sum(each.tokens.output for each in generations),
            ),
        )
        head = {"id": self._id("cmpl"), "created": int(time.time()), "model": fields["model"]}
        if fields.get("stream"):
            return self._stream(_TextEvents(head), generation, fields, inbound.usage_lie)
        echoed = fields.get("echo") or False
        count = fields.get("n") or 1
        choices = [
            {
                "text": (texts[index // count] if echoed else "") + choice.text,
                "index": index,
                "logprobs": None,
                "finish_reason": _finish(choice),
            }
            for index, choice in enumerate(generation.choices)
        ]
        return _whole(
            {**head, "object": "text_completion", "choices": choices}, generation.tokens, inbound.usage_lie
        )

    def _responses(self, inbound: Inbound) -> Reply:
        fields = checks.decode(inbound.body)
        responses.check(fields)
        self._known(fields["model"])
        generation = self._script.generate(responses.prompt_of(fields))
        return responses.reply(fields, generation, self._id("x"), inbound.usage_lie)

    # Embeddings and models --------------------------------------------------------------------------

    def _embeddings(self, inbound: Inbound) -> Reply:
        fields = checks.decode(inbound.body)
        checks.check_arguments(fields, checks.EMBEDDING_ARGUMENTS, required="input")
        self._known(fields["model"])
        encoding = fields.get("encoding_format") or "float"
        if encoding not in ("float", "base64"):
            raise Refusal(400, f"Invalid value: '{encoding}'.", code="invalid_value", param="encoding_format")
        texts = [fields["input"]] if isinstance(fields["input"], str) else fields["input"]
        if not texts or not all(isinstance(text, str) and text for text in texts):
            raise Refusal(400, "'$.input' is invalid. Please check the API reference.", param="input")
        dimensions = fields.get("dimensions") or EMBEDDING_DIMENSIONS
        tokens = Tokens(self._script.count_input(texts), 0)
        data = []
        for index, text in enumerate(texts):
            vector: list[float] | str = embed(fields["model"], text, dimensions)
            if encoding == "base64":
                vector = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": vector})
        body: dict[str, Any] = {"object": "list", "data": data, "model": fields["model"]}
        if (usage := report(tokens, inbound.usage_lie)) is not None:
            body["usage"] = {"prompt_tokens": usage.input, "total_tokens": usage.input}
        return Reply((Chunk(encode(body)),), tokens=tokens)

    def _list(self, _: Inbound) -> Reply:
        return Reply(
            (Chunk(encode({"object": "list", "data": [_model(name) for name in self._models.names]})),)
        )

    def _retrieve(self, name: str) -> Reply:
        if name not in self._models:
            raise Refusal(404, f"The model '{name}' does not exist", code="model_not_found", param="model")
        return Reply((Chunk(encode(_model(name))),))


class _ChatEvents:
    """The events of one streamed chat completion."""

    def __init__(self, head: dict[str, Any]) -> None:
        self._head = {**head, "object": "chat.completion.chunk", "service_tier": "default"}
        self.announce_usage = False

    def content(self, index: int, choice: Choice) -> Iterator[Chunk]:
        if choice.tool:
            call = {
                "index": 0,
                "id": _call_id(choice),
                "type": "function",
                "function": {"name": choice.tool, "arguments": ""},
            }
            yield self._event(index, {"role": "assistant", "content": None, "tool_calls": [call]})
            for piece in choice.pieces:
                delta = {"tool_calls": [{"index": 0, "function": {"arguments": piece.text}}]}
                yield self._event(index, delta, tokens=piece.tokens)
            return
        yield self._event(index, {"role": "assistant", "content": "", "refusal": None})
        for piece in choice.pieces:
            yield self._event(index, {"content": piece.text}, tokens=piece.tokens)

    def end(self, index: int, choice: Choice) -> Chunk:
        return self._event(index, {}, finish=_finish(choice))

    def usage(self, tokens: Tokens) -> Chunk:
        return _sse(
            {**self._head, "system_fingerprint": "fp_scripted", "choices": [], "usage": _usage(tokens)}
        )

    def _event(self, index: int, delta: dict[str, Any], finish: str | None = None, tokens: int = 0) -> Chunk:
        event = {
            **self._head,
            "system_fingerprint": "fp_scripted",
            "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}],
            **({"usage": None} if self.announce_usage else {}),
            **_FUTURE,
        }
        return _sse(event, tokens)


class _TextEvents:
    """The events of one streamed legacy completion."""

    def __init__(self, head: dict[str, Any]) -> None:
        self._head = {**head, "object": "text_completion", "system_fingerprint": "fp_scripted"}
        self.announce_usage = False

    def content(self, index: int, choice: Choice) -> Iterator[Chunk]:
        for piece in choice.pieces:
            yield self._event(index, piece.text, tokens=piece.tokens)

    def end(self, index: int, choice: Choice) -> Chunk:
        return self._event(index, "", finish=_finish(choice))

    def usage(self, tokens: Tokens) -> Chunk:
        return _sse({**self._head, "choices": [], "usage": _usage(tokens)})

    def _event(self, index: int, text: str, finish: str | None = None, tokens: int = 0) -> Chunk:
        event = {
            **self._head,
            "choices": [{"text": text, "index": index, "logprobs": None, "finish_reason": finish}],
            **({"usage": None} if self.announce_usage else {}),
            **_FUTURE,
        }
        return _sse(event, tokens)


def _message(choice: Choice) -> dict[str, Any]:
    base: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}
    if not choice.tool:
        return base
    call = {
        "id": _call_id(choice),
        "type": "function",
        "function": {"name": choice.tool, "arguments": choice.text},
    }
    return {**base, "content": None, "tool_calls": [call]}


def _call_id(choice: Choice) -> str:
    return f"call_scripted_{choice.tool}"


def _finish(choice: Choice) -> str:
    if choice.cut_by_limit:
        return "length"
    return "tool_calls" if choice.tool else "stop"


def _whole(body: dict[str, Any], tokens: Tokens, lie: str) -> Reply:
    usage = report(tokens, lie)
    body = {
        **body,
        **({"usage": _usage(usage)} if usage is not None else {}),
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
        **_FUTURE,
    }
    return Reply((Chunk(encode(body), tokens.output),), tokens=tokens)


def _usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.total,
        "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _sse(event: dict[str, Any], tokens: int = 0) -> Chunk:
    return Chunk(b"data: " + encode(event) + b"\n\n", tokens)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "scripted"}


def _error(refusal: Refusal) -> bytes:
    return encode(
        {
            "error": {
                "message": refusal.message,
                "type": refusal.kind,
                "param": refusal.param,
                "code": refusal.code,
            }
        }
    )
