"""Reads what a request in OpenAI's dialect asks."""

from __future__ import annotations

from typing import Any

from sidecar.demo.scripted.reply import Refusal, encode
from sidecar.demo.scripted.script import Prompt, Tool


def prompts_of(prompt: Any) -> list[str]:
    """The texts of a prompt: one, several, or token ids, of which a text is made."""
    if isinstance(prompt, str):
        return [prompt]
    if all(isinstance(item, int) for item in prompt):
        return [" ".join(map(str, prompt))]
    return [text for item in prompt for text in prompts_of(item)]


def chat_prompt(fields: dict[str, Any]) -> Prompt:
    """What a chat completion request asks."""
    messages = fields["messages"]
    texts, images = [], 0
    for message in messages:
        parts = _parts(message.get("content"))
        texts += [str(part.get("text") or part.get("refusal") or "") for part in parts]
        images += sum(part.get("type") == "image_url" for part in parts)
        if message.get("tool_calls"):
            texts.append(encode(message["tool_calls"]).decode())
    texts += [
        encode(fields[name]).decode()
        for name in ("tools", "functions", "response_format")
        if fields.get(name)
    ]
    return Prompt(
        texts=texts,
        question=_said(messages, "user", "tool"),
        instructions=_said(messages, "system", "developer"),
        messages=len(messages),
        images=images,
        limit=fields.get("max_completion_tokens") or fields.get("max_tokens"),
        choices=fields.get("n") or 1,
        schema=_schema(fields.get("response_format")),
        tool=_tool_to_call(fields) if messages[-1]["role"] == "user" else None,
    )


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def _said(messages: list[dict[str, Any]], *roles: str) -> str:
    """What was last said in one of ``roles``."""
    for message in reversed(messages):
        if message["role"] in roles:
            return " ".join(str(part.get("text") or "") for part in _parts(message.get("content")))
    return ""


def _schema(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
        case {"type": "json_object"}:
            return {}
    return None


def _tool_to_call(fields: dict[str, Any]) -> Tool | None:
    tools = {tool["function"]["name"]: tool["function"] for tool in fields.get("tools") or ()}
    wanted = fields.get("tool_choice") or "auto"
    if not tools or wanted == "none":
        return None
    name = next(iter(tools))
    if isinstance(wanted, dict):
        name = (wanted.get("function") or {}).get("name")
        if name not in tools:
            raise Refusal(400, "Tool choice 'function' not found in 'tools' parameter.", param="tool_choice")
    return Tool(name, tools[name].get("parameters") or {})
