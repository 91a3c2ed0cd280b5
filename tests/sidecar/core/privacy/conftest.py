"""One detector per engine, built once: compiling takes a third of a second."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from sidecar.core.privacy.detector import PatternDetector, build_detector
from sidecar.core.vocabulary import Verdict

KEY = b"a key for tests only"
GROUPS = ("pii", "health", "secrets")


@pytest.fixture(scope="session")
def detector() -> PatternDetector:
    return build_detector(GROUPS, (), (), 60_000, time.monotonic, KEY)


@pytest.fixture(scope="session")
def fallback() -> PatternDetector:
    return build_detector(GROUPS, (), (), 60_000, time.monotonic, KEY, engine="re2")


@pytest.fixture
def judge(detector: PatternDetector) -> Callable[..., Verdict]:
    def scan(*texts: str, declared_public: bool = False) -> Verdict:
        return detector.scan(texts, declared_public=declared_public)

    return scan
