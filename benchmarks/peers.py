"""The sidecar with everything on beside other gateways with everything off, in the same run.

::

    uv venv /tmp/litellm && uv pip install --python /tmp/litellm/bin/python 'litellm[proxy]'
    npm install --prefix /tmp/portkey @portkey-ai/gateway
    python -m benchmarks.peers --litellm /tmp/litellm/bin/litellm \\
        --portkey /tmp/portkey/node_modules/@portkey-ai/gateway/build/start-server.js

Neither is a dependency of this project. Each gateway has one core, the mock upstream and the load another,
where there are two. Rounds alternate between the gateways and the medians are compared. Every prompt is new.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import socket
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import psutil
import uvloop

from benchmarks.hot_path.__main__ import PORT, READY, config, running
from benchmarks.hot_path.load import drive, request
from sidecar.demo.child import Child

CONNECTIONS = 32
SIZE = 4_000
UP_WITHIN_S = 120.0


class Gateway:
    """One gateway process, the lines that its calls need in their head, and its figures of each round."""

    def __init__(self, name: str, pid: int, port: int, headers: str = "") -> None:
        self.name = name
        self.port = port
        self._process = psutil.Process(pid)
        self._headers = headers
        self.rounds: defaultdict[str, list[float]] = defaultdict(list)

    def call(self, chance: random.Random) -> bytes:
        return request(SIZE, chance, headers=self._headers)

    def family(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def pin(self, cores: Sequence[int]) -> None:
        """Let it run on these cores only, all its threads."""
        for process in self.family():
            for thread in process.threads():
                os.sched_setaffinity(thread.id, cores)

    async def measure(self, calls: int, chance: random.Random) -> None:
        before = self._cpu_s()
        began = time.perf_counter()
        await drive(self.port, calls, CONNECTIONS, partial(self.call, chance))
        took_s = time.perf_counter() - began
        await asyncio.sleep(0.4)  # what is written a moment later belongs to these calls
        self.rounds["calls/s"].append(calls / took_s)
        self.rounds["CPU us"].append((self._cpu_s() - before) / calls * 1e6)
        alone = await drive(self.port, max(calls // 8, 20), 1, partial(self.call, chance))
        self.rounds["p50 alone, ms"].append(statistics.median(came[-1] * 1e3 for came in alone))

    def figures(self) -> dict[str, float]:
        memory_mb = sum(each.memory_info().rss for each in self.family()) / 2**20
        return {kind: statistics.median(each) for kind, each in self.rounds.items()} | {"RSS MB": memory_mb}

    def _cpu_s(self) -> float:
        times = [each.cpu_times() for each in self.family()]
        return float(sum(each.user + each.system for each in times))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _program(command: Sequence[str], port: int, log: Path, **environ: str) -> Iterator[int]:
    """A program that is to listen at ``port``; its process id, once it does. Raises ``TimeoutError``."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env={**os.environ, **environ}
        )
    try:
        deadline = time.monotonic() + UP_WITHIN_S
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                yield process.pid
                return
            time.sleep(0.2)  # it is not ours, and does not tell when it listens
        raise TimeoutError(f"{command[0]} did not come up: {log.read_text(errors='replace')[-600:]}")
    finally:
        process.kill()
        process.wait()


def _litellm(stack: contextlib.ExitStack, program: str, upstream: str, directory: Path) -> Gateway:
    model = {"model": "openai/gpt-4o", "api_base": f"{upstream}/v1", "api_key": "key"}
    path, port = directory / "litellm.yaml", _free_port()
    settings = {
        "model_list": [{"model_name": "auto", "litellm_params": model}],
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
    }
    path.write_bytes(msgspec.json.encode(settings))
    command = [program, "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
    pid = stack.enter_context(
        _program(command, port, directory / "litellm.log", LITELLM_LOG="ERROR", LITELLM_MODE="PRODUCTION")
    )
    return Gateway("LiteLLM", pid, port)


def _portkey(stack: contextlib.ExitStack, program: str, upstream: str, directory: Path) -> Gateway:
    port = _free_port()
    command = ["node", program, f"--port={port}", "--headless"]
    host = upstream.removeprefix("http://").partition(":")[0]
    pid = stack.enter_context(
        _program(command, port, directory / "portkey.log", TRUSTED_CUSTOM_HOSTS=host, NODE_ENV="production")
    )
    headers = f"x-portkey-provider: openai\r\nx-portkey-custom-host: {upstream}/v1\r\n"
    return Gateway("Portkey", pid, port, headers)


async def run(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The medians of all rounds, by gateway."""
    chance = random.Random(os.urandom(8))
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        mock = stack.enter_context(running(Child.leashed("benchmarks.hot_path.mock_upstream", ready=PORT)))
        upstream = f"http://127.0.0.1:{mock.port}"
        path = directory / "sidecar.yaml"
        path.write_bytes(config(upstream, directory / "var"))
        ours = Child.leashed("sidecar.cli", "serve", "--config", str(path), ready=READY)
        stack.enter_context(running(ours))
        gateways = [Gateway("sidecar", ours.pid, ours.port)]
        if options.litellm:
            gateways.append(_litellm(stack, options.litellm, upstream, directory))
        if options.portkey:
            gateways.append(_portkey(stack, options.portkey, upstream, directory))
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(0, cores[1:2])
            os.sched_setaffinity(mock.pid, cores[1:2])
        for gateway in gateways:
            await drive(gateway.port, 200, CONNECTIONS, partial(gateway.call, chance))
        await asyncio.sleep(3)  # what warms up in the background has done so
        for gateway in gateways:
            gateway.pin(cores[:1])
        for _ in range(options.rounds):
            for gateway in chance.sample(gateways, len(gateways)):
                await gateway.measure(options.calls, chance)
        return {gateway.name: gateway.figures() for gateway in gateways}


def table(figures: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown, and the sidecar's calls per second as a multiple of each."""
    kinds = list(figures["sidecar"])
    ours = figures["sidecar"]["calls/s"]
    lines = [
        f"| | {' | '.join(kinds)} | the sidecar's calls/s against it |",
        "|---|" + "--:|" * (len(kinds) + 1),
    ]
    for name, each in figures.items():
        cells = " | ".join(f"{each[kind]:,.1f}" for kind in kinds)
        lines.append(f"| {name} | {cells} | {ours / each['calls/s']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--litellm", metavar="PROGRAM", help="LiteLLM's command")
    parser.add_argument("--portkey", metavar="FILE", help="Portkey's start-server.js")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=400, help="in a round")
    parser.add_argument("--json", type=Path, help="where the figures are written as JSON")
    options = parser.parse_args()
    figures = uvloop.run(run(options))
    print(table(figures))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))


if __name__ == "__main__":
    main()
