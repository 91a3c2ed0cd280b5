"""Prometheus' own checker, ``promtool``, from Debian's package ``prometheus`` or wherever there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

#: Runs promtool with arguments, and with text on its standard input; asserts that it is content.
Promtool = Callable[..., str]


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """Where nobody has installed it the tests that need it are skipped; on CI that is a failure."""
    command = shutil.which("promtool")
    if command is None:
        words = "promtool is not installed: it comes with Prometheus (Debian: apt-get install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)

    def run(*arguments: str | Path, stdin: str | None = None) -> str:
        done = subprocess.run(
            [command, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        return said

    return run
