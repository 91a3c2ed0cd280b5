"""Takes the figures: how much is found and over-blocked, and what a scan costs in time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from math import sqrt
from statistics import median, quantiles

import msgspec

from benchmarks.privacy.corpus import Sample, generated
from benchmarks.privacy.negatives import FILLER
from benchmarks.privacy.templates import TUNING
from benchmarks.privacy.values import Values
from sidecar.core.privacy.detector import PatternDetector, build_detector
from sidecar.core.vocabulary import VerdictState


class Share(msgspec.Struct, frozen=True):
    """``count`` of ``total``, with the 95 % interval after Wilson."""

    count: int
    total: int

    @property
    def rate(self) -> float:
        return self.count / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        if not self.total:
            return 0.0, 1.0
        z, n = 1.96, self.total
        middle = (self.rate + z * z / (2 * n)) / (1 + z * z / n)
        reach = z * sqrt(self.rate * (1 - self.rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(0.0, middle - reach), min(1.0, middle + reach)


class KindFigures(msgspec.Struct, frozen=True):
    """For one kind, or one class of negatives: how often each verdict was given."""

    sensitive: Share
    not_clean: Share


class Figures(msgspec.Struct, frozen=True):
    """Recall per kind, over-blocking per class, and both in all."""

    recall: dict[str, KindFigures]
    over_blocking: dict[str, KindFigures]


class Cost(msgspec.Struct, frozen=True):
    """CPU per KB of texts never seen before, by size; start-up and memory of a fresh process."""

    engine: str
    us_per_kb: dict[str, tuple[float, float]]
    seen_us_per_kb: float
    build_cpu_ms: float
    memory_mb: float


def detector() -> PatternDetector:
    return build_detector(("pii", "health", "secrets"), (), (), 10_000, time.monotonic, os.urandom(16))


def judged(samples: Iterable[Sample]) -> Figures:
    """Scan every sample and count the verdicts."""
    scan = detector().scan
    counts: defaultdict[tuple[bool, str], Counter[VerdictState]] = defaultdict(Counter)
    for sample in samples:
        state = scan([sample.text], declared_public=False).state
        for kind in (sample.kind, "in all"):
            counts[sample.sensitive, kind][state] += 1
    figures: dict[bool, dict[str, KindFigures]] = {True: {}, False: {}}
    for (sensitive, kind), states in sorted(
        counts.items(), key=lambda item: (item[0][1] == "in all", item[0])
    ):
        total = states.total()
        figures[sensitive][kind] = KindFigures(
            Share(states[VerdictState.SENSITIVE], total), Share(total - states[VerdictState.CLEAN], total)
        )
    return Figures(figures[True], figures[False])


@cache
def _private() -> list[str]:
    return [sample.text for sample in generated(TUNING, Values(1), 3) if sample.sensitive]


def prose(size: int, seed: int) -> str:
    """``size`` characters of harmless sentences with a private value about every 2 KB."""
    values = Values(seed)
    private = _private()
    parts: list[str] = []
    length = 0
    while length < size:
        lang = values.random.choice(tuple(FILLER))
        part = f"{values.random.choice(FILLER[lang])} ({values.digits(4)})"
        if values.random.random() < 0.03:
            part = values.random.choice(private)
        parts.append(part)
        length += len(part) + 1
    return "\n".join(parts)[:size]


def cost() -> Cost:
    """Time scans of 1, 10 and 100 KB; start a fresh process for start-up and memory."""
    subject = detector()
    subject.scan([prose(20_000, 1)], declared_public=False)
    per_kb: dict[str, tuple[float, float]] = {}
    for size, runs in ((1, 400), (10, 120), (100, 30)):
        spent = []
        for run in range(runs):
            text = prose(size * 1024, 1000 * size + run)
            began = time.process_time()
            subject.scan([text], declared_public=False)
            spent.append((time.process_time() - began) * 1e6 / size)
        per_kb[f"{size} KB"] = (median(spent), quantiles(spent, n=100)[98])
    again = prose(10 * 1024, 5)
    subject.scan([again], declared_public=False)
    began = time.process_time()
    for _ in range(200):
        subject.scan([again], declared_public=False)
    seen = (time.process_time() - began) * 1e6 / 2000
    build_ms, memory_mb = _fresh_process()
    return Cost(subject.engine, per_kb, seen, build_ms, memory_mb)


_FRESH = """
import os, re, time
import msgspec, sidecar.core.vocabulary
def resident(): return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
low, began = resident(), time.process_time()
from sidecar.core.privacy.detector import build_detector
detector = build_detector(("pii", "health", "secrets"), (), (), 50, time.monotonic, os.urandom(16))
detector.scan(["warm up"], declared_public=False)
print((time.process_time() - began) * 1000, resident() - low)
"""


def _fresh_process() -> tuple[float, float]:
    printed = subprocess.run(
        [sys.executable, "-c", _FRESH], capture_output=True, text=True, check=True
    ).stdout
    build_ms, memory_mb = printed.split()
    return float(build_ms), float(memory_mb)
