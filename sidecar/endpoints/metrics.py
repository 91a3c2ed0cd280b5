"""The metrics for Prometheus; like the health checks they ask for no token."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from sidecar.endpoints.guard import same_site_only
from sidecar.services import Services


@get(
    "/metrics",
    guards=[same_site_only],
    tags=["health"],
    summary="Prometheus metrics; OpenMetrics with exemplars when asked for",
    media_type="text/plain",
)
async def metrics(request: Request[Any, Any, State], services: NamedDependency[Services]) -> Response[bytes]:
    """No prompt, no session and no key is in them; the models that apps name are, up to a number."""
    content_type, body = services.exposition(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})
