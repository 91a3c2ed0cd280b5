"""What each stage of the request line costs, as a ratio to work of the same kind in the same run.

::

    python -m benchmarks.stages            # a table
    python -m benchmarks.stages --check    # exits 1 when a stage has become slower than it is known to be
    python -m benchmarks.stages --learn    # writes down what is measured now as what is known

One process makes calls with a 4 KB prompt that was never seen before. Stages that compute are measured
against Python and C that compute (``json`` of the same call); sending is measured against aiohttp that only
sends, and what goes to the disk against a bare insert. Rounds of a stage and its reference alternate, and of
each the quickest counts, so that a busy machine blurs the ratio little. ``benchmarks/stages.json`` has the
ratios that are known; a stage that is more than 30 % above its own is a regression.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import aiohttp
import aiosqlite
import msgspec

from benchmarks.hot_path.__main__ import PORT, config
from benchmarks.hot_path.load import prompt
from benchmarks.hot_path.mock_upstream import EVENTS, LAST_EVENTS
from benchmarks.ledger import REPORTED, request
from sidecar.app import Sidecar, build_app
from sidecar.core.budget import Hold
from sidecar.core.ports import OutboundCall
from sidecar.core.trace_context import TraceContext
from sidecar.core.vocabulary import OPENAI_CHAT, Arm, DecisionRecord
from sidecar.course import Course, Inbound
from sidecar.demo.child import Child
from sidecar.endpoints.request_id import new_request_id
from sidecar.settings.watch import SettingsSource
from sidecar.telemetry.otlp_spans import encode_spans
from sidecar.telemetry.spans import span_tree
from sidecar.upstreams.registry import OffBoxUpstream
from sidecar.wire.fold import fold_for

KNOWN: Final = Path(__file__).with_suffix(".json")
SLOWER_MAX: Final = 1.3
#: A stage that seems slower is looked at again: a machine may be busy for a while.
LOOKS_MAX: Final = 6
AT_ONCE: Final = 32
_HEADERS: Final = {"x-sidecar-quality": "critical", "content-type": "application/json"}

#: Seconds of CPU for one call.
Cost = Callable[[], Awaitable[float]]


class Bench:
    """An open sidecar without a socket, a mock upstream, and the stages to be measured on them."""

    def __init__(self, sidecar: Sidecar, upstream: str, directory: Path) -> None:
        self._sidecar = sidecar
        self._url = f"{upstream}/v1/chat/completions"
        self._directory = directory
        self._chance = random.Random(7)
        self._session: aiohttp.ClientSession | None = None
        self._course = self.consider()

    # stages that compute

    def consider(self) -> Course:
        """A call with a prompt never seen before, decided on."""
        return self._sidecar.services.consider(
            Inbound(
                new_request_id(time.time_ns()),
                OPENAI_CHAT,
                _HEADERS,
                self._body(),
                time.time_ns(),
                time.perf_counter(),
                TraceContext("0" * 32),
            )
        )

    def _body(self) -> bytes:
        messages = [{"role": "user", "content": prompt(4_000, self._chance)}]
        return json.dumps({"model": "auto", "messages": messages, "max_tokens": 64}).encode()

    async def considered(self) -> dict[str, float]:
        """Seconds of decode, scan and decide, each the quickest of some calls."""
        quickest = {"decode": 1.0, "scan": 1.0, "decide": 1.0}
        for _ in range(100):
            course = self.consider()
            came, decoded, identified, scanned, decided = course.marks_s
            for stage, took in (
                ("decode", decoded - came),
                ("scan", scanned - identified),
                ("decide", decided - scanned),
            ):
                quickest[stage] = min(quickest[stage], took)
        return quickest

    async def fold(self) -> float:
        """A stream of 50 chunks, each read by itself."""
        pieces = [*EVENTS, *LAST_EVENTS]
        began = time.thread_time()
        for _ in range(20):
            fold = fold_for(OPENAI_CHAT, stream=True, drop_usage=True)
            for piece in pieces:
                fold.feed(piece)
            fold.finish()
        assert fold.tally.usage is not None
        return (time.thread_time() - began) / 20

    async def trace(self) -> float:
        record = self._record()
        began = time.thread_time()
        for _ in range(50):
            encode_spans(record, span_tree(record, self._sidecar.current.tiers))
        return (time.thread_time() - began) / 50

    async def computing(self) -> float:
        """The reference of these: a call read and written by ``json``, and looked through word by word."""
        body = self._body()
        began = time.thread_time()
        for _ in range(20):
            words = json.loads(body)["messages"][0]["content"].split()
            lengths = {word: len(word) for word in words}
            json.dumps({"words": words, "longest": max(lengths.values()), "all": sum(lengths.values())})
        return (time.thread_time() - began) / 20

    # sending

    async def attempt(self) -> float:
        upstream = self._sidecar.current.upstreams["openai"]
        assert isinstance(upstream, OffBoxUpstream)

        async def send() -> None:
            course = self._course
            assert course.permit is not None
            call = OutboundCall(
                course.inbound.request_id,
                OPENAI_CHAT,
                Arm.ROUTED,
                course.inbound.body,
                course.decoded.fields,
                "gpt-4o",
                stream=False,
                headers=(("traceparent", "00-" + "1" * 32 + "-" + "2" * 16 + "-01"),),
                output_limit=64,
            )
            answer = await upstream.attempt(call, course.permit)
            assert b"".join([chunk async for chunk in answer.chunks()])
            await answer.aclose()

        return await _each(send)

    async def sending(self) -> float:
        """Its reference: aiohttp that posts the same bytes and reads the answer."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        session, body = self._session, self._course.inbound.body

        async def send() -> None:
            async with session.post(self._url, data=body, headers=_HEADERS) as response:
                assert await response.read()

        return await _each(send)

    # to the disk

    async def hold(self) -> float:
        """A hold and its settlement."""
        ledger = self._sidecar.services.ledger

        async def one() -> None:
            hold = await ledger.hold(request(self._chance.getrandbits(64)))
            assert isinstance(hold, Hold), hold
            ledger.settle(hold, REPORTED)

        return await _each(one, ledger.flush)

    async def record(self) -> float:
        log = self._sidecar.services.log
        records = [self._record() for _ in range(256)]
        began = time.process_time()
        for record in records:
            log.record(record)
        await log.flush()
        return (time.process_time() - began) / len(records)

    async def storing(self) -> float:
        """Their reference: rows of 2 KB into a table with an index, committed every ``AT_ONCE``."""
        path = self._directory / f"bare-{self._chance.getrandbits(64)}.sqlite"
        async with aiosqlite.connect(path) as connection:
            await connection.execute("PRAGMA journal_mode = WAL")
            await connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, body BLOB)")
            await connection.execute("CREATE INDEX t_name ON t (name)")
            began = time.process_time()
            for _ in range(8):
                rows = [(f"{self._chance.getrandbits(64):x}", b"x" * 2_000) for _ in range(AT_ONCE)]
                await connection.executemany("INSERT INTO t (name, body) VALUES (?, ?)", rows)
                await connection.commit()
            return (time.process_time() - began) / (8 * AT_ONCE)

    def _record(self) -> DecisionRecord:
        course = self._course
        record = course.record(time.perf_counter())
        return msgspec.structs.replace(record, request_id=new_request_id(time.time_ns()))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


async def _each(
    act: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]] | None = None
) -> float:
    """CPU seconds of the process for each of some acts, ``AT_ONCE`` at a time."""

    async def some() -> None:
        for _ in range(8):
            await act()

    began = time.process_time()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    if end is not None:
        await end()
    return (time.process_time() - began) / (8 * AT_ONCE)


Seconds = dict[str, tuple[float, float]]


async def measure(rounds: int, quickest: Seconds) -> None:
    """Note in ``quickest`` the seconds of each stage and of its reference, if they are less than before."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mock = Child.leashed("benchmarks.hot_path.mock_upstream", ready=PORT)
        mock.start()
        stack.callback(mock.stop)
        upstream = f"http://127.0.0.1:{mock.port}"
        path = directory / "sidecar.yaml"
        path.write_bytes(config(upstream, directory / "var"))
        sidecar = await Sidecar.open(SettingsSource(path, {}, clock=time.time_ns), {})
        stack.push_async_callback(sidecar.close)
        build_app(sidecar)
        bench = Bench(sidecar, upstream, directory)
        stack.push_async_callback(bench.aclose)

        def note(stage: str, took: float, reference: float) -> None:
            before, reference_before = quickest.get(stage, (took, reference))
            quickest[stage] = (min(before, took), min(reference_before, reference))

        kinds: list[tuple[Cost, dict[str, Cost]]] = [
            (bench.computing, {"fold": bench.fold, "trace": bench.trace}),
            (bench.sending, {"attempt": bench.attempt}),
            (bench.storing, {"hold": bench.hold, "record": bench.record}),
        ]
        for _ in range(rounds):
            for reference, stages in kinds:
                took = await reference()
                for stage, cost in stages.items():
                    note(stage, await cost(), took)
                if reference == bench.computing:
                    for stage, cost_s in (await bench.considered()).items():
                        note(stage, cost_s, took)


def slower(seconds: Seconds, known: dict[str, float]) -> list[str]:
    """The stages whose ratio is more than ``SLOWER_MAX`` times what is known, in words."""
    return [
        f"{stage}: {took / reference:.2f} times its reference, known are {known[stage]:.2f}"
        for stage, (took, reference) in seconds.items()
        if took / reference > known[stage] * SLOWER_MAX
    ]


def read_known() -> dict[str, float]:
    """The ratios that are known, by stage."""
    return msgspec.json.decode(KNOWN.read_bytes(), type=dict[str, float])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--learn", action="store_true")
    options = parser.parse_args()
    seconds: Seconds = {}
    wrong: list[str] = []
    for _ in range(LOOKS_MAX if options.check else 1):
        asyncio.run(measure(options.rounds, seconds))
        wrong = slower(seconds, read_known()) if options.check else []
        if not wrong:
            break
    for stage, (took, reference) in sorted(seconds.items()):
        print(f"{stage:<8} {took * 1e6:8.1f} us, {took / reference:6.2f} times its reference")
    if options.learn:
        ratios = {stage: round(took / reference, 3) for stage, (took, reference) in sorted(seconds.items())}
        KNOWN.write_bytes(msgspec.json.format(msgspec.json.encode(ratios)) + b"\n")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
