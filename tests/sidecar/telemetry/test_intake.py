"""What was emitted is worked on and written down, also when the end comes in the middle of the work."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.core.vocabulary import RefusedCall
from sidecar.telemetry.intake import AT_ONCE, GATHER_S, Ended, Intake


def refused(number: int) -> RefusedCall:
    return RefusedCall(
        request_id=f"call-{number}", method="POST", door="/api/chat", code="invalid_request", status=400,
        started_ns=1, duration_ms=0.1, request_bytes=2, trace_id="0" * 32, span_id="1" * 16,
        parent_span_id="", sampled=True, trace_state="",
    )  # fmt: skip


@pytest.mark.parametrize("after_s", [0.0, GATHER_S, GATHER_S + 0.002, GATHER_S + 0.005, GATHER_S + 0.1])
async def test_closed_at_any_time_it_has_lost_nothing(after_s: float) -> None:
    taken: list[Ended] = []
    written: list[Ended] = []
    intake = Intake([lambda call, _: taken.append(call)], written.extend)
    calls = [refused(number) for number in range(20 * AT_ONCE)]
    for call in calls:
        intake.emit(call)
    await asyncio.sleep(after_s)
    await intake.close()
    assert taken == written == calls
    assert intake.dropped == intake.lines_dropped == 0


async def test_what_finds_no_room_is_counted() -> None:
    taken: list[Ended] = []
    intake = Intake([lambda call, _: taken.append(call)], lambda _: None, queue_max=5)
    for number in range(8):
        intake.emit(refused(number))
    await intake.close()
    assert [call.request_id for call in taken] == [f"call-{number}" for number in range(5)]
    assert intake.dropped == 3
