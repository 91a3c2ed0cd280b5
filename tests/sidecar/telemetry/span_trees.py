"""Shows a trace as text, so that it can be compared with a golden one and read in a diff."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.rig.otlp import Plain, ReceivedSpan

GOLDEN = Path(__file__).parents[2] / "golden" / "spans"

#: Attributes that are there, but differ from run to run.
_DIFFERS = {
    "sidecar.request_id",
    "sidecar.policy_id",
    "server.port",
    "http.request.body.size",
    "http.response.body.size",
    "gen_ai.response.time_to_first_chunk",
    "sidecar.queue.wait_s",
}


def check_golden(spans: Sequence[ReceivedSpan], name: str) -> None:
    """Assert that the spans are those of ``tests/golden/spans/<name>.txt``.

    ``GOLDEN=write`` in the environment writes the file instead, for a person to look at in the diff.
    """
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(rendered(spans))
    assert rendered(spans) == file.read_text()


def rendered(spans: Sequence[ReceivedSpan]) -> str:
    """The spans as an indented tree: kind, name, status, then attributes and events."""
    ids = {span.span_id for span in spans}
    roots = [span for span in spans if span.parent_id not in ids]
    return "\n".join(line for root in roots for line in _lines(root, spans, "")) + "\n"


def _lines(span: ReceivedSpan, spans: Sequence[ReceivedSpan], indent: str) -> Iterator[str]:
    failed = f" FAILED: {span.message}" if span.failed else ""
    yield f"{indent}{span.kind} {span.name}{failed}"
    for key, value in sorted(span.attributes.items()):
        yield f"{indent}    {key}: {_shown(key, value)}"
    for event in span.events:
        attributes = ", ".join(f"{key}={value}" for key, value in sorted(event.attributes.items()))
        yield f"{indent}    * {event.name}{f' ({attributes})' if attributes else ''}"
    for child in spans:
        if child.parent_id == span.span_id:
            yield from _lines(child, spans, indent + "  ")


def _shown(key: str, value: Plain) -> str:
    return "..." if key in _DIFFERS else str(value)
