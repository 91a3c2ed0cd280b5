"""A child process is ready when it says so, explains itself when it is not, and never outlives its parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from sidecar.demo.child import Child, ChildFailed

UPSTREAM = "sidecar.demo.scripted_upstream"


def ends_within(pid: int, seconds: float) -> bool:
    """Whether the process, which is nobody's child here, ends in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def test_it_is_ready_with_its_port_and_ends_when_asked() -> None:
    child = Child(UPSTREAM, "--exit-with-parent")
    child.start()
    assert child.port > 0
    child.stop()
    assert ends_within(child.pid, 0)
    child.stop()


def test_a_child_that_does_not_come_up_says_why() -> None:
    child = Child(UPSTREAM, "--no-such-option")
    with pytest.raises(ChildFailed, match="unrecognized arguments: --no-such-option"):
        child.start()
    assert ends_within(child.pid, 0)


def test_a_child_that_says_nothing_is_given_up() -> None:
    child = Child("timeit", "--setup=import time", "time.sleep(60)")
    with pytest.raises(ChildFailed, match=r"not ready within 0\.2 s"):
        child.start(timeout_s=0.2)
    assert ends_within(child.pid, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_scripted_upstream_ends_on_a_signal_with_exit_code_zero(number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-m", UPSTREAM], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert b'"ready":true' in process.stdout.readline().replace(b" ", b"")
        process.send_signal(number)
        assert process.wait(10) == 0


@pytest.mark.parametrize("module", [UPSTREAM, "sidecar.demo.real_model"])
def test_it_ends_when_its_parent_is_killed(module: str) -> None:
    program = (
        "import time; from sidecar.demo.child import Child\n"
        f"child = Child({module!r}, '--exit-with-parent'); child.start()\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        parent.kill()
    assert ends_within(grandchild, 10)
