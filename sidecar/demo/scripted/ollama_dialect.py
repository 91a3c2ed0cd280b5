"""Speaks Ollama's dialect: everything under ``/api``, with its defaults and its errors.

Facts are from Ollama's ``server/routes.go``: streams unless told not to, unknown fields ignored, empty
prompts load the model, thinking models think unless told not to, ``num_predict`` below one is no limit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from sidecar.demo.scripted.models import Models, abilities, only_embeds, thinks
from sidecar.demo.scripted.ollama_checks import check_messages, decode
from sidecar.demo.scripted.reply import Chunk, Inbound, Refusal, Reply, encode, report
from sidecar.demo.scripted.script import (
    EMBEDDING_DIMENSIONS,
    Choice,
    Piece,
    Prompt,
    Script,
    Tokens,
    Tool,
    embed,
)

VERSION = "0.14.0"
_JSON = "application/json; charset=utf-8"
_NDJSON = "application/x-ndjson"


class OllamaDialect:
    """Everything under ``/api``."""

    def __init__(self, script: Script, models: Models) -> None:
        self._script = script
        self._models = models
        self._routes: dict[str, dict[str, Callable[[Inbound], Reply]]] = {
            "/api/chat": {"POST": self._chat},
            "/api/generate": {"POST": self._generate},
            "/api/embed": {"POST": self._embed},
            "/api/embeddings": {"POST": self._embeddings},
            "/api/show": {"POST": self._show},
            "/api/tags": {"GET": self._tags},
            "/api/ps": {"GET": self._ps},
            "/api/version": {"GET": lambda _: _json({"version": VERSION})},
        }

    def answer(self, inbound: Inbound) -> Reply:
        """The answer to one request; a ``Refusal`` when there is none."""
        methods = self._routes.get(inbound.path)
        if methods is None:
            return _text("404 page not found", 404)
        method = "GET" if inbound.method == "HEAD" else inbound.method
        if method not in methods:
            return _text("405 method not allowed", 405)
        return methods[method](inbound)

    def refuse(self, refusal: Refusal) -> Reply:
        """The refusal in this dialect's error shape."""
        return Reply((Chunk(encode({"error": refusal.message})),), status=refusal.status, content_type=_JSON)

    def error_event(self, refusal: Refusal) -> bytes:
        """The refusal as a line inside a stream that has begun."""
        return encode({"error": refusal.message}) + b"\n"

    def _model(self, fields: dict[str, Any], verb: str = "") -> str:
        """The model asked for, which must be there and must be able to ``verb``."""
        name: str = fields.get("model") or ""
        if not name:
            raise Refusal(400, "model is required")
        if name not in self._models:
            raise Refusal(404, f'model "{name}" not found, try pulling it first')
        if verb and only_embeds(name):
            raise Refusal(400, f'"{name}" does not support {verb}')
        if verb and fields.get("think") and not thinks(name):
            raise Refusal(400, f'"{name}" does not support thinking')
        return name

    # Chat and generate ------------------------------------------------------------------------------

    def _chat(self, inbound: Inbound) -> Reply:
        fields = decode(inbound.body, "ChatRequest")
        model = self._model(fields, "chat")
        messages = fields.get("messages") or []
        check_messages(messages)
        if not messages:
            return _json({**_head(model), "message": _said(""), "done": True, "done_reason": _loaded(fields)})
        return self._produce(model, _chat_prompt(model, fields), fields, inbound.usage_lie, _chat_line)

    def _generate(self, inbound: Inbound) -> Reply:
        fields = decode(inbound.body, "GenerateRequest")
        model = self._model(fields, "generate")
        if not fields.get("prompt"):
            return _json({**_head(model), "response": "", "done": True, "done_reason": _loaded(fields)})
        prompt = Prompt(
            texts=[fields.get("system") or "", fields["prompt"]],
            question=fields["prompt"],
            instructions=fields.get("system") or "",
            messages=2 if fields.get("system") else 1,
            images=len(fields.get("images") or ()),
            limit=_limit(fields),
            schema=_schema(fields.get("format")),
            think=_thinks(model, fields),
        )
        return self._produce(model, prompt, fields, inbound.usage_lie, _generate_line)

    def _produce(
        self,
        model: str,
        prompt: Prompt,
        fields: dict[str, Any],
        lie: str,
        line: Callable[[str, str, list[dict[str, Any]]], dict[str, Any]],
    ) -> Reply:
        """Answer ``prompt``, streamed or whole; ``line`` puts text, thinking and tool calls in place."""
        generation = self._script.generate(prompt)
        choice, tokens = generation.choices[0], generation.tokens
        final = {
            "done": True,
            "done_reason": "length" if choice.cut_by_limit else "stop",
            **_metrics(tokens, lie),
        }
        if fields.get("stream") is False:
            body = {
                **_head(model),
                **line(_content(choice), choice.thinking_text, _tool_calls(choice)),
                **final,
            }
            return Reply((Chunk(encode(body), tokens.output),), content_type=_JSON, tokens=tokens)
        chunks = [
            _line({**_head(model), **line("", piece.text, []), "done": False}, piece)
            for piece in choice.thinking
        ]
        if choice.tool:
            whole = Piece("", sum(piece.tokens for piece in choice.pieces))
            chunks.append(
                _line(
                    {**_head(model), **line(_content(choice), "", _tool_calls(choice)), "done": False}, whole
                )
            )
        else:
            chunks += [
                _line({**_head(model), **line(piece.text, "", []), "done": False}, piece)
                for piece in choice.pieces
            ]
        closing = _line({**_head(model), **line("", "", []), **final}, Piece("", 0))
        return Reply(tuple(chunks), (closing,), content_type=_NDJSON, streamed=True, tokens=tokens)

    # Embeddings -------------------------------------------------------------------------------------

    def _embed(self, inbound: Inbound) -> Reply:
        fields = decode(inbound.body, "EmbedRequest")
        given = fields.get("input")
        texts = [given] if isinstance(given, str) else given or []
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise Refusal(400, "invalid input type")
        model = self._model(fields)
        dimensions = fields.get("dimensions") or EMBEDDING_DIMENSIONS
        tokens = Tokens(self._script.count_input(texts), 0)
        vectors = [embed(model, text, dimensions) for text in texts if text]
        usage = report(tokens, inbound.usage_lie)
        counted = {"prompt_eval_count": usage.input} if usage is not None else {}
        body = {
            "model": model,
            "embeddings": vectors,
            "total_duration": 14_143_917,
            "load_duration": 1_019_500,
            **counted,
        }
        return Reply((Chunk(encode(body)),), content_type=_JSON, tokens=tokens)

    def _embeddings(self, inbound: Inbound) -> Reply:
        fields = decode(inbound.body, "EmbeddingRequest")
        model = self._model(fields)
        text = fields.get("prompt") or ""
        vector = embed(model, text, EMBEDDING_DIMENSIONS) if text else []
        tokens = Tokens(self._script.count_input([text]), 0)
        return Reply((Chunk(encode({"embedding": vector})),), content_type=_JSON, tokens=tokens)

    # What is there ----------------------------------------------------------------------------------

    def _show(self, inbound: Inbound) -> Reply:
        fields = decode(inbound.body, "ShowRequest")
        name = fields.get("model") or fields.get("name") or ""
        if not name:
            raise Refusal(400, "model is required")
        if name not in self._models:
            raise Refusal(404, f"model '{name}' not found")
        capabilities = ["embedding"] if only_embeds(name) else ["completion", *abilities(name)]
        return _json(
            {
                "license": "scripted",
                "modelfile": f"FROM {name}",
                "parameters": "",
                "template": "{{ .Prompt }}",
                "details": _DETAILS,
                "model_info": {"general.architecture": "scripted", "scripted.context_length": 131072},
                "capabilities": capabilities + (["thinking"] if thinks(name) else []),
                "modified_at": _MODIFIED,
            }
        )

    def _tags(self, _: Inbound) -> Reply:
        return _json({"models": [_tag(name) for name in self._models.names]})

    def _ps(self, _: Inbound) -> Reply:
        running = {"expires_at": "2318-01-01T00:00:00Z", "size_vram": 0, "context_length": 4096}
        return _json({"models": [{**_tag(name), **running} for name in self._models.names]})


_MODIFIED = "2025-06-01T12:00:00.123456789Z"
_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "scripted",
    "families": ["scripted"],
    "parameter_size": "0B",
    "quantization_level": "Q4_K_M",
}


def _tag(name: str) -> dict[str, Any]:
    full = name if ":" in name else f"{name}:latest"
    digest = hashlib.sha256(full.encode()).hexdigest()
    return {
        "name": full,
        "model": full,
        "modified_at": _MODIFIED,
        "size": 4_096,
        "digest": digest,
        "details": _DETAILS,
    }


def _chat_prompt(model: str, fields: dict[str, Any]) -> Prompt:
    messages = fields["messages"]
    texts = [message.get("content") or "" for message in messages]
    texts += [encode(message["tool_calls"]).decode() for message in messages if message.get("tool_calls")]
    if fields.get("tools"):
        texts.append(encode(fields["tools"]).decode())
    said = {message["role"]: message.get("content") or "" for message in messages}
    return Prompt(
        texts=texts,
        question=said.get("user") or "",
        instructions=said.get("system") or "",
        messages=len(messages),
        images=sum(len(message.get("images") or ()) for message in messages),
        limit=_limit(fields),
        schema=_schema(fields.get("format")),
        tool=_tool(fields) if messages[-1]["role"] == "user" else None,
        think=_thinks(model, fields),
    )


def _tool(fields: dict[str, Any]) -> Tool | None:
    for tool in fields.get("tools") or ():
        function = tool.get("function") or {}
        return Tool(str(function.get("name") or ""), function.get("parameters") or {})
    return None


def _thinks(model: str, fields: dict[str, Any]) -> bool:
    return thinks(model) and fields.get("think") is not False


def _limit(fields: dict[str, Any]) -> int | None:
    limit = int((fields.get("options") or {}).get("num_predict") or 0)
    return limit if limit > 0 else None


def _schema(wanted: Any) -> dict[str, Any] | None:
    if wanted is None or wanted == "":
        return None
    if wanted == "json":
        return {}
    if not isinstance(wanted, dict):
        raise Refusal(
            500, f'invalid format: {encode(wanted).decode()}; expected "json" or a valid JSON Schema object'
        )
    return wanted


def _loaded(fields: dict[str, Any]) -> str:
    return "unload" if fields.get("keep_alive") in (0, "0", "0s") else "load"


def _head(model: str) -> dict[str, Any]:
    return {"model": model, "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f123Z")}


def _said(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def _chat_line(content: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    message = _said(content)
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = calls
    return {"message": message}


def _generate_line(content: str, thinking: str, _: list[dict[str, Any]]) -> dict[str, Any]:
    return {"response": content, **({"thinking": thinking} if thinking else {})}


def _content(choice: Choice) -> str:
    """The text beside tool calls: none, unless the limit cut the arguments and no call came of them."""
    return "" if choice.tool and not choice.cut_by_limit else choice.text


def _tool_calls(choice: Choice) -> list[dict[str, Any]]:
    if not choice.tool or choice.cut_by_limit:
        return []
    arguments = msgspec.json.decode(choice.text)
    return [
        {"id": f"call_{choice.tool}", "function": {"index": 0, "name": choice.tool, "arguments": arguments}}
    ]


def _metrics(tokens: Tokens, lie: str) -> dict[str, int]:
    usage = report(tokens, lie)
    durations = {"total_duration": 140_435_000, "load_duration": 5_000_000}
    if usage is None:
        return durations
    return {
        **durations,
        "prompt_eval_count": usage.input,
        "prompt_eval_duration": 35_000_000,
        "eval_count": usage.output,
        "eval_duration": 100_000_000,
    }


def _line(body: dict[str, Any], piece: Piece) -> Chunk:
    return Chunk(encode(body) + b"\n", piece.tokens)


def _json(body: dict[str, Any]) -> Reply:
    return Reply((Chunk(encode(body)),), content_type=_JSON)


def _text(text: str, status: int) -> Reply:
    return Reply((Chunk(text.encode()),), status=status, content_type="text/plain")
