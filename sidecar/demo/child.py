"""Starts servers as child processes, waits until they are ready, and ends them; none outlives its parent."""

from __future__ import annotations

import os
import re
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping

READY_TIMEOUT_S = 30.0
_READY = re.compile(rb'\{"ready": ?true, "port": ?(\d+)\}')
STOP_TIMEOUT_S = 5.0
_LAST_WORDS_BYTES = 2000


class ChildFailed(Exception):
    """A child process did not come up; the message holds its last words."""


class Child:
    """A Python module run as a server in its own process.

    When it listens, the module prints a line that ``ready`` finds the port in; left out, that is
    ``{"ready": true, "port": N}``. It ends when its stdin is closed, which happens when this process
    ends, however it ends. It gets its own session, so that Ctrl-C in a terminal reaches only this
    process, which can then end its children in order. Without ``environ`` it has this process's environment.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        ready: re.Pattern[bytes] = _READY,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._ready = ready
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @classmethod
    def leashed(
        cls,
        module: str,
        *arguments: str,
        ready: re.Pattern[bytes] = _READY,
        environ: Mapping[str, str] | None = None,
    ) -> Child:
        """A child for a module that does not watch its stdin itself."""
        return cls(__name__, module, *arguments, ready=ready, environ=environ)

    @property
    def pid(self) -> int:
        """The process id of the started child."""
        assert self._process is not None, "the child has not been started"
        return self._process.pid

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start it and wait until it is ready. Raises ``ChildFailed``; then nothing is left running."""
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environ,
                start_new_session=True,
            )
            line = self._first_line(timeout_s)
            found = self._ready.search(line)
            if found is None:
                self.kill()
                errors.seek(0)
                words = (line + errors.read()[-_LAST_WORDS_BYTES:]).decode(errors="replace").strip()
                raise ChildFailed(words or f"not ready within {timeout_s:g} s")
            self.port = int(found[1])

    def _first_line(self, timeout_s: float) -> bytes:
        """What the child prints up to its first line end; what there is when it ends or time is up."""
        assert self._process is not None
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(output, 4096) if readable else b""
            if not piece:
                break
            line += piece
        return line

    def stop(self) -> None:
        """End it: asked first, killed if it does not go. Safe to call more than once."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def when_parent_is_gone(then: Callable[[], object]) -> None:
    """Call ``then`` from another thread once stdin is closed.

    The file descriptor is read past Python's buffer, whose lock a waiting thread would hold at exit.
    """

    def wait() -> None:
        while os.read(0, 1024):
            pass
        then()

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def main() -> None:
    """Run the module named first on the command line, with the rest of it, on a leash."""
    when_parent_is_gone(lambda: os.kill(os.getpid(), signal.SIGTERM))
    module = sys.argv[1]
    del sys.argv[0]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
