"""`sidecar demo` from outside: what it shows, how it ends, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import aiohttp
import openai
import psutil
import pytest

from sidecar.demo.stage import CLOUD, LOCAL, OPENAI
from sidecar.storage.database import Database
from sidecar.storage.decision_search import DecisionSearch
from tests.rig.upstream import RefusedPort, ScriptedUpstream, StartUpstream

DEMO = (sys.executable, "-m", "sidecar.cli", "demo")
ROW = re.compile(
    r"^ *\d+  (?P<call>.+?)  +(?P<arm>legacy|routed)  (?P<tier>\S+) +(?P<why>\S+) +(?P<cost>[\d.]+) +\d+$"
)


class StartDemo(Protocol):
    """Starts the demo in its own session, with a temporary directory of its own."""

    async def __call__(self, *options: str, **environ: str) -> Process: ...


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[StartDemo]:
    """Demos that end with the test, whatever becomes of it."""
    started: list[Process] = []

    async def start_demo(*options: str, **environ: str) -> Process:
        demo = await asyncio.create_subprocess_exec(
            *DEMO,
            *options,
            stdout=PIPE,
            stderr=PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path), **environ},
            start_new_session=True,
        )
        started.append(demo)
        return demo

    yield start_demo
    for demo in started:
        if demo.returncode is None:
            demo.terminate()
            await demo.communicate()


async def finish(demo: Process) -> tuple[str, str]:
    output, errors = await demo.communicate()
    return output.decode(), errors.decode()


def rows_of(output: str) -> list[dict[str, str]]:
    """The table of calls."""
    return [found.groupdict() for line in output.splitlines() if (found := ROW.match(line))]


async def read_until(demo: Process, words: str) -> str:
    assert demo.stdout is not None
    text = ""
    while words not in text:
        line = await demo.stdout.readline()
        assert line, text
        text += line.decode()
    return text


@pytest.fixture
async def ollama(scripted_upstream: StartUpstream) -> ScriptedUpstream:
    """What stands in for a running Ollama: the same dialect, and quick."""
    return await scripted_upstream(name="ollama", models="llama3.2,nomic-embed-text")


@pytest.mark.timeout(180)
async def test_it_shows_both_arms_and_all_tiers_over_the_real_model(start: StartDemo, tmp_path: Path) -> None:
    demo = await start()
    output, errors = await finish(demo)

    assert demo.returncode == 0, output + errors
    assert errors == ""
    assert "\x1b" not in output, "a pipe gets no colour"
    rows = rows_of(output)
    assert 35 <= len(rows) <= 60
    assert {row["arm"] for row in rows} == {"legacy", "routed"}
    assert {row["tier"] for row in rows} == {LOCAL, CLOUD, OPENAI}
    for row in rows:
        assert (float(row["cost"]) > 0) == (row["tier"] != LOCAL)
        assert row["tier"] == LOCAL or row["arm"] == "routed"
        if "pii" in row["call"]:
            assert row["tier"] == LOCAL
        if row["call"].startswith("embed"):
            assert row["tier"] == LOCAL
    reasons = {row["why"] for row in rows}
    assert reasons >= {
        "rollout_legacy",
        "default_local",
        "embedding_local_only",
        "sensitive_data_local_only",
        "critical_quality",
        "high_quality",
        "batch_processing",
    }
    assert "meant 70%" in output
    assert os.listdir(tmp_path) == [], "nothing is left behind"


async def test_every_record_of_it_replays_to_the_same_decision(
    start: StartDemo, ollama: ScriptedUpstream, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    demo = await start("--ollama", "--data-dir", str(kept), OLLAMA_BASE_URL=ollama.url)
    output, errors = await finish(demo)
    assert demo.returncode == 0, output + errors
    database = await Database.open(kept)
    try:
        search = DecisionSearch(database)
        page = await search.page(limit=200)
        assert len(page.decisions) == len(rows_of(output))
        for summary in page.decisions:
            record = await search.get(summary.request_id)
            assert record is not None
            assert await search.replay(summary.request_id) == record.decision
    finally:
        await database.close()


async def test_it_uses_a_reachable_ollama_when_asked(
    start: StartDemo, tmp_path: Path, ollama: ScriptedUpstream
) -> None:
    demo = await start("--ollama", "--data-dir", str(tmp_path / "kept"), OLLAMA_BASE_URL=ollama.url)
    output, errors = await finish(demo)

    assert demo.returncode == 0, output + errors
    assert "your Ollama (llama3.2:latest)" in output
    asked = {entry.path for entry in await ollama.log()}
    assert any("chat" in path for path in asked)
    assert any("embed" in path for path in asked)
    assert (tmp_path / "kept" / "admin-token").exists()


async def test_without_ollama_it_says_what_to_do(start: StartDemo, refused_port: RefusedPort) -> None:
    demo = await start("--ollama", OLLAMA_BASE_URL=refused_port.url)
    output, errors = await finish(demo)

    assert demo.returncode == 2
    assert "leave out --ollama" in output
    assert "Traceback" not in output + errors


async def test_kept_it_serves_until_interrupted(start: StartDemo, ollama: ScriptedUpstream) -> None:
    demo = await start("--ollama", "--keep", OLLAMA_BASE_URL=ollama.url)
    output = await read_until(demo, "Ctrl-C ends it")
    found = re.search(r"OpenAI base URL +(\S+)", output)
    assert found is not None
    async with openai.AsyncOpenAI(base_url=found[1], api_key="none", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="llama3.2", messages=[{"role": "user", "content": "still there?"}]
        )
    assert answer.choices[0].message.content
    children = psutil.Process(demo.pid).children(recursive=True)
    assert len(children) == 3

    demo.send_signal(signal.SIGINT)
    _, errors = await finish(demo)
    assert demo.returncode == 0
    assert errors == ""
    assert not any(child.is_running() for child in children)


@pytest.mark.parametrize("moment", ["Aegis Sidecar demo", "ready after", "10 calls made"])
async def test_ctrl_c_is_clean_at_any_time(
    start: StartDemo, tmp_path: Path, ollama: ScriptedUpstream, moment: str
) -> None:
    await ollama.fault(delay_s=0.2)
    demo = await start("--ollama", OLLAMA_BASE_URL=ollama.url)
    await read_until(demo, moment)
    children = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(signal.SIGINT)
    demo.send_signal(signal.SIGINT)
    output, errors = await finish(demo)

    assert demo.returncode == 130
    assert output.endswith("stopped\n")
    assert errors == ""
    assert not any(child.is_running() for child in children)
    assert os.listdir(tmp_path) == []


async def test_killed_it_takes_its_children_along(start: StartDemo, ollama: ScriptedUpstream) -> None:
    demo = await start("--ollama", "--keep", OLLAMA_BASE_URL=ollama.url)
    output = await read_until(demo, "Ctrl-C ends it")
    children = psutil.Process(demo.pid).children(recursive=True)
    demo.kill()
    await finish(demo)

    _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=10)
    assert alive == []
    found = re.search(r"OpenAI base URL +(\S+)", output)
    assert found is not None
    with pytest.raises(aiohttp.ClientConnectorError):
        async with aiohttp.request("GET", found[1]):
            pass


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--ollama"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path), "OLLAMA_BASE_URL": "http://127.0.0.1:9"},
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        demo.stdout.close()
        assert demo.stderr.read() == b""
    assert os.listdir(tmp_path) == []


async def test_what_the_gate_finds_stays_home_however_critical(
    start: StartDemo, ollama: ScriptedUpstream
) -> None:
    demo = await start("--ollama", OLLAMA_BASE_URL=ollama.url)
    output, _ = await finish(demo)

    (row,) = [row for row in rows_of(output) if "bank account" in row["call"] and row["arm"] == "routed"]
    assert (row["tier"], row["why"]) == (LOCAL, "sensitive_data_local_only")
