"""What comes back: the answer, who gave it, why, and what it cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sidecar.client.errors import NotASidecar


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What the sidecar says of every answered call.

    ``provider`` is the tier that answered, ``model`` the model it used, ``routing_reason`` the stable code
    for why. ``fallback_used`` says that other tiers were tried before: ``fallback_tiers``, in order.
    ``cost_usd`` is exact. ``latency_ms`` is from asking to the whole answer, as the app saw it.
    ``arm`` is ``routed`` or ``legacy``.
    """

    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    latency_ms: float
    routing_reason: str
    fallback_tiers: tuple[str, ...]
    arm: str
    request_id: str
    trace_id: str

    @property
    def fallback_used(self) -> bool:
        return bool(self.fallback_tiers)

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, kw_only=True)
class LLMResponse(Answered):
    """A model's answer: ``content`` is its text, ``tool_calls`` what it wants called, in OpenAI's shape."""

    content: str
    finish_reason: str
    tool_calls: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class EmbeddingResponse(Answered):
    """One vector for each text, in the order of the texts."""

    vectors: tuple[tuple[float, ...], ...]


def read_chat(headers: Mapping[str, str], body: bytes, latency_ms: float) -> LLMResponse:
    """The answer in a whole chat completion. Raises ``NotASidecar``."""
    fields = _object(body)
    try:
        choice = fields["choices"][0]
        message = choice["message"]
        return LLMResponse(
            content=message.get("content") or "",
            finish_reason=choice.get("finish_reason") or "",
            tool_calls=tuple(message.get("tool_calls") or ()),
            **_facts(headers, fields, latency_ms),
        )
    except (KeyError, IndexError, TypeError, AttributeError):
        raise NotASidecar("the answer is no chat completion") from None


def read_embeddings(headers: Mapping[str, str], body: bytes, latency_ms: float) -> EmbeddingResponse:
    """The vectors in an answer of the embeddings endpoint. Raises ``NotASidecar``."""
    fields = _object(body)
    try:
        items = sorted(fields["data"], key=lambda item: item["index"])
        vectors = tuple(tuple(map(float, item["embedding"])) for item in items)
        return EmbeddingResponse(vectors=vectors, **_facts(headers, fields, latency_ms))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NotASidecar("the answer holds no embeddings") from None


def usd(text: str) -> Decimal:
    """An exact amount, written as short as a float would be: ``0.0`` for nothing. Raises ``NotASidecar``."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise NotASidecar(f"{text[:40]!r} is no cost in dollars") from None
    whole, _, decimals = f"{amount:f}".partition(".")
    return Decimal(f"{whole}.{decimals.rstrip('0') or '0'}")


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError:
        raise NotASidecar("the answer is not JSON") from None
    if not isinstance(fields, dict):
        raise NotASidecar("the answer is no JSON object")
    return fields


def _facts(headers: Mapping[str, str], fields: Mapping[str, Any], latency_ms: float) -> dict[str, Any]:
    usage = fields.get("usage") or {}
    tried = headers.get("x-sidecar-fallback", "")
    return {
        "provider": headers["x-sidecar-tier"],
        "model": headers["x-sidecar-model"],
        "input_tokens": usage.get("prompt_tokens") or 0,
        "output_tokens": usage.get("completion_tokens") or 0,
        "cost_usd": usd(headers["x-sidecar-cost-usd"]),
        "latency_ms": latency_ms,
        "routing_reason": headers["x-sidecar-reason"],
        "fallback_tiers": tuple(tried.split(",")) if tried else (),
        "arm": headers["x-sidecar-arm"],
        "request_id": headers["x-sidecar-request-id"],
        "trace_id": headers["x-sidecar-trace-id"],
    }
