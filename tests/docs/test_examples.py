"""Every example of the documentation runs as it stands on its page, and prints what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.rig.serving import Serve, ServedSidecar
from tests.rig.upstream import ScriptedUpstream

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PAGES = sorted(set(EXAMPLES.glob("*.md")) - {EXAMPLES / "README.md"})
#: The page whose every decision is looked at.
GRAPH = EXAMPLES / "langgraph.md"
#: Where the pages say that the sidecar is.
ADDRESS = "127.0.0.1:4000"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ACCOUNT = "DE89370400440532013000"


class Page(NamedTuple):
    """One page: its program with the language it is in, and what it is said to print."""

    name: str
    language: str
    program: str
    prints: str


def read(path: Path) -> Page:
    blocks = dict(_BLOCK.findall(path.read_text()))
    (language,) = blocks.keys() & {"python", "js", "bash"}
    return Page(path.stem, language, blocks[language], blocks["text"])


def tool(name: str) -> str:
    """Where a command is; it must be there."""
    found = os.environ.get(name.upper()) if name == "uv" else None
    found = found or shutil.which(name)
    assert found, f"the examples need {name} on the PATH; .ci/run installs what is missing"
    return found


def command(page: Page, folder: Path) -> Sequence[str]:
    """How to run the program of ``page``, written into ``folder`` with what it needs beside it."""
    if page.language == "bash":
        return [tool("bash"), "-eu", "-o", "pipefail", str(write(page, folder / "example.sh"))]
    if page.language == "js":
        for name in ("package.json", "package-lock.json"):
            shutil.copy(EXAMPLES / name, folder)
        install = [tool("npm"), "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(install, cwd=folder, check=True, timeout=100)
        return [tool("node"), str(write(page, folder / "example.mjs"))]
    program = str(write(page, folder / "example.py"))
    apart = EXAMPLES / f"{page.name}.txt"
    if not apart.exists():
        return [sys.executable, program]
    isolated = ["run", "--quiet", "--no-project", "--isolated", "--python", sys.executable]
    return [tool("uv"), *isolated, "--with-requirements", str(apart), "python", program]


def write(page: Page, path: Path) -> Path:
    path.write_text(page.program)
    return path


def run(page: Page, sidecar: ServedSidecar, folder: Path) -> str:
    """What the program of ``page`` prints when it is run against ``sidecar``."""
    there = page._replace(program=page.program.replace(ADDRESS, f"127.0.0.1:{sidecar.port}"))
    assert there != page, "the program says nowhere where the sidecar is"
    done = subprocess.run(
        command(there, folder), cwd=folder, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
async def sidecar(
    serve: Serve, upstream_processes: tuple[ScriptedUpstream, ScriptedUpstream, ScriptedUpstream]
) -> ServedSidecar:
    """A sidecar with the rules of the built-in configuration, everything routed, its upstreams unscripted."""
    for upstream in upstream_processes:
        await upstream.reset()
    return serve("examples")


@pytest.mark.parametrize("path", [path for path in PAGES if path != GRAPH], ids=lambda path: path.stem)
def test_a_page_prints_what_it_says(sidecar: ServedSidecar, path: Path, tmp_path: Path) -> None:
    page = read(path)
    assert run(page, sidecar, tmp_path) == page.prints


def records(sidecar: ServedSidecar, app: str, count: int) -> list[dict[str, Any]]:
    """The ``count`` decision records of ``app``, in the order in which the calls came."""
    with httpx.Client(
        base_url=f"{sidecar.base}/admin", headers=sidecar.bearer, trust_env=False, verify=False
    ) as admin:
        until_s = time.monotonic() + 10
        while True:
            lines = admin.get("/decisions", params={"app": app, "limit": 200}).json()["decisions"]
            if len(lines) >= count or time.monotonic() > until_s:
                break
            time.sleep(0.05)
        found = [admin.get(f"/decisions/{line['request_id']}").json() for line in lines]
    assert len(found) == count
    return sorted(found, key=lambda record: record["started_ns"])


def demanded(record: dict[str, Any]) -> str:
    """The tier that the hints of a call lead to, by the default rules."""
    hints = record["features"]["hints"]
    quality, complexity = hints.get("quality", "medium"), hints.get("complexity", "low")
    if quality == "critical":
        return "openai"
    return "ollama_cloud" if quality == "high" and complexity != "low" else "local_ollama"


async def test_each_node_of_the_graph_is_decided_as_it_hints_and_personal_data_stays(
    sidecar: ServedSidecar,
    upstream_processes: tuple[ScriptedUpstream, ScriptedUpstream, ScriptedUpstream],
    tmp_path: Path,
) -> None:
    page = read(GRAPH)
    assert run(page, sidecar, tmp_path) == page.prints
    calls = records(sidecar, "library-rag", 20)
    clean, changed = calls[:10], calls[10:]
    tasks = Counter(call["features"]["hints"]["task_type"] for call in clean)
    assert tasks == {
        "generation": 1,
        "embedding": 1,
        "extraction": 6,
        "answer_generation": 1,
        "summarization": 1,
    }
    assert Counter(map(demanded, clean)) == {"local_ollama": 6, "ollama_cloud": 3, "openai": 1}
    assert [call["tier"] for call in clean] == list(map(demanded, clean))
    # Then one document has an account number in it.
    kept = [call for call in changed if call["features"]["verdict"]["state"] == "SENSITIVE"]
    local, *clouds = [[entry.body for entry in await it.log()] for it in upstream_processes]
    assert [call["features"]["hints"]["task_type"] for call in kept] == [
        "embedding",
        "extraction",
        "extraction",
        "answer_generation",
    ]
    assert {call["tier"] for call in kept} == {"local_ollama"}
    assert sum(_ACCOUNT in body for body in local) == len(kept)
    assert not any(_ACCOUNT in body for bodies in clouds for body in bodies)
    free = [call for call in changed if call not in kept]
    assert [call["tier"] for call in free] == list(map(demanded, free))
    assert Counter(call["tier"] for call in free) == {"local_ollama": 4, "ollama_cloud": 2}


def test_the_programs_are_as_clean_as_the_rest(tmp_path: Path) -> None:
    (tmp_path / "ruff.toml").write_text(f"extend = {str(EXAMPLES.parents[1] / 'pyproject.toml')!r}")
    for page in map(read, PAGES):
        if page.language == "python":
            write(page, tmp_path / f"{page.name}.py")
    for check in (["format", "--check"], ["check", "--ignore=T201,INP"]):
        done = subprocess.run(
            [tool("ruff"), *check, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_the_index_names_every_page() -> None:
    linked = re.findall(r"\]\((\S+\.md)\)", (EXAMPLES / "README.md").read_text())
    assert sorted(linked) == [path.name for path in PAGES]
