"""The command as an operator runs it, a process for one test: started, signalled, its exit code looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SERVE = [sys.executable, "-m", "sidecar.cli", "serve", "--config"]


def uncovered() -> dict[str, str]:
    """An environment in which coverage does not watch: for what is called much and covered elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


class Served:
    """``sidecar serve`` in a process of its own."""

    def __init__(self, config: Mapping[str, Any], directory: Path, *options: str) -> None:
        self.path = directory / "served.yaml"
        self.path.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        self.data_dir = Path(config["data_dir"])
        self._errors = directory / "served.err"
        self._options = options

    def start(self, *, covered: bool = True, stderr: int | None = None) -> float:
        """Start it, watched by coverage or not (it weighs much); returns the seconds until it was ready.

        What it says on stderr is kept, unless that goes to another file.
        """
        began = time.perf_counter()
        # To a file: a pipe that nobody reads would fill up.
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*SERVE, str(self.path), *self._options],
                stdout=subprocess.PIPE,
                stderr=errors if stderr is None else stderr,
                text=True,
                env=None if covered else uncovered(),
            )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        took = time.perf_counter() - began
        assert self.ready_line.startswith("ready: "), self.stderr
        self.base = self.ready_line.split()[4].rstrip(",").removesuffix("/v1")
        return took

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end; returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    @property
    def stderr(self) -> str:
        """What it has said on stderr."""
        return self._errors.read_text()

    def kill(self) -> None:
        """End it as a crash would, if it still runs."""
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)
        elif self.process.stdout is not None:
            self.process.stdout.close()

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {(self.data_dir / 'admin-token').read_text().strip()}"}
