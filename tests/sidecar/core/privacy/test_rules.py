"""The table of rules keeps what the engines rely on."""

from __future__ import annotations

import re

import pytest

from sidecar.core.privacy.engines import TooManyMatches, build_engine
from sidecar.core.privacy.findings import GROUP_OF
from sidecar.core.privacy.rules import Trigger, is_placeholder, listed, shape_width
from sidecar.core.privacy.scanner import RULES


def test_every_trigger_has_the_width_it_says() -> None:
    for rule in RULES:
        for trigger in rule.triggers():
            parsed = re._parser.parse(trigger.expression)  # type: ignore[attr-defined]
            assert parsed.getwidth() == (trigger.width, trigger.width), (rule.name, trigger)


def test_rule_names_are_told_apart() -> None:
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("shape", ["a+", "a?", "(ab)", "a|b", "."])
def test_shapes_of_no_fixed_width_are_refused(shape: str) -> None:
    with pytest.raises(ValueError, match="no fixed width"):
        shape_width(shape)


def test_width_counts_classes_and_repeats() -> None:
    assert shape_width(r"\b[a-z]{2}\d{2}[ .-]x") == 6


def test_listed_parts_at_commas_and_joins_lines() -> None:
    assert listed("api key, mot\n   de passe, api key") == ("api key", "mot de passe")


@pytest.mark.parametrize("value", ["YOUR_API_KEY", "<token>", "${SECRET}", "xxxxxxxx", "sk-...", "changeme"])
def test_placeholders(value: str) -> None:
    assert is_placeholder(value)


@pytest.mark.parametrize("engine", ["hyperscan", "re2"])
def test_engines_stop_at_their_limit(engine: str) -> None:
    built = build_engine([Trigger(b"aa", 2)], engine)  # type: ignore[arg-type]
    assert built.ends(b"aaaa", 3) == [(2, 0), (3, 0), (4, 0)]
    with pytest.raises(TooManyMatches):
        built.ends(b"aaaaa", 3)


def test_every_kind_has_a_group() -> None:
    assert {"email", "health", "api_key", "person_name"} <= GROUP_OF.keys()
