"""Tries the privacy gate on a text: for `sidecar scan` and for operators who tune a policy."""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Sequence
from typing import TextIO

import msgspec

from sidecar.core.privacy.detector import PrivacyPattern, build_detector
from sidecar.core.privacy.engines import TooManyMatches
from sidecar.core.privacy.gate import PrivacyGate
from sidecar.core.vocabulary import DataClassification
from sidecar.settings.schema import PrivacySettings


class FindingView(msgspec.Struct, frozen=True):
    """One place in the text: character offsets, kind, group, and ``certain`` or ``possible``. No values."""

    start: int
    end: int
    kind: str
    group: str
    confidence: str


class ScanView(msgspec.Struct, frozen=True):
    """What the gate says of a text, and whether it may leave under the mode in force."""

    verdict: str
    may_leave: bool
    why: str
    kinds: dict[str, int]
    findings: list[FindingView]


def gate_for(privacy: PrivacySettings) -> PrivacyGate:
    """The gate as the configuration wants it. Raises ``ValueError`` for a pattern that cannot be used."""
    detector = build_detector(
        privacy.detect,
        [PrivacyPattern(each.name, each.regex, each.kind) for each in privacy.patterns],
        privacy.allow,
        privacy.max_scan_ms,
        # CPU time: a busy machine that takes the processor away must not make clean calls look slow.
        time.thread_time,
        os.urandom(32),
        glance=time.perf_counter,
    )
    return PrivacyGate(detector, privacy.mode)


def scan(gate: PrivacyGate, text: str, declared: DataClassification | None = None) -> ScanView:
    """Scan ``text`` as a call that holds it and nothing else."""
    verdict, may_leave = gate.look([text], declared)
    try:
        findings = gate.find([text])
    except (OverflowError, TooManyMatches):
        findings = []  # too much to list; the verdict says so
    return ScanView(
        verdict=verdict.state,
        may_leave=may_leave,
        why=verdict.why,
        kinds=verdict.kinds,
        findings=[
            FindingView(found.start, found.end, found.kind, found.group, found.confidence)
            for found in findings
        ],
    )


def print_scan(privacy: PrivacySettings, name: str, text: str, *, show: bool, out: TextIO) -> int:
    """Write what was found where, its value only if ``show``. Returns 0 if the text may leave, else 1."""
    view = scan(gate_for(privacy), text)
    lines = _line_starts(text)
    for finding in view.findings:
        line, column = _position(lines, finding.start)
        value = f"  {text[finding.start : finding.end]!r}" if show else ""
        out.write(f"{name}:{line}:{column}: {finding.kind} ({finding.group}, {finding.confidence}){value}\n")
    leaves = "may leave this machine" if view.may_leave else "stays on this machine"
    out.write(f"{name}: {view.verdict}, {leaves}{': ' + view.why if view.why else ''}\n")
    return 0 if view.may_leave else 1


def _line_starts(text: str) -> list[int]:
    return [0, *(place + 1 for place, char in enumerate(text) if char == "\n")]


def _position(lines: Sequence[int], offset: int) -> tuple[int, int]:
    """Line and column, from 1."""
    line = bisect_right(lines, offset)
    return line, offset - lines[line - 1] + 1
