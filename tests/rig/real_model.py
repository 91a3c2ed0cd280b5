"""The small real model for tests, started once for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from sidecar.demo.child import Child
from sidecar.demo.real_model import MODEL


class RealModel(msgspec.Struct, frozen=True):
    """Where the model is. It speaks OpenAI's dialect only; its answers are real, and not wise."""

    url: str
    model: str

    @property
    def openai_url(self) -> str:
        """The base URL as OpenAI's clients want it."""
        return f"{self.url}/v1"


@pytest.fixture(scope="session")
def real_model() -> Iterator[RealModel]:
    """One real model for all tests that need one."""
    child = Child("sidecar.demo.real_model", "--exit-with-parent")
    child.start(timeout_s=60)
    yield RealModel(f"http://127.0.0.1:{child.port}", MODEL)
    child.stop()
