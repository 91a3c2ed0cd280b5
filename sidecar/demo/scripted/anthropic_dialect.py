"""Speaks Anthropic's dialect: messages, plain and streamed, and the counting of their tokens.

Strict about what it is sent: unknown fields but those that begin with ``x_`` are refused, as are blocks out
of place. Facts: Anthropic's API reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sidecar.demo.scripted.models import Models
from sidecar.demo.scripted.openai_checks import decode
from sidecar.demo.scripted.reply import Chunk, Inbound, Refusal, Reply, encode, report
from sidecar.demo.scripted.script import Choice, Generation, Piece, Prompt, Script, Tokens, Tool

_SSE = "text/event-stream; charset=utf-8"
_ALLOWED = frozenset(
    {
        *("model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k"),
        *("stop_sequences", "tools", "tool_choice", "thinking", "metadata", "output_config", "service_tier"),
        "cache_control",
    }
)
_TYPES: dict[str, Any] = {
    "max_tokens": int,
    "messages": list,
    "stream": bool,
    "system": (str, list),
    "tools": list,
    "tool_choice": dict,
    "thinking": dict,
    "metadata": dict,
    "output_config": dict,
    "stop_sequences": list,
}
_USER_BLOCKS = ("text", "image", "document", "tool_result")
_ASSISTANT_BLOCKS = ("text", "tool_use", "thinking", "redacted_thinking")
_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
}
_KINDS |= {429: "rate_limit_error", 500: "api_error", 503: "overloaded_error"}


class AnthropicDialect:
    """``/v1/messages`` and ``/v1/messages/count_tokens``."""

    def __init__(self, script: Script, models: Models) -> None:
        self._script = script
        self._models = models
        self._served = 0

    def answer(self, inbound: Inbound) -> Reply:
        """The answer to one request; a ``Refusal`` when there is none."""
        if inbound.method != "POST":
            raise Refusal(405, "Method Not Allowed")
        counts = inbound.path == "/v1/messages/count_tokens"
        if not counts and inbound.path != "/v1/messages":
            raise Refusal(404, "Not Found")
        fields = decode(inbound.body)
        _check(fields, counts=counts)
        if fields["model"] not in self._models:
            raise Refusal(404, f"model: {fields['model']}")
        generation = self._script.generate(_prompt(fields))
        if counts:
            return Reply((Chunk(encode({"input_tokens": generation.tokens.input})),))
        self._served += 1
        head = {
            "id": f"msg_scripted{self._served:08d}",
            "type": "message",
            "role": "assistant",
            "model": fields["model"],
            "x_future": {"since": "2031-01-01"},
        }
        usage = report(generation.tokens, inbound.usage_lie)
        choice = generation.choices[0]
        if fields.get("stream"):
            return self._stream(head, generation, usage)
        body = {**head, "content": _content(choice), **_stop(choice), "usage": _usage(usage)}
        return Reply((Chunk(encode(body), generation.tokens.output),), tokens=generation.tokens)

    def refuse(self, refusal: Refusal) -> Reply:
        """The refusal in this dialect's error shape."""
        return Reply((Chunk(encode(_error(refusal))),), status=refusal.status)

    def error_event(self, refusal: Refusal) -> bytes:
        """The refusal as an event inside a stream that has begun."""
        return b"event: error\ndata: " + encode(_error(refusal)) + b"\n\n"

    def _stream(self, head: dict[str, Any], generation: Generation, usage: Tokens | None) -> Reply:
        choice = generation.choices[0]
        begun = {**_usage(usage), "output_tokens": 1}
        start = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": begun}
        chunks = [_event("message_start", message=start), _event("ping"), *_blocks(choice)]
        said = {"output_tokens": usage.output} if usage is not None else {}
        closing = (_event("message_delta", delta=_stop(choice), usage=said), _event("message_stop"))
        if usage is None:
            closing = (_event("message_delta", delta=_stop(choice)), _event("message_stop"))
        return Reply(tuple(chunks), closing, content_type=_SSE, streamed=True, tokens=generation.tokens)


def _check(fields: dict[str, Any], *, counts: bool) -> None:
    for name in ("model", "messages", *(() if counts else ("max_tokens",))):
        if fields.get(name) is None:
            raise Refusal(400, f"{name}: Field required")
    for name, value in fields.items():
        if name not in _ALLOWED and not name.startswith("x_"):
            raise Refusal(400, f"{name}: Extra inputs are not permitted")
        expected = _TYPES.get(name)
        if expected is not None and (
            not isinstance(value, expected) or (isinstance(value, bool) and expected is int)
        ):
            raise Refusal(400, f"{name}: Input should be a valid value")
    if not fields["messages"]:
        raise Refusal(400, "messages: at least one message is required")
    if not counts and fields["max_tokens"] < 1:
        raise Refusal(400, "max_tokens: Input should be greater than or equal to 1")
    if set(fields.get("metadata") or {}) - {"user_id"}:
        raise Refusal(400, "metadata: Extra inputs are not permitted")
    asked: set[str] = set()
    for number, message in enumerate(fields["messages"]):
        asked = _check_message(message, f"messages.{number}", asked)
    for number, tool in enumerate(fields.get("tools") or ()):
        if not isinstance(tool.get("name"), str) or not isinstance(tool.get("input_schema"), dict):
            raise Refusal(400, f"tools.{number}.custom.input_schema: Field required")


def _check_message(message: dict[str, Any], path: str, asked: set[str]) -> set[str]:
    """Refuses what is out of place; the ids of the tool uses that the next message must answer."""
    role = message.get("role")
    if role not in ("user", "assistant"):
        raise Refusal(400, f"{path}.role: Input should be 'user' or 'assistant'")
    blocks = _parts(message.get("content"))
    if not blocks:
        raise Refusal(400, f"{path}: all messages must have non-empty content")
    used = set()
    for number, block in enumerate(blocks):
        kind = block.get("type")
        if kind not in (_USER_BLOCKS if role == "user" else _ASSISTANT_BLOCKS):
            raise Refusal(
                400, f"{path}.content.{number}: Input tag '{kind}' found using 'type' does not match"
            )
        if kind == "text" and not block.get("text"):
            raise Refusal(400, f"{path}.content.{number}.text: text content blocks must be non-empty")
        if kind == "tool_use":
            if not isinstance(block.get("input"), dict):
                raise Refusal(
                    400, f"{path}.content.{number}.tool_use.input: Input should be a valid dictionary"
                )
            used.add(block["id"])
        if kind == "tool_result":
            if block.get("tool_use_id") not in asked:
                raise Refusal(400, f"{path}.content.{number}: unexpected `tool_use_id` found")
            asked = asked - {block["tool_use_id"]}
    if role == "user" and asked:
        raise Refusal(400, f"{path}: `tool_use` ids were found without `tool_result` blocks: {sorted(asked)}")
    return used


def _prompt(fields: dict[str, Any]) -> Prompt:
    messages = fields["messages"]
    blocks = [block for message in messages for block in _parts(message["content"])]
    texts = [_text(block) for block in (*_parts(fields.get("system")), *blocks)]
    texts += [encode(fields[name]).decode() for name in ("tools", "output_config") if fields.get(name)]
    said = [_parts(message["content"]) for message in messages if message["role"] == "user"]
    schema = ((fields.get("output_config") or {}).get("format") or {}).get("schema")
    results = any(block["type"] == "tool_result" for block in said[-1]) if said else False
    return Prompt(
        texts=texts,
        question=" ".join(_text(block) for block in said[-1]) if said else "",
        instructions=" ".join(_text(block) for block in _parts(fields.get("system"))),
        messages=len(messages),
        images=sum(block["type"] == "image" for block in blocks),
        limit=fields.get("max_tokens"),
        schema=schema,
        tool=None if results else _tool(fields),
        think=(fields.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
    )


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content or []


def _text(block: dict[str, Any]) -> str:
    if block["type"] == "tool_result":
        return " ".join(_text(inner) for inner in _parts(block.get("content")))
    if block["type"] == "tool_use":
        return encode(block["input"]).decode()
    return str(block.get("text") or "")


def _tool(fields: dict[str, Any]) -> Tool | None:
    tools = {tool["name"]: tool for tool in fields.get("tools") or ()}
    wanted = fields.get("tool_choice") or {"type": "auto"}
    if not tools or wanted["type"] == "none":
        return None
    name = wanted.get("name") or next(iter(tools))
    if name not in tools:
        raise Refusal(400, f"tool_choice: tool '{name}' not found in provided tools")
    return Tool(name, tools[name]["input_schema"])


def _content(choice: Choice) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if choice.thinking:
        content.append({"type": "thinking", "thinking": choice.thinking_text, "signature": "c2ln"})
    if not choice.tool:
        content.append({"type": "text", "text": choice.text})
    elif not choice.cut_by_limit:
        content.append({**_use(choice), "input": _input(choice)})
    return content


def _use(choice: Choice) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_scripted_{choice.tool}", "name": choice.tool, "input": {}}


def _input(choice: Choice) -> Any:
    return decode(choice.text.encode())


def _blocks(choice: Choice) -> Iterator[Chunk]:
    index = 0
    if choice.thinking:
        yield _event(
            "content_block_start",
            index=0,
            content_block={"type": "thinking", "thinking": "", "signature": ""},
        )
        for piece in choice.thinking:
            yield _delta(0, {"type": "thinking_delta", "thinking": piece.text}, piece)
        yield _delta(0, {"type": "signature_delta", "signature": "c2ln"})
        yield _event("content_block_stop", index=0)
        index = 1
    block = _use(choice) if choice.tool else {"type": "text", "text": ""}
    yield _event("content_block_start", index=index, content_block=block)
    for piece in choice.pieces:
        said = {"type": "text_delta", "text": piece.text}
        yield _delta(
            index, {"type": "input_json_delta", "partial_json": piece.text} if choice.tool else said, piece
        )
    yield _event("content_block_stop", index=index)


def _delta(index: int, delta: dict[str, Any], piece: Piece | None = None) -> Chunk:
    chunk = _event("content_block_delta", index=index, delta=delta)
    return Chunk(chunk.data, piece.tokens if piece is not None else 0)


def _stop(choice: Choice) -> dict[str, Any]:
    reason = "max_tokens" if choice.cut_by_limit else "tool_use" if choice.tool else "end_turn"
    return {"stop_reason": reason, "stop_sequence": None}


def _usage(tokens: Tokens | None) -> dict[str, Any]:
    if tokens is None:
        return {}
    return {
        "input_tokens": tokens.input - tokens.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": tokens.cached,
        "output_tokens": tokens.output,
        "service_tier": "standard",
    }


def _event(kind: str, **fields: Any) -> Chunk:
    return Chunk(f"event: {kind}\ndata: ".encode() + encode({"type": kind, **fields}) + b"\n\n")


def _error(refusal: Refusal) -> dict[str, Any]:
    kind = _KINDS.get(refusal.status, "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": refusal.message}}
