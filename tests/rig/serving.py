"""Sidecars as an operator runs them: ``sidecar serve`` in a process of its own, shared by many tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
import yaml

from sidecar.demo.child import Child
from tests.rig.process import uncovered
from tests.rig.upstream import ScriptedUpstream
from tests.rig.world import World

_READY = re.compile(rb"ready: OpenAI base URL http://127\.0\.0\.1:(\d+)/v1")


class ServedSidecar:
    """One sidecar process; a context manager. Clients that block can call it from the test's own thread."""

    def __init__(self, config: Mapping[str, Any], directory: Path) -> None:
        self.data_dir = Path(config["data_dir"])
        self.path = directory / "sidecar.yaml"
        self.path.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        self._child = Child.leashed(
            "sidecar.cli", "serve", "--config", str(self.path), ready=_READY, environ=uncovered()
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it serves."""
        self._child.start()

    def stop(self) -> None:
        """End it in good order."""
        self._child.stop()

    def kill(self) -> None:
        """End it as a crash would. Safe to call more than once."""
        self._child.kill()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def port(self) -> int:
        return self._child.port

    @property
    def base(self) -> str:
        """The base URL as Ollama's clients want it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_base(self) -> str:
        """The base URL as OpenAI's clients want it."""
        return f"{self.base}/v1"

    def set_percent(self, percent: float) -> None:
        """Move the rollout, as an operator does."""
        change = {"percent": percent, "reason": "the next test"}
        httpx.put(
            f"{self.base}/admin/rollout", json=change, headers=self.bearer, trust_env=False, verify=False
        ).raise_for_status()

    @property
    def bearer(self) -> dict[str, str]:
        """What the admin API asks for."""
        token = (self.data_dir / "admin-token").read_text().strip()
        return {"authorization": f"Bearer {token}"}


#: Gives the running sidecar of a name; the first time, it is started with these changes to the sample.
Serve = Callable[..., ServedSidecar]


@pytest.fixture(scope="session")
def serve(
    upstream_processes: tuple[ScriptedUpstream, ScriptedUpstream, ScriptedUpstream],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Serve]:
    """Sidecars by name, started on demand between the scripted upstreams; they end with the session."""
    running: dict[str, ServedSidecar] = {}

    def get(name: str, changes: Mapping[str, Any] | None = None) -> ServedSidecar:
        if name not in running:
            directory = tmp_path_factory.mktemp(name)
            config = World(*upstream_processes, directory).config(changes)
            running[name] = ServedSidecar(config, directory).__enter__()
        return running[name]

    yield get
    with ThreadPoolExecutor() as ending:
        list(ending.map(ServedSidecar.stop, running.values()))
