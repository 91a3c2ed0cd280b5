"""The operators' JSON API under ``/admin``, behind the admin token."""

from __future__ import annotations

import hmac
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post, put
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.exceptions import (
    ClientException,
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
)
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from sidecar.core.alerts import Alert
from sidecar.core.vocabulary import DataClassification, to_plain_whole
from sidecar.privacy_desk import ScanView, scan
from sidecar.services import Services
from sidecar.storage.audit_log import AuditEntry
from sidecar.storage.decision_filter import DecisionFilter
from sidecar.storage.decision_summary import DecisionSummary
from sidecar.tier_desk import TierView, UnknownTier

Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="how many at most")]
Cursor = Annotated[str | None, QueryParameter(description="next_cursor of the page before")]
_PAGING = ("cursor", "limit")
#: Who the audit log says it was: whoever holds the admin token.
ACTOR = "admin token"


def require_token(connection: ASGIConnection[Any, Any, Any, State], _: BaseRouteHandler) -> None:
    """Litestar guard: our own ``Host``, and ``Authorization: Bearer`` with the admin token."""
    services: Services = connection.app.state.services
    if not services.host_is_ours(connection.headers.get("host", "")):
        raise PermissionDeniedException("this host name is not allowed; name it in listen.allowed_hosts")
    scheme, _space, token = connection.headers.get("authorization", "").partition(" ")
    given = token.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given, services.admin_token.encode()):
        raise NotAuthorizedException(
            "send the admin token as 'Authorization: Bearer ...'; "
            "it is in the file admin-token in the data directory",
            headers={"WWW-Authenticate": "Bearer"},
        )


class ScanRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text, and what the app would declare of it."""

    text: str
    data_classification: DataClassification | None = None


class Decisions(msgspec.Struct, frozen=True):
    """Decisions, newest first; ``next_cursor`` is null on the last page."""

    decisions: list[DecisionSummary]
    next_cursor: str | None


class Tiers(msgspec.Struct, frozen=True):
    """All tiers, cheapest first."""

    tiers: list[TierView]


class TierChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the tier is to take calls, as far as an operator has a say in it."""

    in_service: bool
    reason: str = ""


class Audit(msgspec.Struct, frozen=True):
    """Changes, newest first; ``next_cursor`` is null on the last page."""

    entries: list[AuditEntry]
    next_cursor: str | None


class Alerts(msgspec.Struct, frozen=True):
    """What operators were told of, on the pages and by the webhook; newest first."""

    alerts: list[Alert]


class Admin(Controller):
    """Decisions, tiers, alerts, audit and status."""

    path = "/admin"
    guards = [require_token]  # noqa: RUF012
    tags = ["admin"]  # noqa: RUF012

    @get("/decisions", summary="Decisions, newest first")
    async def get_decisions(
        self,
        request: Request[Any, Any, State],
        services: NamedDependency[Services],
        cursor: Cursor = None,
        limit: Limit = 50,
        tier: FromQuery[str | None] = None,
        arm: FromQuery[str | None] = None,
        reason: FromQuery[str | None] = None,
        outcome: FromQuery[str | None] = None,
        since: FromQuery[str | None] = None,
        until: FromQuery[str | None] = None,
    ) -> Decisions:
        """The filters named here and the further ones of ``DecisionFilter``: all must hold."""
        query = {key: value for key, value in request.query_params.items() if key not in _PAGING}
        try:
            page = await services.search.page(DecisionFilter.parse(query), cursor, limit)
        except ValueError as error:
            raise ClientException(str(error)) from None
        return Decisions(list(page.decisions), page.next_cursor)

    @get("/decisions/{request_id:str}", summary="One decision with its why-trace")
    async def get_decision(
        self, request_id: FromPath[str], services: NamedDependency[Services]
    ) -> dict[str, Any]:
        record = await services.decision(request_id)
        if record is None:
            raise NotFoundException(f"no decision {request_id[:80]!r}")
        plain: dict[str, Any] = to_plain_whole(record)
        return plain | {
            "arm": record.features.arm,
            "reason": record.decision.reason,
            "trace": plain["decision"]["trace"],
        }

    @get("/tiers", summary="The tiers and why one is off")
    async def get_tiers(self, services: NamedDependency[Services]) -> Tiers:
        return Tiers(services.tiers())

    @put("/tiers/{name:str}", summary="Take a tier out of service, or put it back")
    async def put_tier(
        self, name: FromPath[str], data: JSONBody[TierChange], services: NamedDependency[Services]
    ) -> TierView:
        """Effective for the next call, and over restarts; calls under way go on. No change is none."""
        move = services.tier_desk.put_back if data.in_service else services.tier_desk.take_out
        try:
            await move(name, actor=ACTOR, reason=data.reason)
        except UnknownTier:
            known = ", ".join(services.in_force.tiers)
            raise NotFoundException(f"there is no tier {name[:80]!r}; there are {known}") from None
        return services.tier_desk.one(name)

    @get("/alerts", summary="The newest alerts")
    async def get_alerts(self, services: NamedDependency[Services], limit: Limit = 50) -> Alerts:
        """Of caps, usage that cannot be believed, the rollout, and tiers that refuse their key."""
        return Alerts(await services.ledger.alerts.latest(limit))

    @get("/audit", summary="Every change, newest first")
    async def get_audit(
        self, services: NamedDependency[Services], cursor: Cursor = None, limit: Limit = 50
    ) -> Audit:
        try:
            page = await services.audit.page(cursor, limit)
        except ValueError as error:
            raise ClientException(str(error)) from None
        return Audit(list(page.entries), page.next_cursor)

    @post("/scan", status_code=200, summary="Try the privacy gate on a text; nothing is kept or sent")
    async def post_scan(self, data: JSONBody[ScanRequest], services: NamedDependency[Services]) -> ScanView:
        return scan(services.in_force.gate, data.text, data.data_classification)

    @get("/status", summary="How the sidecar is")
    async def get_status(self, services: NamedDependency[Services]) -> dict[str, Any]:
        return services.status()
