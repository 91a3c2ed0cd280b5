"""The client in an app that has nothing of the sidecar's but ``httpx``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.clients.ways import echo
from tests.rig.serving import Serve

ROOT = Path(__file__).parents[3]

QUICK_TEST = """
import asyncio
from sidecar.client import get_aegis_llm_proxy, LLMTask, TaskType
async def main():
    r = await get_aegis_llm_proxy().generate(LLMTask(task_type=TaskType.GENERATION, prompt="What is RAG?"))
    print(r.provider, r.cost_usd, r.content)
asyncio.run(main())
"""

BLOCKING = """
from sidecar.client import get_aegis_llm_proxy, LLMTask
proxy = get_aegis_llm_proxy()
print(proxy.generate_sync(LLMTask(prompt="What is RAG?")).content)
print("".join(proxy.generate_stream_sync(LLMTask(prompt="What is RAG?"))))
print(len(proxy.embed_sync("one").vectors[0]))
"""

FORGOTTEN = """
import asyncio
from sidecar.client import AegisLLMProxy, LLMTask
async def main():
    async for piece in AegisLLMProxy().generate_stream(LLMTask(prompt="What is RAG?")):
        print(piece)
        break
asyncio.run(main())
"""


def needed(name: str) -> set[str]:
    """The distribution ``name`` and all that it needs itself, here."""
    found, waiting = set(), [name]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for line in distribution(name).requires or ():
            requirement, _, marker = line.partition(";")
            if "extra" not in marker and ("python_version" not in marker or "typing" in requirement):
                waiting.append(re.split(r"[^\w.-]", requirement.strip())[0])
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``sidecar`` and what ``httpx`` needs, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sidecar").symlink_to(ROOT / "sidecar")
    for name in needed("httpx"):
        packed = distribution(name)
        for top in {path.parts[0] for path in packed.files or () if ".." not in path.parts}:
            if not top.endswith((".dist-info", "__pycache__")) and not (folder / top).exists():
                (folder / top).symlink_to(str(packed.locate_file(top)))
    assert not (folder / "msgspec").exists()
    return folder


def run(bare: Path, program: str, url: str) -> str:
    """What ``program`` prints; it must warn of nothing, not even of a connection left open."""
    environment = {"PYTHONPATH": str(bare), "AEGIS_SIDECAR_URL": url, "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-S", "-W", "error", "-c", program],
        env=environment,
        cwd=bare,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def url(serve: Serve) -> str:
    sidecar = serve("legacy-local_ollama", {"rollout": {"legacy": {"tier": "local_ollama"}}})
    sidecar.set_percent(100)
    return sidecar.base


def test_the_quick_test(bare: Path, url: str) -> None:
    assert run(bare, QUICK_TEST, url) == f"local_ollama 0.0 {echo('What is RAG?')}\n"


def test_blocking_calls_and_a_forgotten_stream(bare: Path, url: str) -> None:
    answer = echo("What is RAG?")
    assert run(bare, BLOCKING, url) == f"{answer}\n{answer}\n256\n"
    assert run(bare, FORGOTTEN, url) == "What\n"


def test_nothing_of_the_server_is_loaded(bare: Path, url: str) -> None:
    program = (
        "import sys, sidecar.client; print(*(name for name in sys.modules if name.startswith('sidecar')))"
    )
    loaded = set(run(bare, program, url).split())
    assert {name for name in loaded if not name.startswith("sidecar.client")} == {
        "sidecar",
        "sidecar.core",
        "sidecar.core.hint_words",
        "sidecar.wire",
        "sidecar.wire.sse",
    }
