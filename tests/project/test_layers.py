"""The layer rules of ``sidecar/__init__.py``, enforced by reading the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.process import uncovered

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("sidecar/**/*.py"), *ROOT.glob("dashboard/**/*.py")])

#: What ``core`` and ``wire`` may import besides themselves: nothing that does I/O, waits, or rolls dice.
PURE = {
    "__future__", "base64", "binascii", "bisect", "calendar", "codecs", "collections", "contextlib",
    "dataclasses",
    "datetime", "decimal", "difflib", "enum", "fnmatch", "fractions", "functools", "hashlib", "heapq",
    "hmac", "hyperscan", "importlib.resources", "ipaddress", "itertools", "json", "math", "msgspec",
    "operator", "phonenumbers", "re", "re2", "statistics", "string", "struct", "typing", "unicodedata",
    "urllib.parse", "uuid", "zlib", "zoneinfo",
}  # fmt: skip

#: For each part of the sidecar the parts of ours that it may import; ``app`` may import all.
MAY_IMPORT = {
    "core": {"core"},
    "wire": {"wire", "core"},
    "settings": {"settings", "core"},
    "upstreams": {"upstreams", "core", "wire"},
    "storage": {"storage", "core"},
    "entropy": set(),
    "telemetry": {"telemetry", "core", "entropy", ""},
    "exchange": {"exchange", "core", "wire", "upstreams", "storage", "settings", "telemetry", "entropy"},
    "endpoints": {"endpoints", "exchange", "services", "wire", "core", "upstreams", "storage", "entropy", ""},
    "services": {"services", "exchange", "core", "storage", "settings", "upstreams", "telemetry", ""},
    "client": {"client", "core", "wire", ""},
    "dashboard": {"dashboard", "core", "storage", "settings", "services"},
}
#: Modules at the top of ``sidecar`` that belong to a part by what they do.
PART_OF = {
    "attempts": "exchange",
    "connections": "services",
    "course": "exchange",
    "drain": "exchange",
    "in_flight": "exchange",
    "in_force": "exchange",
    "keep_alive": "exchange",
    "loop_lag": "services",
    "observed": "services",
    "shadow": "exchange",
    "telling": "exchange",
    "transcript": "exchange",
    "budget_desk": "services",
    "privacy_desk": "services",
    "rating_intake": "services",
    "rollout_desk": "services",
    "shadow_purse": "services",
    "traffic": "services",
    "rollout_news": "services",
    "rollout_view": "services",
    "tier_desk": "services",
}

#: What a worker process must not load: a call needs none of it, and each worker would pay for it.
NOT_IN_A_WORKER = (
    "litestar",
    "aiosqlite",
    "sqlite3",
    "jinja2",
    "dashboard",
    "sidecar.storage",
    "sidecar.app",
)

#: What an app's client may import besides the standard library; of ours only modules that have no more.
CLIENT_NEEDS = {"httpx", "sidecar", "sidecar.core.hint_words", "sidecar.wire.sse"}

#: Packages that one place alone may import.
ONLY_IN = {
    "any_llm": ("sidecar/upstreams/any_llm",),
    "aiosqlite": ("sidecar/storage/",),
    "sqlite3": ("sidecar/storage/",),
    "opentelemetry": ("sidecar/telemetry/",),
    "litestar": ("sidecar/endpoints/", "sidecar/app.py", "sidecar/asgi.py", "dashboard/"),
    "genai_prices": ("sidecar/catalog_prices.py",),
}


def imports(source: Path) -> Iterator[str]:
    """Every module that ``source`` imports, at its top or inside a function; type-only ones too."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            module = node.module or ""
            yield module
            if module in ("importlib", "urllib"):
                yield from (f"{module}.{alias.name}" for alias in node.names)


def part_of(source: Path) -> str:
    relative = source.relative_to(ROOT).with_suffix("")
    if relative.parts[0] == "dashboard":
        return "dashboard"
    name = relative.parts[1]
    return PART_OF.get(name, name)


def part_of_module(module: str) -> str:
    if module in ("dashboard", "sidecar"):
        return module.removeprefix("sidecar")
    return part_of(ROOT / (module.replace(".", "/") + ".py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_to_the_layers(source: Path) -> None:
    part, name = part_of(source), str(source.relative_to(ROOT))
    for module in imports(source):
        top = module.split(".")[0]
        for package, places in ONLY_IN.items():
            if top == package:
                assert name.startswith(places), f"{name} imports {package}, which belongs to {places}"
        if part in ("core", "wire") and top not in ("sidecar", "dashboard"):
            assert module in PURE or top in PURE, f"{name} is pure and must not import {module}"
        if part == "client" and not module.startswith("sidecar.client"):
            assert module in CLIENT_NEEDS or top in sys.stdlib_module_names, (
                f"{name} must not import {module}"
            )
        if top in ("sidecar", "dashboard") and part in MAY_IMPORT:
            assert part_of_module(module) in MAY_IMPORT[part], f"{name} ({part}) must not import {module}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sources_are_small_and_named_for_what_they_hold(source: Path) -> None:
    text = source.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 420, f"{source.name} is too long to be read at once"
    assert source.stem not in ("utils", "helpers", "common", "misc", "manager")
    docstring = ast.get_docstring(tree)
    assert docstring, f"{source.name} says nothing of itself"
    assert docstring.split("\n\n")[0].rstrip().endswith((".", ":")), f"{source.name}: open with one sentence"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 80, f"{source.name}: {node.name} has {length} lines"
        assert not isinstance(node, ast.Global), f"{source.name} uses a global statement"


def test_a_worker_process_loads_only_what_calls_need() -> None:
    program = (
        f"import sys, sidecar.workers.process; print([m for m in {NOT_IN_A_WORKER} if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=uncovered()
    )
    assert ran.stdout.strip() == "[]"
