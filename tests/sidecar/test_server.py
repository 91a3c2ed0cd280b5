"""The command as a process: ready line, signals, kill -9 under load, memory, refusals."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import aiohttp
import httpx
import psutil
import pytest

from tests.rig.process import SERVE, Served
from tests.rig.upstream import RefusedPort, ScriptedUpstream
from tests.rig.world import CHAT, CRITICAL, PUBLIC, World, chat


@pytest.fixture
def served(world: World, tmp_path: Path) -> Iterator[Served]:
    served = Served(world.config(), tmp_path)
    yield served
    served.kill()


async def _calls(base: str, count: int, headers: Mapping[str, str], at_once: int = 32) -> list[int]:
    """Make ``count`` calls, ``at_once`` at a time; returns their statuses, 0 for a broken connection."""
    statuses: list[int] = []
    numbers = iter(range(count))

    async def work(client: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = chat(f"question {number}", max_tokens=20)
            try:
                async with client.post(base + CHAT, json=body, headers=headers) as response:
                    await response.read()
                    statuses.append(response.status)
            except aiohttp.ClientError:
                statuses.append(0)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(work(client) for _ in range(at_once)))
    return statuses


async def test_it_says_where_it_is_and_ends_in_good_order(served: Served) -> None:
    served.start()
    assert f"OpenAI base URL {served.base}/v1, Ollama host {served.base}" in served.ready_line
    assert (served.data_dir / "admin-token").stat().st_mode & 0o777 == 0o600
    assert set(await _calls(served.base, 3, CRITICAL)) == {200}
    assert set(await _calls(served.base, 2, PUBLIC)) == {200}
    assert served.stop() == 0
    rows = sqlite3.connect(served.data_dir / "sidecar.sqlite").execute("SELECT count(*) FROM decisions")
    assert rows.fetchone() == (5,)


def test_what_it_writes_is_for_its_owner_alone(served: Served) -> None:
    served.data_dir.mkdir(mode=0o755)
    served.data_dir.chmod(0o755)
    old = served.data_dir / "ledger.sqlite"
    old.touch(mode=0o644)
    old.chmod(0o644)
    served.start()
    httpx.post(f"{served.base}{CHAT}", json=chat(), headers=CRITICAL, trust_env=False).raise_for_status()
    modes = {path.name: path.stat().st_mode & 0o777 for path in served.data_dir.iterdir()}
    assert {"sidecar.sqlite", "sidecar.sqlite-wal", "ledger.sqlite", "admin-token"} <= modes.keys()
    assert set(modes.values()) == {0o600}, modes
    assert served.stop() == 0


def test_it_says_at_the_start_what_deserves_a_look(world: World, tmp_path: Path) -> None:
    config = world.config({"tiers": {"openai": {"api_key": ""}}, "budgets": None})
    served = Served(config, tmp_path)
    try:
        served.start()
        assert f"WARNING sidecar.server: {served.path}: tiers.openai: off, no api_key" in served.stderr
        no_cap = "tiers.ollama_cloud: has a price but no cap limits what is spent on it"
        assert served.stderr.count(no_cap) == 1
    finally:
        served.kill()


def test_a_newcomer_is_told_once_that_ollama_is_not_there_and_when_it_is(
    world: World, tmp_path: Path, refused_port: RefusedPort
) -> None:
    config = world.config({"tiers": {"local_ollama": {"base_url": refused_port.url}}})
    served = Served(config, tmp_path)
    absent = f"tier local_ollama: nobody answers at {refused_port.url}; start Ollama"
    try:
        served.start()
        until(lambda: absent in served.stderr)
        shown = httpx.get(f"{served.base}/admin/tiers", headers=served.bearer, trust_env=False).json()[
            "tiers"
        ]
        assert [tier["absent"] for tier in shown] == [f"nobody answers at {refused_port.url}", "", ""]
        refused_port.__exit__(None, None, None)
        ollama = ScriptedUpstream(name="ollama", port=refused_port.port)
        asyncio.run(ollama.__aenter__())
        try:
            until(lambda: f"tier local_ollama: answers at {refused_port.url} now" in served.stderr)
            shown = httpx.get(f"{served.base}/admin/tiers", headers=served.bearer, trust_env=False).json()
            assert [tier["absent"] for tier in shown["tiers"]] == ["", "", ""]
            assert served.stderr.count(absent) == 1
        finally:
            asyncio.run(ollama.stop())
    finally:
        served.kill()


def until(holds: Callable[[], bool]) -> None:
    """Wait, 30 s at most, until it holds."""
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come about within 30 s")


async def test_ctrl_c_is_clean(served: Served) -> None:
    served.start()
    assert served.stop(signal.SIGINT) == 0


async def test_kill_9_under_load_corrupts_nothing_and_the_next_start_goes_on(served: Served) -> None:
    # As users run it: a tracer would slow down the writing of what it is about.
    served.start(covered=False)
    load = asyncio.create_task(_calls(served.base, 6_000, CRITICAL))
    await asyncio.sleep(2.5)
    killed_at = time.time()
    served.process.kill()
    statuses = await load
    served.stop(signal.SIGKILL)
    answered = statuses.count(200)
    assert 0 < answered < 6_000

    served.start()
    for name in ("sidecar.sqlite", "ledger.sqlite"):
        connection = sqlite3.connect(f"file:{served.data_dir / name}?mode=ro", uri=True)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    decisions = sqlite3.connect(f"file:{served.data_dir / 'sidecar.sqlite'}?mode=ro", uri=True)
    ((ended_s,),) = decisions.execute(
        "SELECT max(started_ns / 1e9 + duration_ms / 1e3) FROM decisions"
    ).fetchall()
    # What is lost is at most the last second, with some air for a busy machine.
    assert killed_at - ended_s < 2.0
    assert set(await _calls(served.base, 10, CRITICAL)) == {200}
    async with (
        aiohttp.ClientSession(headers=served.bearer) as client,
        client.get(f"{served.base}/admin/spend") as response,
    ):
        (spend,) = (await response.json())["spend"]
    # Every answered call was settled or is posted whole as unknown: none is forgotten.
    assert spend["calls"] >= answered + 10
    assert served.stop() == 0


async def test_memory_stays_small_over_ten_thousand_calls(served: Served) -> None:
    served.start(covered=False)
    statuses = await _calls(served.base, 10_000, CRITICAL, at_once=16)
    assert set(statuses) == {200}
    rss_mb = psutil.Process(served.process.pid).memory_info().rss / 2**20
    assert rss_mb < 150


def test_a_second_sidecar_on_the_same_data_or_port_is_refused(
    world: World, tmp_path: Path, served: Served
) -> None:
    served.start()
    second = subprocess.run(
        [*SERVE, str(served.path)], check=False, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 2
    assert str(served.process.pid) in second.stderr
    port = int(served.base.rsplit(":", 1)[1])
    other = Served(world.config({"listen": {"port": port}}), tmp_path)
    ran = subprocess.run([*SERVE, str(other.path)], check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--version"], 0, "sidecar 0."),
        (["check"], 0, "local_ollama"),
        (["check", "/nonexistent.yaml"], 2, "/nonexistent.yaml"),
        (["serve", "--config", "/nonexistent.yaml"], 2, "/nonexistent.yaml"),
        (["nonsense"], 2, "invalid choice"),
        ([], 2, "COMMAND"),
    ],
)
def test_exit_codes(arguments: list[str], code: int, words: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "sidecar.cli", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False), ran.stderr
    assert words in ran.stdout + ran.stderr
