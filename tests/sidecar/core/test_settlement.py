"""Each ending posts what it should, never more than the hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.pricing import Price
from sidecar.core.settlement import Posting, Settlement, SettlementKind, UsageFlag, posting
from sidecar.core.vocabulary import Usage

PRICE = Price(2_000_000, 4_000_000, 1_000_000)  # 2, 4 and 1 nano-dollars a token
HELD = 1_000

counts = st.integers(-5, 600)


@pytest.mark.parametrize("kind", [SettlementKind.REPORTED, SettlementKind.ESTIMATED])
def test_what_was_used_is_posted(kind: SettlementKind) -> None:
    usage = Usage(100, 50, 20)
    assert posting(HELD, PRICE, Settlement(kind, usage)) == Posting(kind, 80 * 2 + 20 + 50 * 4, usage)


def test_what_cannot_have_been_billed_posts_nothing() -> None:
    assert posting(HELD, PRICE, Settlement(SettlementKind.RELEASED)).nano_usd == 0


@pytest.mark.parametrize("kind", [SettlementKind.UNKNOWN, SettlementKind.REPORTED, SettlementKind.ESTIMATED])
def test_what_is_not_known_posts_the_whole_hold(kind: SettlementKind) -> None:
    assert posting(HELD, PRICE, Settlement(kind)) == Posting(SettlementKind.UNKNOWN, HELD)


def test_a_report_above_the_hold_is_cut_and_flagged() -> None:
    usage = Usage(400, 51)
    posted = posting(HELD, PRICE, Settlement(SettlementKind.REPORTED, usage))
    assert posted == Posting(SettlementKind.REPORTED, HELD, usage, UsageFlag.OVER_HOLD)


def test_an_estimate_above_the_hold_is_cut_in_silence() -> None:
    posted = posting(HELD, PRICE, Settlement(SettlementKind.ESTIMATED, Usage(400, 51)))
    assert (posted.nano_usd, posted.flag) == (HELD, UsageFlag.NONE)


@pytest.mark.parametrize(
    "usage",
    [
        Usage(-1, 10),
        Usage(10, -1),
        Usage(10, 10, -1),
        Usage(10, 10, 0, -1),
        Usage(0, 10),
        Usage(10, 10, 11),
        Usage(10, 10, 0, 11),
        Usage(10**13, 1),
        Usage(1.5, 1),  # type: ignore[arg-type]
        Usage(True, 1),
    ],
)
def test_a_report_that_cannot_be_is_flagged_and_posts_the_whole_hold(usage: Usage) -> None:
    posted = posting(HELD, PRICE, Settlement(SettlementKind.REPORTED, usage))
    assert posted == Posting(SettlementKind.REPORTED, HELD, None, UsageFlag.ABSURD)


@given(st.integers(0, 10**6), st.sampled_from(SettlementKind), st.none() | st.builds(Usage, *[counts] * 4))
def test_a_hold_posts_at_most_itself(held: int, kind: SettlementKind, usage: Usage | None) -> None:
    posted = posting(held, PRICE, Settlement(kind, usage))
    assert 0 <= posted.nano_usd <= held
