"""What is posted for an attempt follows from how it ended, and errs to the safe side only."""

from __future__ import annotations

import pytest

from sidecar.core.ending import may_reason_unseen, settlement_of
from sidecar.core.errors import UNBILLED_FAULTS, Fault
from sidecar.core.ports import Tally
from sidecar.core.settlement import Settlement, SettlementKind
from sidecar.core.vocabulary import Usage

REPORT = Usage(10, 20)
RELEASED, UNKNOWN = Settlement(SettlementKind.RELEASED), Settlement(SettlementKind.UNKNOWN)


def tally(text_bytes: int = 0, usage: Usage | None = None, *, finished: bool = False) -> Tally:
    seen = Tally()
    seen.output_text_bytes, seen.usage, seen.finished = text_bytes, usage, finished
    return seen


@pytest.mark.parametrize("fault", Fault)
def test_without_an_answer_only_a_refusal_is_free(fault: Fault) -> None:
    expected = RELEASED if fault in UNBILLED_FAULTS else UNKNOWN
    assert settlement_of(None, fault, input_bound=900) == expected
    assert settlement_of(tally(), fault, input_bound=900) == expected


@pytest.mark.parametrize("fault", [None, Fault.CUT, Fault.TIMEOUT])
def test_a_usage_at_the_end_counts_whatever_came_after(fault: Fault | None) -> None:
    seen = tally(50, REPORT, finished=True)
    assert settlement_of(seen, fault, input_bound=900) == Settlement(SettlementKind.REPORTED, REPORT)


def test_a_usage_before_the_end_is_a_count_so_far() -> None:
    for text_bytes, output in ((5, 20), (50, 50)):
        seen = tally(text_bytes, REPORT)
        estimate = Usage(900, output, estimated=True)
        assert settlement_of(seen, None, input_bound=900) == Settlement(SettlementKind.ESTIMATED, estimate)
        assert settlement_of(seen, Fault.CUT, input_bound=900) == UNKNOWN


def test_what_was_held_back_is_not_estimated_unless_it_came_to_its_end() -> None:
    seen = tally(50)
    seen.behind = True
    assert settlement_of(seen, None, input_bound=900) == UNKNOWN
    seen.finished = True
    whole = Settlement(SettlementKind.ESTIMATED, Usage(900, 50, estimated=True))
    assert settlement_of(seen, None, input_bound=900) == whole


def test_what_was_delivered_is_never_free_again() -> None:
    for fault in Fault:
        assert settlement_of(tally(1), fault, input_bound=900) == UNKNOWN


def test_who_left_before_the_first_token_may_be_billed_for_everything() -> None:
    assert settlement_of(None, None, input_bound=900) == UNKNOWN


def test_what_may_have_been_reasoned_unseen_is_not_estimated() -> None:
    assert settlement_of(tally(5), None, input_bound=900, unseen=True) == UNKNOWN
    reported = settlement_of(tally(5, REPORT, finished=True), None, input_bound=900, unseen=True)
    assert reported == Settlement(SettlementKind.REPORTED, REPORT)


@pytest.mark.parametrize(
    ("model", "fields", "unseen"),
    [
        ("gpt-4o", {}, False),
        ("gpt-4.1-mini", {"reasoning_effort": None}, False),
        ("gpt-oss:120b", {"think": True}, False),
        ("llama3.2", {}, False),
        ("o3-mini", {}, True),
        ("O1", {}, True),
        ("ft:o4-mini-2025-04-16:us:x", {}, True),
        ("openai/gpt-5-nano", {}, True),
        ("anthropic/claude-sonnet-4", {}, True),
        ("gemini-2.5-flash", {}, True),
        ("deepseek-r1", {"reasoning": {"exclude": True}}, True),
        ("deepseek-r1", {"reasoning": {"effort": "high"}}, False),
        ("deepseek-r1", {"include_reasoning": False}, True),
        ("deepseek-r1", {"reasoning_format": "hidden"}, True),
    ],
)
def test_who_reasons_unseen_is_known_by_name_or_by_what_was_asked(
    model: str, fields: dict[str, object], unseen: bool
) -> None:
    assert may_reason_unseen(model, fields) is unseen
