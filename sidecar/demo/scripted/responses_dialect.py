"""Speaks OpenAI's Responses: one call, plain or streamed, nothing kept. Facts: OpenAI's API reference."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from sidecar.demo.scripted import openai_checks as checks
from sidecar.demo.scripted.reply import Chunk, Refusal, Reply, encode, report
from sidecar.demo.scripted.script import Choice, Generation, Prompt, Tokens, Tool

ARGUMENTS: dict[str, Any] = {
    "model": str,
    "input": (str, list),
    "instructions": str,
    "max_output_tokens": int,
    "temperature": (int, float),
    "top_p": (int, float),
    "top_logprobs": int,
    "tools": list,
    "tool_choice": (str, dict),
    "parallel_tool_calls": bool,
    "text": dict,
    "reasoning": dict,
    "stream": bool,
    "stream_options": dict,
    "store": bool,
    "include": list,
    "metadata": dict,
    "truncation": str,
    "user": str,
    "service_tier": str,
    "safety_identifier": str,
    "prompt_cache_key": str,
}
_PARTS = {"user": ("input_text", "input_image", "input_file"), "assistant": ("output_text", "refusal")}
_SSE = "text/event-stream; charset=utf-8"


def check(fields: dict[str, Any]) -> None:
    """Refuses what OpenAI refuses."""
    checks.check_arguments(fields, ARGUMENTS, required="input")
    if (fields.get("max_output_tokens") or 16) < 16:
        raise Refusal(
            400,
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got "
            f"{fields['max_output_tokens']} instead.",
            code="integer_below_min_value",
            param="max_output_tokens",
        )
    called: set[str] = set()
    for number, item in enumerate(_items(fields)):
        path = f"input[{number}]"
        checks.check_type(path, item, dict)
        kind = item.get("type", "message")
        if kind == "message":
            _check_content(item, path)
        elif kind == "function_call":
            called.add(item["call_id"])
        elif kind == "function_call_output":
            if item.get("call_id") not in called:
                raise Refusal(
                    400,
                    f"No tool call found for function call output with call_id {item.get('call_id')}.",
                    param="input",
                )
        elif kind != "reasoning":
            raise Refusal(400, f"Invalid value: '{kind}'.", code="invalid_value", param=f"{path}.type")
    for number, tool in enumerate(fields.get("tools") or ()):
        if tool.get("type") != "function" or not tool.get("name"):
            raise Refusal(
                400, f"Missing required parameter: 'tools[{number}].name'.", param=f"tools[{number}]"
            )


def _check_content(item: dict[str, Any], path: str) -> None:
    content = item.get("content")
    checks.check_type(f"{path}.content", content, (str, list))
    allowed = _PARTS.get(item["role"], _PARTS["user"])
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if part.get("type") not in allowed:
            raise Refusal(
                400,
                f"Invalid value: '{part.get('type')}'. Supported values are: {', '.join(allowed)}.",
                code="invalid_value",
                param=f"{path}.content[{number}]",
            )


def _items(fields: dict[str, Any]) -> list[dict[str, Any]]:
    given = fields["input"]
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = [str(part.get("text") or part.get("refusal") or "") for part in content or ()]
    return " ".join(filter(None, texts))


def prompt_of(fields: dict[str, Any]) -> Prompt:
    """What the request asks."""
    items = _items(fields)
    texts = [fields.get("instructions") or ""]
    texts += [_text(item.get("content") or item.get("output") or item.get("arguments")) for item in items]
    texts += [encode(fields[name]).decode() for name in ("tools", "text") if fields.get(name)]
    parts = [part for item in items if isinstance(item.get("content"), list) for part in item["content"]]
    said = [
        item for item in items if item.get("role") == "user" or item.get("type") == "function_call_output"
    ]
    last = said[-1] if said else {}
    wanted = (fields.get("text") or {}).get("format") or {}
    schemas: dict[str, Any] = {"json_schema": wanted.get("schema"), "json_object": {}}
    return Prompt(
        texts=texts,
        question=_text(last.get("content") or last.get("output")),
        instructions=fields.get("instructions") or "",
        messages=len(items),
        images=sum(part.get("type") == "input_image" for part in parts),
        limit=fields.get("max_output_tokens"),
        schema=schemas.get(wanted.get("type", "")),
        tool=_tool(fields) if last.get("role") == "user" else None,
        think=bool((fields.get("reasoning") or {}).get("summary")),
    )


def _tool(fields: dict[str, Any]) -> Tool | None:
    tools = {tool["name"]: tool for tool in fields.get("tools") or ()}
    wanted = fields.get("tool_choice") or "auto"
    if not tools or wanted == "none":
        return None
    name = wanted["name"] if isinstance(wanted, dict) else next(iter(tools))
    return Tool(name, tools[name].get("parameters") or {})


def reply(fields: dict[str, Any], generation: Generation, key: str, lie: str) -> Reply:
    """The response, whole or streamed."""
    choice = generation.choices[0]
    usage = report(generation.tokens, lie)
    head = {
        "id": f"resp_{key}",
        "object": "response",
        "created_at": int(time.time()),
        "model": fields["model"],
        "error": None,
        "instructions": fields.get("instructions"),
        "parallel_tool_calls": True,
        "tool_choice": fields.get("tool_choice") or "auto",
        "tools": fields.get("tools") or [],
        "metadata": fields.get("metadata") or {},
        "x_future": {"since": "2031-01-01"},
    }
    status = "incomplete" if choice.cut_by_limit else "completed"
    done = {
        **head,
        "status": status,
        "incomplete_details": {"reason": "max_output_tokens"} if choice.cut_by_limit else None,
        "output": [item for item, _ in _output(choice, key)],
        **({"usage": _usage(usage)} if usage is not None else {}),
    }
    if not fields.get("stream"):
        return Reply((Chunk(encode(done), generation.tokens.output),), tokens=generation.tokens)
    events = _Events()
    begun = {**head, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    chunks = [events("response.created", response=begun), events("response.in_progress", response=begun)]
    for index, (item, pieces) in enumerate(_output(choice, key)):
        chunks += _fill(events, index, item, pieces)
    closing = (events(f"response.{status}", response=done),)
    return Reply(tuple(chunks), closing, content_type=_SSE, streamed=True, tokens=generation.tokens)


class _Events:
    """Numbers the events."""

    def __init__(self) -> None:
        self._number = -1

    def __call__(self, kind: str, tokens: int = 0, **fields: Any) -> Chunk:
        self._number += 1
        body = {"type": kind, "sequence_number": self._number, **fields}
        return Chunk(f"event: {kind}\ndata: ".encode() + encode(body) + b"\n\n", tokens)


def _output(choice: Choice, key: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """The items of the answer, each with the pieces that it came in."""
    status = "incomplete" if choice.cut_by_limit else "completed"
    if choice.thinking:
        summary = [{"type": "summary_text", "text": choice.thinking_text}]
        yield {"id": f"rs_{key}", "type": "reasoning", "summary": summary}, choice.thinking
    if choice.tool:
        call = {"call_id": f"call_{key}", "name": choice.tool, "arguments": choice.text}
        yield {"id": f"fc_{key}", "type": "function_call", "status": status, **call}, choice.pieces
        return
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": choice.text}
    message = {"type": "message", "status": status, "role": "assistant", "content": [part]}
    yield {"id": f"msg_{key}", **message}, choice.pieces


def _fill(events: _Events, index: int, item: dict[str, Any], pieces: Any) -> Iterator[Chunk]:
    place = {"item_id": item["id"], "output_index": index}
    empty: dict[str, Any]
    more: dict[str, Any]
    match item["type"]:
        case "reasoning":
            empty, kind, more = {"summary": []}, "response.reasoning_summary_text", {"summary_index": 0}
        case "function_call":
            empty, kind, more = {"arguments": ""}, "response.function_call_arguments", {}
        case _:
            empty, kind, more = {"content": []}, "response.output_text", {"content_index": 0, "logprobs": []}
    opened = {**item, **empty} | ({} if item["type"] == "reasoning" else {"status": "in_progress"})
    yield events("response.output_item.added", output_index=index, item=opened)
    if item["type"] == "message":
        part = {**item["content"][0], "text": ""}
        yield events("response.content_part.added", **place, content_index=0, part=part)
    elif item["type"] == "reasoning":
        part = {"type": "summary_text", "text": ""}
        yield events("response.reasoning_summary_part.added", **place, summary_index=0, part=part)
    for piece in pieces:
        yield events(f"{kind}.delta", piece.tokens, **place, **more, delta=piece.text)
    whole = "".join(piece.text for piece in pieces)
    said = {"arguments": whole, "name": item["name"]} if item["type"] == "function_call" else {"text": whole}
    yield events(f"{kind}.done", **place, **more, **said)
    yield events("response.output_item.done", output_index=index, item=item)


def _usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": 0},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens.input + tokens.output,
    }
