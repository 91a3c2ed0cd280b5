"""Turns what goes wrong outside the data plane into a response in the caller's dialect."""

from __future__ import annotations

import logging
import time
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from sidecar.core.errors import SidecarError
from sidecar.core.vocabulary import Dialect
from sidecar.endpoints.request_id import HEADER, new_request_id
from sidecar.storage.database import StorageError
from sidecar.wire.error_body import error_fields

log = logging.getLogger(__name__)

_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
}


def dialect_of(path: str) -> Dialect | None:
    """The dialect that a caller of ``path`` speaks; None for the operators' own API."""
    if path.startswith("/v1/messages"):
        return Dialect.ANTHROPIC
    if path.startswith("/v1"):
        return Dialect.OPENAI
    if path.startswith("/api"):
        return Dialect.OLLAMA
    return None


def http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """Litestar's refusals: unknown path or method, bad parameters, no token."""
    status = error.status_code
    words = error.detail
    if isinstance(error, ValidationException) and error.extra:
        words = f"{words}: " + "; ".join(
            f"{item.get('key', '')}: {item.get('message', '')}"
            for item in error.extra
            if isinstance(item, dict)
        )
    if status == 404 and words == "Not Found":
        words = f"there is no {request.url.path[:200]} here"
    return _respond(request, status, words, _CODES.get(status, "error"), dict(error.headers or {}))


def sidecar_error(request: Request[Any, Any, Any], error: SidecarError) -> Response[dict[str, Any]]:
    """Our own refusals outside the data plane."""
    return _respond(request, error.status, error.message, error.code, {})


def storage_error(request: Request[Any, Any, Any], error: StorageError) -> Response[dict[str, Any]]:
    """The database cannot be read or written just now."""
    log.error("%s %s: %s", request.method, request.url.path, error)
    return _respond(request, 503, str(error), "storage_unavailable", {})


def unexpected_error(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Anything else is a defect of ours: told to the log in full, to the caller as such."""
    log.error("%s %s failed inside", request.method, request.url.path, exc_info=error)
    return _respond(request, 500, "the sidecar failed inside", "internal_error", {})


def _respond(
    request: Request[Any, Any, Any], status: int, words: str, code: str, headers: dict[str, str]
) -> Response[dict[str, Any]]:
    dialect = dialect_of(request.url.path)
    if dialect is not None:
        headers[HEADER] = new_request_id(time.time_ns())
    content = (
        error_fields(dialect, status, words, code)
        if dialect is not None
        else {"error": {"code": code, "message": words}}
    )
    return Response(content, status_code=status, headers=headers, media_type="application/json")
