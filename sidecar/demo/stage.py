"""Sets the stage: starts the model, the two scripted clouds and the sidecar, and ends them all again."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
import yaml

from sidecar.demo.child import Child
from sidecar.demo.real_model import MODEL, check_installed

#: Cheapest first. The two clouds are scripted, and are called so wherever they appear.
LOCAL, CLOUD, OPENAI = "local", "scripted_ollama_cloud", "scripted_openai"
TIERS = (LOCAL, CLOUD, OPENAI)
CLOUD_MODEL, OPENAI_MODEL = "scripted-large", "scripted-frontier"
ROUTED_PERCENT = 60
_OLLAMA_DEFAULT = "127.0.0.1:11434"
_KEY = "demo-needs-no-secret"
_SERVE_READY = re.compile(rb"OpenAI base URL http://\S+:(\d+)/v1")


class OllamaMissing(Exception):
    """``--ollama`` was asked for and no Ollama with a model answers; the message names the cure."""


class LocalTier(msgspec.Struct, frozen=True):
    """Where the local tier is and what it is asked for."""

    provider: str
    base_url: str
    chat_model: str
    embedding_model: str


class Stage:
    """Everything that runs in the demo; an async context manager."""

    def __init__(self, *, data_dir: Path | None, port: int, ollama_host: str | None) -> None:
        """``ollama_host`` is the running Ollama to use; None: the small model that comes along."""
        self._scratch = tempfile.TemporaryDirectory(prefix="sidecar-demo-")
        self.data_dir = (data_dir or Path(self._scratch.name, "data")).absolute()
        self._port = port
        self._ollama_host = ollama_host
        self._cloud = _scripted_cloud("ollama-cloud", CLOUD_MODEL)
        self._openai = _scripted_cloud("openai", OPENAI_MODEL)
        self._model = Child("sidecar.demo.real_model", "--exit-with-parent")
        self._children: list[Child] = []
        self.local = LocalTier("", "", "", "")
        self.base_url = ""

    async def __aenter__(self) -> Self:
        """Start everything; when that fails, nothing is left running.

        Raises ``ChildFailed``, ``NotInstalled``, ``OllamaMissing``.
        """
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    @property
    def admin_token(self) -> str:
        """The token of the admin API, which the sidecar made at its start."""
        return (self.data_dir / "admin-token").read_text().strip()

    async def _start(self) -> None:
        if self._ollama_host is not None:
            self.local = await find_ollama(self._ollama_host)
            await self._bring_up(self._cloud, self._openai)
        else:
            check_installed()
            await self._bring_up(self._model, self._cloud, self._openai)
            self.local = LocalTier("llamacpp", f"http://127.0.0.1:{self._model.port}/v1", MODEL, MODEL)
        config = self._write_configuration()
        serve = Child.leashed("sidecar.cli", "serve", "--config", str(config), ready=_SERVE_READY)
        await self._bring_up(serve)
        self.base_url = f"http://127.0.0.1:{serve.port}"

    async def _bring_up(self, *children: Child) -> None:
        """Start ``children`` side by side. Cancelled, it waits until each has come up or failed."""
        self._children += children
        starts = [asyncio.create_task(asyncio.to_thread(child.start)) for child in children]
        try:
            for start in starts:
                await asyncio.shield(start)
        finally:
            await asyncio.gather(*starts, return_exceptions=True)

    async def _stop(self) -> None:
        """End everything, the sidecar first: it may still be settling with the others."""
        for child in reversed(self._children):
            await asyncio.to_thread(child.stop)
        self._scratch.cleanup()

    def _write_configuration(self) -> Path:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        file = Path(self._scratch.name, "sidecar.yaml")
        file.write_text(yaml.safe_dump(self.configuration(), sort_keys=False))
        return file

    def configuration(self) -> dict[str, Any]:
        """What goes into the sidecar's YAML file."""
        local = self.local
        return {
            "listen": {"host": "127.0.0.1", "port": self._port},
            "data_dir": str(self.data_dir),
            "drain_s": 2,
            "tiers": {
                LOCAL: {
                    "provider": local.provider,
                    "base_url": local.base_url,
                    "off_box": False,
                    "models": {"default": local.chat_model, "embedding": local.embedding_model},
                    "max_concurrency": 4,
                },
                CLOUD: _cloud_tier("ollama", f"http://127.0.0.1:{self._cloud.port}", CLOUD_MODEL, 0.001),
                OPENAI: _cloud_tier(
                    "openai", f"http://127.0.0.1:{self._openai.port}/v1", OPENAI_MODEL, 0.015
                ),
            },
            "routing": {
                "rules": [
                    {"name": "critical_quality", "when": {"quality": "critical"}, "tier": OPENAI},
                    {"name": "very_high_complexity", "when": {"complexity": "very_high"}, "tier": OPENAI},
                    {
                        "name": "high_quality",
                        "when": {"quality": ">=high", "complexity": ">=medium"},
                        "tier": CLOUD,
                    },
                    {"name": "batch_processing", "when": {"batch_size": ">10"}, "tier": CLOUD},
                ],
                "default": LOCAL,
                "fallback": [OPENAI, CLOUD, LOCAL],
            },
            "budgets": {
                "caps": [
                    {"name": "openai-month", "tier": OPENAI, "period": "month", "usd": 80},
                    {"name": "cloud-month", "tier": CLOUD, "period": "month", "usd": 120},
                    {"name": "all-day", "tier": "*", "period": "day", "usd": 10},
                ]
            },
            "rollout": {
                "percent": ROUTED_PERCENT,
                "legacy": {"tier": LOCAL},
                # A real model on somebody's laptop takes its time; that is no reason to go back.
                "gates": {"p95_ms_max": 120_000, "warn": {"p95_ms": 60_000}},
            },
        }


def _scripted_cloud(name: str, model: str) -> Child:
    return Child(
        "sidecar.demo.scripted_upstream",
        "--exit-with-parent",
        "--answer-style=demo",
        f"--name={name}",
        f"--models={model}",
        f"--require-key={_KEY}",
    )


def _cloud_tier(provider: str, base_url: str, model: str, usd_per_1k_tokens: float) -> dict[str, Any]:
    return {
        "provider": provider,
        "base_url": base_url,
        "api_key": _KEY,
        "off_box": True,
        "price": {"usd_per_1k_tokens": usd_per_1k_tokens},
        "default_max_tokens": 256,
        "models": {"default": model},
    }


class _OllamaModel(msgspec.Struct):
    name: str


class _OllamaTags(msgspec.Struct):
    models: list[_OllamaModel]


def ollama_host(environ: Mapping[str, str]) -> str:
    """Where Ollama is, by the variables that its own tools and the sidecar's configuration read."""
    host = environ.get("OLLAMA_BASE_URL") or environ.get("OLLAMA_HOST") or _OLLAMA_DEFAULT
    return (host if "://" in host else f"http://{host}").rstrip("/")


async def find_ollama(base_url: str) -> LocalTier:
    """The running Ollama with its first models for chat and embeddings. Raises ``OllamaMissing``."""
    try:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.request(
            "GET", f"{base_url}/api/tags", timeout=timeout, raise_for_status=True
        ) as answer:
            tags = msgspec.json.decode(await answer.read(), type=_OllamaTags)
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, ValueError) as error:
        raise OllamaMissing(
            f"no Ollama answers at {base_url} ({error or type(error).__name__}); start it, "
            "or leave out --ollama for the small model that comes along"
        ) from None
    names = [model.name for model in tags.models]
    chatting = [name for name in names if "embed" not in name]
    if not chatting:
        raise OllamaMissing(f"Ollama at {base_url} has no model that can chat; try: ollama pull llama3.2")
    embedding = next((name for name in names if "embed" in name), chatting[0])
    return LocalTier("ollama", base_url, chatting[0], embedding)
