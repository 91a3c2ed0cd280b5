"""The privacy gate's patterns, compiled in a process of their own."""

from __future__ import annotations

import sys

import psutil
import pytest

from sidecar.core.privacy.engines import build_engine
from sidecar.core.privacy.scanner import RULES
from sidecar.pattern_compiler import PatternCompiler, pattern_compiler

TRIGGERS = [trigger for rule in RULES for trigger in rule.triggers()]
TEXT = b"Mail jo@firm.de, IBAN DE89 3704 0044 0532 0130 00, born on 3 May 1990, password: hunter2hunter2"


def test_what_the_child_compiled_finds_what_this_process_would() -> None:
    with pattern_compiler() as compiler:
        compiled = compiler.compiled()
        again = compiler.compiled()
    assert compiled is not None
    assert compiled == again
    here = build_engine(TRIGGERS, "hyperscan")
    assert build_engine(TRIGGERS, "hyperscan", compiled).ends(TEXT, 1000) == here.ends(TEXT, 1000) != []


def test_damaged_patterns_are_compiled_anew() -> None:
    engine = build_engine(TRIGGERS[:50], "hyperscan", b"not a database")
    assert engine.ends(TEXT, 1000) == build_engine(TRIGGERS[:50], "hyperscan").ends(TEXT, 1000)


def test_without_a_child_there_is_nothing_and_the_gate_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pattern_compiler() as compiler:
        assert compiler.compiled() is None


def test_a_child_that_fails_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pattern_compiler() as compiler:
        assert compiler.compiled() is None


def test_a_child_nobody_waits_for_is_ended() -> None:
    before = set(psutil.Process().children())
    compiler = PatternCompiler()
    (child,) = set(psutil.Process().children()) - before
    compiler.stop()
    assert not child.is_running()
