"""How the sidecar's log lines look: for people, or as JSON when ``SIDECAR_LOG=json`` asks for it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from sidecar.telemetry.log_stream import NeverWaiting
from sidecar.telemetry.refusal import TelemetryRefused

_HUMAN = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_CHATTY = ("httpx", "httpcore", "openai", "uvicorn.error")
_ENCODER = msgspec.json.Encoder(enc_hook=str)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a call's line has its fields, ``trace_id`` and ``span_id`` at the top."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
        }
        call = getattr(record, "call", None)
        if isinstance(call, dict):
            line |= call
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _ENCODER.encode(line).decode()


def set_up_logging(environ: Mapping[str, str]) -> None:
    """Log to standard error in the form asked for. Raises ``TelemetryRefused``."""
    form = environ.get("SIDECAR_LOG", "").strip().lower() or "human"
    if form not in ("human", "json"):
        raise TelemetryRefused(f"SIDECAR_LOG is {form!r}; write human or json")
    handler = NeverWaiting(sys.stderr.fileno())
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(_HUMAN))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
