"""Liveness and readiness, for whoever starts and stops the sidecar."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, head
from litestar.di import NamedDependency

from sidecar.services import Services


@get("/health/live", tags=["health"], summary="The process answers")
async def live() -> dict[str, str]:
    return {"status": "live"}


@get("/health/ready", tags=["health"], summary="Calls are taken")
async def ready(services: NamedDependency[Services]) -> Response[dict[str, Any]]:
    """503 while draining. A tier that is down does not make the sidecar unready: others may answer."""
    if services.draining:
        return Response({"status": "draining"}, status_code=503)
    if not services.takes_calls():
        return Response({"status": "no worker is ready"}, status_code=503)
    return Response({"status": "ready"})


@head("/health/live", include_in_schema=False)
async def live_head() -> None:
    """The same without the words."""


@head("/health/ready", include_in_schema=False)
async def ready_head(services: NamedDependency[Services]) -> Response[None]:
    """The same without the words."""
    return Response(None, status_code=503 if services.draining or not services.takes_calls() else 200)


HANDLERS = (live, live_head, ready, ready_head)
