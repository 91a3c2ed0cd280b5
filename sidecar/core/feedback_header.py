"""Reads the header by which an app rates an earlier answer in its next call; pure."""

from __future__ import annotations

from typing import Final

from sidecar.core.errors import InvalidHint

FEEDBACK_HEADER: Final = "x-sidecar-feedback"
RATINGS_MAX: Final = 20
_ID_CHARS_MAX: Final = 64


def parse_feedback(text: str) -> tuple[tuple[str, float], ...]:
    """``<request id>=<score>``, several with commas between them: the ids and their scores of 0 to 1.

    Raises ``InvalidHint``.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > RATINGS_MAX:
        raise InvalidHint(
            f"{FEEDBACK_HEADER}: {len(parts)} ratings; send {RATINGS_MAX} at most", param=FEEDBACK_HEADER
        )
    return tuple(_rating(part) for part in parts)


def _rating(part: str) -> tuple[str, float]:
    request_id, _, score_text = (side.strip() for side in part.partition("="))
    try:
        score = float(score_text)
    except ValueError:
        score = -1.0
    if not request_id or len(request_id) > _ID_CHARS_MAX or not 0 <= score <= 1:
        raise InvalidHint(
            f"{FEEDBACK_HEADER}: {part[:100]!r} is not accepted; write "
            "<x-sidecar-request-id>=<score from 0 to 1>",
            param=FEEDBACK_HEADER,
        )
    return request_id, score
