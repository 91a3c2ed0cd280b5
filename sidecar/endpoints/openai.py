"""The OpenAI dialect's model list; its calls come through the data plane."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import AfterRequestHookHandler

from sidecar.core.vocabulary import Dialect
from sidecar.endpoints.guard import same_site_only
from sidecar.endpoints.model_catalog import ModelName, all_names
from sidecar.endpoints.named_answers import with_request_id
from sidecar.services import Services
from sidecar.wire.error_body import error_fields


class OpenAIModels(Controller):
    """``GET /v1/models`` and ``/v1/models/{id}``; an id may hold slashes."""

    path = "/v1/models"
    guards = [same_site_only]  # noqa: RUF012
    after_request: AfterRequestHookHandler | None = with_request_id
    include_in_schema = False

    @get("/")
    async def list_models(self, services: NamedDependency[Services]) -> dict[str, Any]:
        names = await all_names(services.in_force)
        return {"object": "list", "data": [_entry(name, services) for name in names]}

    @get("/{name:path}")
    async def get_model(
        self, name: FromPath[str], services: NamedDependency[Services]
    ) -> Response[dict[str, Any]]:
        wanted = name.removeprefix("/")
        known = {one.name: one for one in await all_names(services.in_force)}
        # Ollama's way: a name without a tag is that of the latest.
        found = known.get(wanted) or known.get(f"{wanted}:latest")
        if found is not None:
            return Response(_entry(found, services) | {"id": wanted})
        message = f"The model '{wanted[:200]}' does not exist or no tier that is on offers it"
        return Response(
            error_fields(Dialect.OPENAI, 404, message, "model_not_found", "model"), status_code=404
        )


def _entry(name: ModelName, services: Services) -> dict[str, Any]:
    return {
        "id": name.name,
        "object": "model",
        "created": services.source.since_s,
        "owned_by": name.tier or "sidecar",
    }
