"""Writes a task as a request of OpenAI's dialect, its hints as headers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sidecar.client.errors import InvalidTask
from sidecar.client.task import LLMTask
from sidecar.core.hint_words import DataClassification, TaskType

_CHAT = "/v1/chat/completions"
_EMBEDDINGS = "/v1/embeddings"


class Request(NamedTuple):
    """What goes to the sidecar; ``path`` is relative to its base URL."""

    path: str
    headers: dict[str, str]
    body: bytes


def chat_request(task: LLMTask, *, app: str | None, stream: bool) -> Request:
    """The request for ``task``; ``app`` is the app's name where the task has none.

    Raises ``InvalidTask`` for an embedding task and for values that JSON cannot say.
    """
    if task.task_type is TaskType.EMBEDDING:
        raise InvalidTask("an embedding task has vectors for an answer: use embed")
    messages: list[Mapping[str, Any]] = []
    if task.system is not None:
        messages.append({"role": "system", "content": task.system})
    if task.prompt is not None:
        messages.append({"role": "user", "content": task.prompt})
    fields: dict[str, Any] = {"model": task.model, "messages": [*messages, *(task.messages or ())]}
    if task.max_tokens is not None:
        fields["max_tokens"] = task.max_tokens
    if task.temperature is not None:
        fields["temperature"] = task.temperature
    fields |= task.extra_body or {}
    if stream:
        fields["stream"] = True
    hints = {
        "task-type": task.task_type,
        "data-classification": task.data_classification,
        "quality": task.quality,
        "complexity": task.complexity,
        "batch-size": task.batch_size,
        "session": task.session,
        "app": task.app or app,
    }
    request = _request(_CHAT, fields, hints, task.metadata, task.extra_headers)
    if stream:
        request.headers["x-sidecar-summary"] = "true"
    return request


def embedding_request(
    texts: Sequence[str],
    *,
    model: str,
    data_classification: DataClassification | None,
    session: str | None,
    app: str | None,
) -> Request:
    """The request for one vector for each of ``texts``."""
    if not texts:
        raise InvalidTask("give at least one text to embed")
    hints = {"data-classification": data_classification, "session": session, "app": app}
    return _request(_EMBEDDINGS, {"model": model, "input": list(texts)}, hints, None, None)


def _request(
    path: str,
    fields: dict[str, Any],
    hints: Mapping[str, str | int | None],
    metadata: Mapping[str, Any] | None,
    extra_headers: Mapping[str, str] | None,
) -> Request:
    headers = {"content-type": "application/json", **(extra_headers or {})}
    in_body = dict(metadata or {})
    for name, value in hints.items():
        if value is None:
            continue
        text = str(value)
        # A name may be written in any script, and a header cannot; the sidecar takes hints from either.
        if text.isascii() and text.isprintable():
            headers[f"x-sidecar-{name}"] = text
        else:
            in_body[name] = text
    if in_body:
        fields["metadata"] = {**fields.get("metadata", {}), **in_body}
    try:
        body = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise InvalidTask(f"the task cannot be written as JSON: {error}") from None
    return Request(path, headers, body)
