"""Listens to a call whose messages its spans may show: asked for by the operator, and clean.

Nothing is read while the call is served; the bytes are kept, up to a size, and what they say is found out
afterwards. An answer goes through the privacy gate of its own before it is shown: a clean question may be
answered with somebody's address.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.privacy.gate import PrivacyGate
from sidecar.core.said import Said
from sidecar.core.vocabulary import Features, Operation, VerdictState
from sidecar.in_force import InForce
from sidecar.wire.answer_text import answer_text
from sidecar.wire.requests import DecodedCall

#: Of an answer's bytes these many are listened to.
ANSWER_BYTES_MAX: Final = 256 * 1024
#: Of a call's messages the last these many are shown, of each so many characters.
MESSAGES_MAX: Final = 32
CHARACTERS_MAX: Final = 4_096


class Transcript:
    """One call's messages and what has been heard of its answer."""

    __slots__ = ("_answer", "_gate", "_heard_bytes", "_parts", "_whole")

    def __init__(self, parts: tuple[tuple[str, str], ...], gate: PrivacyGate, *, answers: bool) -> None:
        """``answers``: the answer is text; embeddings are none."""
        self._parts = parts
        self._gate = gate
        self._answer: list[bytes] | None = [] if answers else None
        self._heard_bytes = 0
        self._whole = True

    def listen(self, chunk: bytes) -> None:
        """A piece of the answer, as the caller got it."""
        if self._answer is None:
            return
        self._heard_bytes += len(chunk)
        if self._heard_bytes <= ANSWER_BYTES_MAX:
            self._answer.append(chunk)
        else:
            self._whole = False

    def said(self) -> Said:
        """What was said, cut to what a span can carry."""
        messages = tuple((role, _cut(text)) for role, text in self._parts[-MESSAGES_MAX:])
        if not self._answer:
            return Said(messages)
        if not self._whole:
            return Said(messages, withheld="too long to be looked at")
        answer = answer_text(b"".join(self._answer))
        verdict, _ = self._gate.look([answer], None)
        if verdict.state is not VerdictState.CLEAN:
            return Said(messages, withheld=f"the answer is {verdict.state.value}")
        return Said(messages, _cut(answer))


def transcript_of(in_force: InForce, decoded: DecodedCall, features: Features) -> Transcript | None:
    """Where the call may be shown and somebody wants it: its transcript, still without an answer."""
    wanted = in_force.settings.telemetry.content == "clean_only"
    if not wanted or features.verdict.state is not VerdictState.CLEAN:
        return None
    answers = features.operation is not Operation.EMBEDDINGS
    return Transcript(decoded.parts, in_force.gate, answers=answers)


def _cut(text: str) -> str:
    left_out = len(text) - CHARACTERS_MAX
    return text if left_out <= 0 else f"{text[:CHARACTERS_MAX]}… ({left_out} more characters)"
