"""Numbers, times and foreign texts read well."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import wording


@pytest.mark.parametrize(
    ("nano", "words"),
    [
        (None, "–"),
        (0, "$0"),
        (1, "$0.000000001"),
        (15_000, "$0.000015"),
        (1_234_567, "$0.00123"),
        (100_000_000, "$0.10"),
        (999_999_999, "$1.00"),
        (1_000_000_000, "$1.00"),
        (80_000_000_000, "$80.00"),
        (1_234_567_890_123, "$1,234.57"),
        (-2_500_000, "-$0.0025"),
    ],
)
def test_money(nano: int | None, words: str) -> None:
    assert wording.usd(nano) == words


def test_exact_money_loses_nothing() -> None:
    assert wording.usd_exact(1) == "0.000000001"
    assert wording.usd_exact(80_000_000_000) == "80.00"
    assert wording.usd_exact(-1_500_000_000) == "-1.50"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (0.24, "0.2 ms"),
        (12.3, "12 ms"),
        (999.4, "999 ms"),
        (1234, "1.23 s"),
        (12_345, "12.3 s"),
        (61_000, "1 min 01 s"),
    ],
)
def test_durations(value: float | None, words: str) -> None:
    assert wording.ms(value) == words


@pytest.mark.parametrize(
    ("share", "decimals", "words"),
    [
        (None, 1, "–"),
        (0, 1, "0 %"),
        (0.7, 0, "70 %"),
        (1, 0, "100 %"),
        (0.1234, 1, "12.3 %"),
        (0.00001, 1, "<0.1 %"),
    ],
)
def test_shares(share: float | None, decimals: int, words: str) -> None:
    assert wording.percent(share, decimals) == words


def test_times_are_those_of_the_zone() -> None:
    at_ns = int(datetime(2026, 7, 1, 22, 30, tzinfo=UTC).timestamp()) * wording.NANO
    berlin = ZoneInfo("Europe/Berlin")
    assert wording.moment(at_ns, berlin, at_ns + 5 * wording.NANO) == "00:30:00"
    assert wording.moment(at_ns, berlin, at_ns + 86_400 * wording.NANO) == "02 Jul 00:30:00"
    assert wording.moment(at_ns, berlin, at_ns + 366 * 86_400 * wording.NANO) == "02 Jul 2026 00:30"
    assert wording.utc(at_ns + 7_000_000) == "2026-07-01 22:30:00.007 UTC"
    assert wording.iso(at_ns) == "2026-07-01T22:30:00Z"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s"), (61, "1 min"), (3_600, "1 h"), (9_700, "2 h 41 min"), (90_000, "1 d 1 h")],
)
def test_spans(seconds: int, words: str) -> None:
    assert wording.span_words(seconds) == words
    assert wording.ago(0, seconds * wording.NANO) == f"{words} ago"


def test_foreign_text_is_one_line_without_tricks() -> None:
    assert wording.cut("a\r\nb\tc") == "a  b c"
    assert wording.cut("\x1b[31m") == "\\u001b[31m"
    assert wording.cut("\u202egnp.exe") == "\\u202egnp.exe"
    assert wording.cut("W" * 100) == "W" * 59 + "…"


@given(st.text(), st.integers(2, 80))
def test_cut_text_never_runs_over_its_length_or_hides_anything(text: str, chars: int) -> None:
    shown = wording.cut(text, chars)
    assert len(shown) <= chars
    assert shown.isprintable()
