"""What workers are worth when the load generator has cores to spare: throughput of N beside one.

::

    python -m benchmarks.workers [--workers 2] [--share 0.1] [--rounds 5]

Every process of the sidecar, the hub and each worker and the single process alike, is given the same small
share of a core, so that generator and mock upstream, which get what they want, are never what is waited for,
on two cores too; how busy they were is reported. Everything is on: privacy scan of a new 4 KB prompt, hold,
record, a trace of every call. Rounds of both alternate, and medians are compared. CPU is that of each
process, all its threads, in microseconds a call.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import msgspec
import psutil
import uvloop

from benchmarks.hot_path.__main__ import PORT, READY, config, running
from benchmarks.hot_path.load import drive, request
from benchmarks.throttle import throttled
from sidecar.demo.child import Child

CONNECTIONS = 32
PROMPT = 4_000


class Side:
    """One sidecar, and its figures of each round."""

    def __init__(self, workers: int, child: Child) -> None:
        self.workers = workers
        self.child = child
        self.rounds: defaultdict[str, list[float]] = defaultdict(list)

    def processes(self) -> dict[str, psutil.Process]:
        """Its processes by name; the first is the one that was started."""
        first = psutil.Process(self.child.pid)
        found = {"hub" if self.workers > 1 else "process": first}
        return found | {f"worker {number}": child for number, child in enumerate(first.children())}

    async def measure(self, share: float, calls: int, chance: random.Random) -> str:
        processes = self.processes()
        others = psutil.Process()
        before = {name: _cpu_s(process) for name, process in processes.items()}
        began, busy_s = time.perf_counter(), _cpu_s(others)
        with throttled([process.pid for process in processes.values()], share) as means:
            await drive(self.child.port, calls, CONNECTIONS, lambda: request(PROMPT, chance))
            took_s = time.perf_counter() - began
            generator = (_cpu_s(others) - busy_s) / took_s
            # Records and spans are written a moment later; they belong to these calls.
            await asyncio.sleep(1.0)
        self.rounds["calls/s"].append(calls / took_s)
        self.rounds["generator, cores"].append(generator)
        spent = {name: (_cpu_s(process) - before[name]) / calls * 1e6 for name, process in processes.items()}
        for name, cpu_us in spent.items():
            self.rounds[f"{name}, CPU us"].append(cpu_us)
        self.rounds["all, CPU us"].append(sum(spent.values()))
        return means

    async def until_quiet(self) -> None:
        """Until nothing is imported in the background any more, which would take its part of the share."""
        async with asyncio.timeout(240):
            while True:
                before = [_cpu_s(process) for process in self.processes().values()]
                await asyncio.sleep(2)
                after = [_cpu_s(process) for process in self.processes().values()]
                if all(late - early < 0.1 for early, late in zip(before, after, strict=True)):
                    return

    def figures(self) -> dict[str, float]:
        return {kind: statistics.median(values) for kind, values in self.rounds.items()}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def run(workers: int, share: float, rounds: int, calls: int) -> tuple[dict[int, dict[str, float]], str]:
    """The medians of all rounds by the number of workers, and how the processes were held back."""
    chance = random.Random(os.urandom(8))
    means = ""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        mock = stack.enter_context(running(Child.leashed("benchmarks.hot_path.mock_upstream", ready=PORT)))
        sides = []
        for count in (1, workers):
            folder = Path(directory) / str(count)
            folder.mkdir()
            path = folder / "sidecar.yaml"
            settings = msgspec.json.decode(config(f"http://127.0.0.1:{mock.port}", folder / "var"))
            # Processes that are held back are slow: that is meant, and no reason to roll back or give up.
            settings["rollout"]["gates"] = {"error_rate_max": 1.0, "p95_ms_max": 3_600_000}
            for tier in settings["tiers"].values():
                tier["timeouts"] = {"connect_s": 30}
            path.write_bytes(msgspec.json.encode(settings))
            command = ("sidecar.cli", "serve", "--config", str(path), "--workers", str(count))
            side = Side(count, stack.enter_context(running(Child.leashed(*command, ready=READY))))
            await drive(side.child.port, 400, CONNECTIONS, lambda: request(PROMPT, chance))
            sides.append(side)
        for side in sides:
            await side.until_quiet()
        for _ in range(rounds):
            for side in chance.sample(sides, len(sides)):
                means = await side.measure(share, calls * side.workers, chance)
        return {side.workers: side.figures() for side in sides}, means


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.1, help="of a core for each process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=400, help="a round and worker")
    options = parser.parse_args()
    figures, means = uvloop.run(run(options.workers, options.share, options.rounds, options.calls))
    print(f"each process held to {options.share:g} of a core by {means}")
    for workers, values in figures.items():
        print(f"--workers {workers}: " + ", ".join(f"{kind} {value:,.2f}" for kind, value in values.items()))
    one, many = (values["calls/s"] for values in figures.values())
    print(f"--workers {options.workers}: {many / one:.2f} x the throughput of one")


if __name__ == "__main__":
    main()
