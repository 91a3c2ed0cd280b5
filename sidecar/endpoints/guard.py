"""Keeps web pages of other sites away from what the app asks outside the data plane."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from sidecar.core.same_site import refuse_cross_site
from sidecar.services import Services


def same_site_only(connection: ASGIConnection[Any, Any, Any, State], _: BaseRouteHandler) -> None:
    """Litestar guard that raises ``CrossSiteRequest`` as the data plane does."""
    services: Services = connection.app.state.services
    refuse_cross_site(connection.headers, services.in_force.settings.listen.allowed_hosts)
