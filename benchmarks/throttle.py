"""Gives processes a small share of a core each, so that whoever drives them has cores to spare.

By control groups where they may be made (version 2, or the ``cpu`` controller of version 1), else by stopping
and continuing the processes in turn.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 20_000
_TURN_S = 0.04


@contextlib.contextmanager
def throttled(pids: Sequence[int], share: float) -> Iterator[str]:
    """Each of ``pids`` gets ``share`` of one core, all its threads together; gives the means used."""
    groups: list[Path] = []
    try:
        try:
            for pid in pids:
                groups.append(_group(pid, share))  # noqa: PERF401 (those before one that fails count)
            yield "control groups"
        except OSError:
            with _turns(pids, share):
                yield "stopping and continuing"
    finally:
        for pid, group in zip(pids, groups, strict=False):
            with contextlib.suppress(OSError):
                (group.parent / "cgroup.procs").write_text(str(pid))
            with contextlib.suppress(OSError):
                group.rmdir()


def _group(pid: int, share: float) -> Path:
    version_2 = (_ROOT / "cgroup.controllers").exists()
    group = (_ROOT if version_2 else _ROOT / "cpu") / f"aegis-benchmark-{os.getpid()}-{pid}"
    group.mkdir()
    quota_us = int(_PERIOD_US * share)
    try:
        if version_2:
            (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        (group / "cgroup.procs").write_text(str(pid))
    except OSError:
        group.rmdir()
        raise
    return group


@contextlib.contextmanager
def _turns(pids: Sequence[int], share: float) -> Iterator[None]:
    enough = threading.Event()

    def turn(pid: int) -> None:
        while not enough.is_set():
            os.kill(pid, signal.SIGCONT)
            time.sleep(_TURN_S * share)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(_TURN_S * (1 - share))
        os.kill(pid, signal.SIGCONT)

    threads = [threading.Thread(target=turn, args=(pid,)) for pid in pids]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for thread in threads:
            thread.join()
