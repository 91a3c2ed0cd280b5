"""The audit page says in words what was done, whatever it was, and gives values their units."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from dashboard.pages.audit import WORDS, change_words
from sidecar.core.rollout_states import RULES, Event
from sidecar.storage.audit_log import AuditEntry

SIDECAR = Path(__file__).parents[2] / "sidecar"


def written_actions() -> set[str]:
    """Every action that the sources hand to the audit log: as text, or by the table of the rollout."""
    found = {rule.action for rule in RULES.values()}
    for source in SIDECAR.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr != "_changed":
                    continue
                action = node.args[1]
                if isinstance(action, ast.Constant):
                    found.add(str(action.value))
                else:
                    assert ast.unparse(action) == "RULES[event].action", f"{source}: {ast.unparse(node)}"
    return found


def test_every_action_that_can_be_written_has_words() -> None:
    assert written_actions() == set(WORDS)
    assert len(set(WORDS.values())) == len(WORDS)


def test_events_that_share_an_action_share_its_words() -> None:
    assert all(WORDS[rule.action] == rule.did for rule in RULES.values())


def entry(action: str, subject: str, old: Any, new: Any) -> AuditEntry:
    return AuditEntry(1, 0, "Maria", action, subject, old, new, "")


@pytest.mark.parametrize("event", Event)
def test_a_move_of_the_rollout_has_its_unit(event: Event) -> None:
    action = RULES[event].action
    assert change_words(entry(action, "percent", 30, 12.5)) == ("30 %", "12.5 %")
    assert change_words(entry(action, "state", "rolled_back", "holding")) == ("rolled back", "holding")


def test_other_changes_have_theirs() -> None:
    assert change_words(entry("budget.set", "all-day", "10", "25")) == ("$10", "$25")
    assert change_words(entry("budget.add", "x", None, {"usd": "5", "period": "day"})) == (
        "nothing",
        "usd 5, period day",
    )
    assert change_words(
        entry("settings.applied", "settings", {"drain_s": 20.0, "a.b": None}, {"drain_s": 3, "a.b": ["x"]})
    ) == ("drain_s 20, a.b nothing", 'drain_s 3, a.b ["x"]')
