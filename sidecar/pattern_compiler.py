"""Compiles the privacy gate's patterns in a process of its own, while the serving one still imports.

The compiler touches some 10 MB that a serving process never needs again, and takes a third of a second of
CPU; what it makes is half a megabyte. Where the child cannot be had, the gate compiles in process as ever.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: Longer than any machine takes. The gate must not wait for a child that hangs.
_WAIT_S = 20.0


class PatternCompiler:
    """The child and what it made."""

    def __init__(self) -> None:
        self._compiled: bytes | None = None
        self._child: subprocess.Popen[bytes] | None
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "sidecar.pattern_compiler"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            self._child = None

    def compiled(self) -> bytes | None:
        """The compiled patterns; ``None`` where the child failed or hyperscan is not installed."""
        if self._child is not None:
            try:
                output, _ = self._child.communicate(timeout=_WAIT_S)
                self._compiled = output if self._child.returncode == 0 and output else None
            except subprocess.TimeoutExpired:
                pass
            self.stop()
        return self._compiled

    def stop(self) -> None:
        """End the child if it still runs."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()


@contextmanager
def pattern_compiler() -> Iterator[PatternCompiler]:
    """A compiler that is at work at once and gone at the end."""
    compiler = PatternCompiler()
    try:
        yield compiler
    finally:
        compiler.stop()


def _main() -> None:
    from sidecar.core.privacy.scanner import compile_rules

    sys.stdout.buffer.write(compile_rules() or b"")


if __name__ == "__main__":
    _main()
