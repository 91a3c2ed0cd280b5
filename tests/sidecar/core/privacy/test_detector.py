"""The detector as a whole: engines, cache, budget, what it refuses, and that it never raises."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.privacy.corpus import generated
from benchmarks.privacy.templates import TUNING
from benchmarks.privacy.values import Values
from sidecar.core.privacy.detector import (
    CHUNK_MAX,
    TEXT_MAX,
    PatternDetector,
    PrivacyPattern,
    build_detector,
    chunks,
)
from sidecar.core.privacy.findings import Group
from sidecar.core.vocabulary import Verdict, VerdictState

KEY = b"a key for tests only"
GROUPS = ("pii", "health", "secrets")
MAIL = "anna.kurz@gmx.de"


def built(
    *,
    groups: tuple[str, ...] = GROUPS,
    patterns: tuple[PrivacyPattern, ...] = (),
    allow: tuple[str, ...] = (),
    max_scan_ms: float = 60_000,
    clock: Callable[[], float] = time.monotonic,
) -> PatternDetector:
    return build_detector(groups, patterns, allow, max_scan_ms, clock, KEY)


def test_both_engines_find_the_same(detector: PatternDetector, fallback: PatternDetector) -> None:
    assert (detector.engine, fallback.engine) == ("hyperscan", "re2")
    for sample in generated(TUNING, Values(31), 1):
        assert detector.find([sample.text]) == fallback.find([sample.text]), sample.text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="Ab1 0@.-\n+:/=é%", max_size=120), max_size=4))
def test_both_engines_agree_on_noise(
    detector: PatternDetector, fallback: PatternDetector, texts: list[str]
) -> None:
    assert detector.find(texts) == fallback.find(texts)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(), max_size=400), max_size=5), st.booleans())
def test_scan_never_raises(detector: PatternDetector, texts: list[str], public: bool) -> None:
    assert not detector.scan(texts, declared_public=public).why.startswith("the detector failed")


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=300))
def test_findings_lie_within_their_text(detector: PatternDetector, text: str) -> None:
    for found in detector.find([text, MAIL, text]):
        assert 0 <= found.start <= found.end <= len((text, MAIL, text)[found.text_index])


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["\ud800"], ["\x00" * 50]])
def test_nothing_to_find_is_clean(detector: PatternDetector, texts: list[str]) -> None:
    assert detector.scan(texts, declared_public=False) == Verdict(VerdictState.CLEAN)


def test_the_verdict_counts_kinds_and_shows_no_value(detector: PatternDetector) -> None:
    verdict = detector.scan([f"{MAIL} and bob.lang@web.de", "DE89370400440532013000"], declared_public=False)
    assert verdict.kinds == {"email": 2, "iban": 1}
    assert verdict.why == "found email, iban"


def test_past_its_budget_it_is_unknown() -> None:
    ticks: Iterator[int] = count()
    detector = built(max_scan_ms=50, clock=lambda: next(ticks) * 0.02)
    verdict = detector.scan(["harmless words " * 5_000], declared_public=True)
    assert verdict.state is VerdictState.UNKNOWN
    assert verdict.why == "the scan took longer than 50 ms"


def test_what_was_found_before_the_budget_ran_out_counts() -> None:
    ticks: Iterator[int] = count()
    detector = built(max_scan_ms=200, clock=lambda: next(ticks) * 0.02)
    verdict = detector.scan([MAIL, "harmless words " * 50_000], declared_public=False)
    assert verdict.state is VerdictState.SENSITIVE


def test_a_crash_is_unknown() -> None:
    def broken() -> float:
        raise RuntimeError("no clock")

    verdict = built(clock=broken).scan(["text"], declared_public=False)
    assert verdict == Verdict(VerdictState.UNKNOWN, why="the detector failed: RuntimeError")


def test_too_large_is_unknown(detector: PatternDetector) -> None:
    assert detector.scan(["a" * (TEXT_MAX + 1)], declared_public=True).state is VerdictState.UNKNOWN


ADVERSARIAL = {
    "at signs": "a@" * 50_000,
    "digits": "1234 " * 20_000,
    "one long number": "9" * 100_000,
    "plus": "+1" * 50_000,
    "cues": "password: " * 10_000,
    "spelled": "a at " * 20_000,
    "base64": "QUJD" * 25_000,
    "percent": "%41" * 33_000,
    "names": "John Smith " * 9_000,
    "brackets": "(" * 100_000,
    "zero width": "\u200b" * 100_000,
    "streets": "1 A Street " * 9_000,
    "health": "diabetes me " * 8_000,
    "breaks": "1\n" * 50_000,
    "iban": "DE89 " * 20_000,
    "backslashes": "\\" * 100_000,
    "escapes": "\\na" * 33_000,
    "quoted-printable": "=C3=A9" * 16_000,
    "tags": "<td>1" * 20_000,
    "line signs": "\n" + "> " * 50_000,
}


@pytest.fixture(scope="module")
def hurried() -> PatternDetector:
    detector = built(max_scan_ms=50)
    detector.scan(["warm up"], declared_public=False)
    return detector


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_text_ends_near_the_budget(hurried: PatternDetector, name: str) -> None:
    began = time.process_time()
    verdict = hurried.scan([ADVERSARIAL[name]], declared_public=False)
    spent = time.process_time() - began
    assert spent < 0.5, f"{spent:.3f} s, {verdict.why}"


def test_twice_the_text_takes_at_most_about_twice_the_time(detector: PatternDetector) -> None:
    def spent(samples: int) -> float:
        texts = [
            "".join(sample.text for sample in generated(TUNING, Values(seed), 1))[: samples * 8_000]
            for seed in (41, 42, 43)
        ]
        began = time.process_time()
        for text in texts:
            built_once.find([text])
        return time.process_time() - began

    built_once = built()
    built_once.find(["warm up"])
    assert spent(2) < 6 * spent(1)


def test_the_cache_answers_as_the_scan_did() -> None:
    detector = built()
    texts = [sample.text for sample in generated(TUNING, Values(51), 1)]
    first = [detector.scan([text], declared_public=False) for text in texts]
    kept = len(detector.cache)
    assert [detector.scan([text], declared_public=False) for text in texts] == first
    assert len(detector.cache) == kept


def test_the_cache_stays_within_its_bounds() -> None:
    detector = built()
    for number in range(9_000):
        detector.scan([f"text {number}"], declared_public=False)
    assert len(detector.cache) <= 4_096
    assert detector.cache.size_bytes <= 2_000_000


def test_a_chunk_is_judged_with_what_stands_around_it() -> None:
    detector = built()
    tail = "GB82 WEST 1234 5698 7654 32" + " end" * 5_000
    assert detector.scan([tail], declared_public=False).state is VerdictState.SENSITIVE
    broken = tail[10:]
    assert detector.scan([broken], declared_public=False).state is not VerdictState.SENSITIVE
    assert detector.scan([tail[:10], broken], declared_public=False).state is VerdictState.SENSITIVE


@pytest.mark.parametrize(
    ("between", "state"),
    [
        ((), VerdictState.SENSITIVE),
        (("\u200b",), VerdictState.SENSITIVE),  # it is not empty, though nothing of it is read
        (("",), VerdictState.CLEAN),
    ],
)
def test_a_value_over_two_texts_is_found_unless_an_empty_one_parts_them(
    detector: PatternDetector, between: tuple[str, ...], state: VerdictState
) -> None:
    texts = ["please charge 4539 57", *between, "87 6362 1486 for it"]
    assert detector.scan(texts, declared_public=False).state is state


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="ab \n", max_size=200), st.integers(1, 400))
def test_chunks_cover_the_text_once(unit: str, times: int) -> None:
    text = unit * times
    cuts = list(chunks(text))
    assert "".join(text[start:end] for start, end in cuts) == text
    assert all(end - start <= CHUNK_MAX for start, end in cuts)


@pytest.mark.parametrize(
    ("group", "text"),
    [("pii", MAIL), ("health", "My mother has epilepsy."), ("secrets", "password: Tiger4711!")],
)
def test_a_group_can_be_switched_off(group: str, text: str) -> None:
    assert built(groups=(group,)).scan([text], declared_public=False).state is VerdictState.SENSITIVE
    others = tuple(other for other in GROUPS if other != group)
    assert built(groups=others).scan([text], declared_public=False).state is VerdictState.CLEAN


def test_own_patterns_are_found_under_their_kind() -> None:
    detector = built(
        patterns=(PrivacyPattern("case", r"CASE-\d{4}", "case_number"), PrivacyPattern("müll", "Müll"))
    )
    verdict = detector.scan(["about CASE-2041", "Müllabfuhr"], declared_public=True)
    assert verdict == Verdict(
        VerdictState.SENSITIVE, {"case_number": 1, "müll": 1}, "found case_number, müll"
    )
    (found,) = (found for found in detector.find(["é CASE-2041"]) if found.kind == "case_number")
    assert (found.start, found.end, found.group) == (2, 11, Group.PII)


@pytest.mark.parametrize("regex", ["(a", "a*", "(?=a)b", ""])
def test_patterns_that_cannot_be_used_are_refused(regex: str) -> None:
    with pytest.raises(ValueError, match=r"privacy\.patterns: mine"):
        built(patterns=(PrivacyPattern("mine", regex),))


def test_the_allow_list_makes_clean() -> None:
    text = "Helen Carter opens the fair. Write to press@acme-fair.org or anna.kurz@acme-fair.org."
    assert built().scan([text], declared_public=False).state is VerdictState.SENSITIVE
    detector = built(allow=("Helen Carter", "@acme-fair.org"))
    assert detector.scan([text], declared_public=False).state is VerdictState.CLEAN
    assert detector.scan([text + " " + MAIL], declared_public=False).kinds == {"email": 1}


def test_an_allowed_string_must_say_something() -> None:
    with pytest.raises(ValueError, match=r"privacy\.allow"):
        built(allow=(" ",))


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ValueError, match="religion"):
        built(groups=("religion",))
