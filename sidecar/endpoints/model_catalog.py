"""Which model names an app may use here: ``auto``, each tier's own, and ``<tier>/<model>`` pins."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from sidecar.core.errors import UpstreamFault
from sidecar.core.vocabulary import Dialect
from sidecar.in_force import InForce
from sidecar.upstreams.registry import LocalUpstream

AUTO = "auto"
#: How long the list of a local Ollama's models is waited for; it takes milliseconds.
_LIST_S = 1.0


class ModelName(msgspec.Struct, frozen=True):
    """One name, the tier it leads to (empty: the policy's choice), and the upstream's name for it."""

    name: str
    tier: str = ""
    model: str = ""


def model_names(in_force: InForce) -> list[ModelName]:
    """All names that the tiers which are on answer to."""
    names = [ModelName(AUTO)]
    seen = {AUTO}
    for tier_name, tier in in_force.tiers.items():
        if tier.off_because or tier_name in in_force.out:
            continue
        for model in dict.fromkeys(tier.models.values()):
            for name in (f"{tier_name}/{model}", model):
                if name not in seen:
                    seen.add(name)
                    names.append(ModelName(name, tier_name, model))
    return names


def bare_model(in_force: InForce, name: str) -> str:
    """The upstream's name behind a ``<tier>/<model>`` pin; any other name as it is."""
    prefix, slash, rest = name.partition("/")
    return rest if slash and prefix in in_force.tiers else name


def local_ollama(in_force: InForce) -> LocalUpstream | None:
    """The upstream on this machine that speaks Ollama's dialect, if there is one."""
    for upstream in in_force.upstreams.values():
        if isinstance(upstream, LocalUpstream) and upstream.tier.dialect is Dialect.OLLAMA:
            return upstream
    return None


async def pulled_models(in_force: InForce) -> list[dict[str, Any]]:
    """What the local Ollama says of its models; nothing while it is down, slow or out of service."""
    upstream = local_ollama(in_force)
    if upstream is None or upstream.tier.name in in_force.out:
        return []
    try:
        async with asyncio.timeout(_LIST_S):
            asked = await ask_ollama(in_force, "GET", "/api/tags")
    except TimeoutError:
        return []
    models = asked[1].get("models") if asked is not None and asked[0] == 200 else None
    return [model for model in models if isinstance(model, dict)] if isinstance(models, list) else []


async def all_names(in_force: InForce) -> list[ModelName]:
    """``model_names``, and those of the models that were pulled into the local Ollama besides."""
    names = model_names(in_force)
    upstream, seen = local_ollama(in_force), {name.name for name in names}
    for pulled in await pulled_models(in_force):
        model = pulled.get("name")
        if upstream is not None and isinstance(model, str):
            tier = upstream.tier.name
            both = (f"{tier}/{model}", model)
            names += [ModelName(name, tier, model) for name in both if name not in seen]
            seen |= {*both}
    return names


async def ask_ollama(
    in_force: InForce, method: str, path: str, body: bytes | None = None
) -> tuple[int, dict[str, Any]] | None:
    """What the local Ollama answers; None when there is none, it is down, or it answers no object."""
    upstream = local_ollama(in_force)
    if upstream is None:
        return None
    try:
        status, answer = await upstream.ask(method, path, body)
        fields = msgspec.json.decode(answer)
    except (UpstreamFault, msgspec.DecodeError):
        return None
    return (status, fields) if isinstance(fields, dict) else None
