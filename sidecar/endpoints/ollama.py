"""The Ollama dialect's questions about models; its calls come through the data plane."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Controller, Response, get, head, post
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import RawBody
from litestar.types import AfterRequestHookHandler

from sidecar import __version__
from sidecar.core.errors import CallerError
from sidecar.endpoints.guard import same_site_only
from sidecar.endpoints.model_catalog import (
    AUTO,
    ModelName,
    ask_ollama,
    bare_model,
    model_names,
    pulled_models,
)
from sidecar.endpoints.named_answers import with_request_id
from sidecar.in_force import InForce
from sidecar.services import Services
from sidecar.wire.requests import check_model, decode_object

_DETAILS = {"format": "", "family": "", "families": [], "parameter_size": "", "quantization_level": ""}


class OllamaModels(Controller):
    """``/api/tags``, ``/api/ps``, ``/api/show`` and ``/api/version``.

    Answered from the local Ollama, never from one off this machine; names of our own are added.
    """

    path = "/api"
    guards = [same_site_only]  # noqa: RUF012
    after_request: AfterRequestHookHandler | None = with_request_id
    include_in_schema = False

    @head(["/tags", "/version"])
    async def is_there(self) -> None:
        """Ollama answers these without a body, too."""

    @get("/tags")
    async def list_tags(self, services: NamedDependency[Services]) -> dict[str, Any]:
        own = await pulled_models(services.in_force)
        known = {model.get("name") for model in own}
        since = datetime.fromtimestamp(services.source.since_s, UTC).isoformat().replace("+00:00", "Z")
        added = [_tag(name, since) for name in model_names(services.in_force) if name.name not in known]
        return {"models": own + added}

    @get("/ps")
    async def list_running(self, services: NamedDependency[Services]) -> dict[str, Any]:
        asked = await ask_ollama(services.in_force, "GET", "/api/ps")
        return asked[1] if asked is not None and asked[0] == 200 else {"models": []}

    @get("/version")
    async def show_version(self, services: NamedDependency[Services]) -> dict[str, Any]:
        asked = await ask_ollama(services.in_force, "GET", "/api/version")
        return (
            asked[1] if asked is not None and asked[0] == 200 else {"version": f"0.0.0-sidecar.{__version__}"}
        )

    @post("/show", status_code=200)
    async def show_model(
        self, body: RawBody, services: NamedDependency[Services]
    ) -> Response[dict[str, Any]]:
        fields = decode_object(body)
        name = fields.get("model", fields.get("name"))
        if name is None:
            raise CallerError("model is required")
        name = check_model(name)
        in_force = services.in_force
        asked = await ask_ollama(
            in_force,
            "POST",
            "/api/show",
            msgspec.json.encode({**fields, "model": _local_model(in_force, name)}),
        )
        if asked is not None and (asked[0] == 200 or not _is_ours(in_force, name)):
            return Response(asked[1], status_code=asked[0])
        if _is_ours(in_force, name):
            return Response(
                {
                    "modelfile": "",
                    "parameters": "",
                    "template": "",
                    "details": _DETAILS,
                    "model_info": {},
                    "capabilities": ["completion"],
                }
            )
        return Response({"error": f"model '{name[:200]}' not found"}, status_code=404)


@get("/", include_in_schema=False, media_type=MediaType.TEXT)
async def is_running() -> str:
    """What Ollama's own clients look for to see that somebody is there."""
    return "Ollama is running"


@head("/", include_in_schema=False, media_type=MediaType.TEXT)
async def is_running_head() -> None:
    """The same without the words."""


def _local_model(in_force: InForce, name: str) -> str:
    """The local Ollama's name for ``name``; ``auto`` shows its default model."""
    for upstream_name, upstream in in_force.upstreams.items():
        if name == AUTO and not upstream.tier.off_box:
            return in_force.tiers[upstream_name].models["default"]
    return bare_model(in_force, name)


def _is_ours(in_force: InForce, name: str) -> bool:
    return any(known.name == name for known in model_names(in_force))


def _tag(name: ModelName, since: str) -> dict[str, Any]:
    return {
        "name": name.name,
        "model": name.name,
        "modified_at": since,
        "size": 0,
        "digest": "",
        "details": _DETAILS,
    }
