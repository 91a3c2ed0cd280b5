"""The newest change of a cap wins, the configuration's or the operator's."""

from __future__ import annotations

from collections.abc import Iterable

from sidecar.core.budget import Cap
from sidecar.core.cap_seeds import SetBy, StoredCap, changes, seed_of
from sidecar.core.periods import PeriodKind

SEED = Cap("month", "openai", PeriodKind.MONTH, 80)
OTHER = Cap("month", "openai", PeriodKind.MONTH, 120)
LIVE = Cap("month", "openai", PeriodKind.MONTH, 5)


def follow(stored: dict[str, StoredCap], configured: Iterable[Cap]) -> dict[str, StoredCap]:
    return stored | {change.cap.name: change for change in changes(stored, configured)}


def test_a_cap_is_seeded_once() -> None:
    stored = follow({}, [SEED])
    assert stored == {"month": StoredCap(SEED, SetBy.CONFIG, seed_of(SEED))}
    assert changes(stored, [SEED]) == []


def test_what_the_operator_set_stays_while_the_configuration_says_the_same() -> None:
    stored = {"month": StoredCap(LIVE, SetBy.OPERATOR, seed_of(SEED))}
    assert changes(stored, [SEED]) == []


def test_a_change_of_the_configuration_takes_effect() -> None:
    stored = follow({"month": StoredCap(LIVE, SetBy.OPERATOR, seed_of(SEED))}, [OTHER])
    assert stored["month"] == StoredCap(OTHER, SetBy.CONFIG, seed_of(OTHER))


def test_what_the_operator_removed_stays_away_until_the_configuration_changes_it() -> None:
    stored = {"month": StoredCap(SEED, SetBy.OPERATOR, seed_of(SEED), removed=True)}
    assert changes(stored, [SEED]) == []
    assert follow(stored, [OTHER])["month"] == StoredCap(OTHER, SetBy.CONFIG, seed_of(OTHER))


def test_a_cap_that_leaves_the_configuration_goes_and_may_come_back() -> None:
    stored = follow({"month": StoredCap(LIVE, SetBy.OPERATOR, seed_of(SEED))}, [])
    assert stored["month"].removed
    assert changes(stored, []) == []
    assert follow(stored, [SEED])["month"] == StoredCap(SEED, SetBy.CONFIG, seed_of(SEED))


def test_a_cap_that_the_operator_added_is_no_business_of_the_configuration() -> None:
    stored = {"mine": StoredCap(Cap("mine", "*", PeriodKind.DAY, 3), SetBy.OPERATOR)}
    assert changes(stored, []) == []
    configured = Cap("mine", "*", PeriodKind.DAY, 9)
    assert follow(stored, [configured])["mine"] == StoredCap(configured, SetBy.CONFIG, seed_of(configured))
