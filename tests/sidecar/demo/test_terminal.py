"""The demo's output has colour and passing lines on a terminal only, and not where they are unwanted."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from sidecar.demo.terminal import Terminal


def write(stream: TextIO, environ: Mapping[str, str]) -> None:
    terminal = Terminal(stream, environ)
    terminal.passing("working")
    terminal.line(terminal.colour("done", "green"))


def on_a_terminal(environ: Mapping[str, str]) -> str:
    """What a terminal would be sent."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        write(stream, environ)
    shown = b""
    # A terminal whose other end is closed gives what is left, and then an error.
    with suppress(OSError):
        while piece := os.read(ours, 10_000):
            shown += piece
    os.close(ours)
    return shown.decode()


def test_a_terminal_sees_colour_and_progress() -> None:
    shown = on_a_terminal({"TERM": "xterm"})
    assert "working" in shown
    assert "\x1b[32mdone\x1b[0m" in shown
    assert shown.index("working") < shown.index("\r\x1b[K") < shown.index("done")


def test_no_color_is_respected() -> None:
    assert "\x1b[32m" not in on_a_terminal({"TERM": "xterm", "NO_COLOR": "1"})


def test_a_pipe_sees_plain_lines_only() -> None:
    stream = io.StringIO()
    write(stream, {"TERM": "xterm"})
    assert stream.getvalue() == "done\n"


def test_a_dumb_terminal_sees_plain_lines_only() -> None:
    assert on_a_terminal({"TERM": "dumb"}).replace("\r\n", "\n") == "done\n"


def test_tables_are_aligned() -> None:
    stream = io.StringIO()
    Terminal(stream, {}).table((">n", "what"), [("1", "one"), ("10", "ten")], [(), ()])
    assert stream.getvalue().splitlines() == [" n  what", " 1  one", "10  ten"]
