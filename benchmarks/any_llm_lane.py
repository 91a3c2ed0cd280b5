"""CPU per call of the any-llm lane against a bare any-llm instance that is reused, in one run.

::

    python -m benchmarks.any_llm_lane

Both make the same calls to one scripted upstream, which runs in its own process and so costs nothing here.
Rounds of the two alternate, and the ratio is the median over the rounds, so that a busy machine blurs it
little. Goal: at most 1.25.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from sidecar.core.ports import OutboundCall
from sidecar.core.tiers import TierSpec
from sidecar.core.vocabulary import OLLAMA_CHAT, OPENAI_CHAT, Arm, Door
from sidecar.demo.child import Child
from sidecar.upstreams.any_llm_upstream import AnyLLMLane

GOAL = 1.25
MODEL = "gpt-4o"
#: A prompt of 4 KB, and an answer of about 50 chunks when it is streamed.
MESSAGES = [{"role": "user", "content": "how long may a loan last " * 160}]
MAX_TOKENS = 62

Call = Callable[[], Awaitable[None]]


def rss_mb() -> float:
    """The most memory that this process has held so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def lane_call(lane: AnyLLMLane, door: Door, *, stream: bool) -> Call:
    fields: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "stream": stream}
    if door is OLLAMA_CHAT:
        fields["options"] = {"num_predict": MAX_TOKENS}
    else:
        fields["max_tokens"] = MAX_TOKENS
    call = OutboundCall(
        request_id="r",
        door=door,
        arm=Arm.ROUTED,
        body=msgspec.json.encode(fields),
        fields=fields,
        model=MODEL,
        stream=stream,
        headers=(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),),
    )

    async def once() -> None:
        answer = await lane.send(call)
        async for _ in answer.chunks():
            pass
        await answer.aclose()

    return once


def bare_call(provider: str, base_url: str, *, stream: bool) -> Call:
    from any_llm import AnyLLM  # after the import has been timed

    llm = AnyLLM.create(provider, api_key="k", api_base=base_url, unified_exceptions=True)
    options = {"stream_options": {"include_usage": True}} if stream else {}

    async def once() -> None:
        answer: Any = await llm.acompletion(
            model=MODEL, messages=list(MESSAGES), max_tokens=MAX_TOKENS, stream=stream, **options
        )
        if stream:
            async for _ in answer:
                pass

    return once


async def cpu_us(call: Call, calls: int, at_once: int) -> float:
    """CPU microseconds per call."""
    started = time.process_time()
    for _ in range(calls // at_once):
        await asyncio.gather(*(call() for _ in range(at_once)))
    return (time.process_time() - started) / calls * 1e6


async def compare(name: str, bare: Call, lane: Call, calls: int, rounds: int, at_once: int) -> float:
    for call in (bare, lane):
        await cpu_us(call, at_once, at_once)
    pairs = [(await cpu_us(bare, calls, at_once), await cpu_us(lane, calls, at_once)) for _ in range(rounds)]
    ratio = statistics.median(through_lane / alone for alone, through_lane in pairs)
    alone, through_lane = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{name:<24}{alone:>10.0f} us{through_lane:>12.0f} us{ratio:>10.2f}")
    return ratio


async def measure(calls: int, rounds: int, at_once: int) -> bool:
    before_mb = rss_mb()
    upstream = Child("sidecar.demo.scripted_upstream", "--port=0", "--exit-with-parent")
    upstream.start()
    url = f"http://127.0.0.1:{upstream.port}"
    urls = {"ollama": url, "openai": f"{url}/v1"}
    lanes = {
        provider: AnyLLMLane(
            tier=TierSpec(provider=provider, base_url=base_url, models={}, off_box=False),
            clock_s=time.monotonic,
            wall_s=time.time,
        )
        for provider, base_url in urls.items()
    }
    started = time.perf_counter()
    await lanes["ollama"].warm()
    print(f"import and first instance: {time.perf_counter() - started:.2f} s, {rss_mb() - before_mb:.0f} MB")
    await lanes["openai"].warm()
    print(f"memory: {before_mb:.0f} MB before, {rss_mb():.0f} MB with both instances")
    print(f"{'':<24}{'bare any-llm':>13}{'the lane':>15}{'ratio':>10}")
    ratios = []
    for provider, door in (("ollama", OPENAI_CHAT), ("openai", OLLAMA_CHAT)):
        for stream in (False, True):
            bare = bare_call(provider, urls[provider], stream=stream)
            lane = lane_call(lanes[provider], door, stream=stream)
            name = f"{provider} {'streamed' if stream else 'whole'}"
            ratios.append(await compare(name, bare, lane, calls, rounds, at_once))
    for opened in lanes.values():
        await opened.aclose()
    upstream.stop()
    print(f"goal: at most {GOAL}; worst: {max(ratios):.2f}")
    return max(ratios) <= GOAL


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=64, help="calls per round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--at-once", type=int, default=8, help="calls under way at one time")
    options = parser.parse_args()
    return 0 if asyncio.run(measure(options.calls, options.rounds, options.at_once)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
