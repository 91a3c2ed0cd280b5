"""The budgets' part of the operators' JSON API: caps, spend, and holds of unknown cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated, Any, get_args

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.di import NamedDependency
from litestar.exceptions import ClientException, NotFoundException
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from sidecar.budget_desk import CapView, HoldView, SpendView, StaleCap
from sidecar.endpoints.admin import ACTOR, require_token
from sidecar.services import Services
from sidecar.storage.budget_ledger import UnknownCap
from sidecar.storage.decision_filter import DecisionFilter
from sidecar.storage.ledger_reports import Dimension

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)


class Budgets(msgspec.Struct, frozen=True):
    """Every cap. ``unavailable`` says why paid tiers are closed just now; empty when they are not."""

    budgets: list[CapView]
    unavailable: str


class CapChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new limit in dollars, exact: a number or a decimal string. A stale ``expected_usd`` is refused."""

    usd: Decimal
    reason: str = ""
    expected_usd: str | None = None


class NewCap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cap on one tier, or on all priced ones (``*``), per day, month or in total."""

    name: str
    tier: str
    period: str
    usd: Decimal
    reason: str = ""


class Holds(msgspec.Struct, frozen=True):
    """Holds whose cost is not known, newest first."""

    holds: list[HoldView]


class SpendReport(msgspec.Struct, frozen=True):
    """What was spent, one line per group."""

    spend: list[SpendView]


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """Turns the desk's refusals into HTTP ones."""
    try:
        yield
    except UnknownCap as unknown:
        raise NotFoundException(f"there is no cap named {str(unknown.args[0])[:80]!r}") from None
    except StaleCap as stale:
        raise ClientException(str(stale), status_code=409) from None
    except ValueError as error:
        raise ClientException(str(error)) from None


class AdminBudgets(Controller):
    """Caps, live; exact spend; holds to reconcile."""

    path = "/admin"
    guards = [require_token]  # noqa: RUF012
    tags = ["budgets"]  # noqa: RUF012

    @get("/budgets", summary="Every cap: limit, posted, held, remaining")
    async def get_budgets(self, services: NamedDependency[Services]) -> Budgets:
        return Budgets(services.budgets.caps(), services.ledger.unavailable)

    @put("/budgets/{name:str}", summary="Change a cap, effective for the next hold")
    async def put_budget(
        self, name: FromPath[str], data: JSONBody[CapChange], services: NamedDependency[Services]
    ) -> CapView:
        async with _told():
            return await services.budgets.set_cap(
                name, data.usd, actor=ACTOR, reason=data.reason, expected_usd=data.expected_usd
            )

    @post("/budgets", summary="Add a cap")
    async def post_budget(self, data: JSONBody[NewCap], services: NamedDependency[Services]) -> CapView:
        async with _told():
            return await services.budgets.add_cap(
                data.name, data.tier, data.period, data.usd, actor=ACTOR, reason=data.reason
            )

    @delete("/budgets/{name:str}", summary="Remove a cap")
    async def delete_budget(self, name: FromPath[str], services: NamedDependency[Services]) -> None:
        async with _told():
            await services.budgets.remove_cap(name, actor=ACTOR)

    @get("/holds", summary="Holds whose cost is not known")
    async def get_holds(self, services: NamedDependency[Services]) -> Holds:
        return Holds(await services.budgets.unreconciled())

    @post("/holds/{hold_id:int}/release", status_code=200, summary="Take back what such a hold posted")
    async def release_hold(
        self, hold_id: FromPath[int], services: NamedDependency[Services]
    ) -> dict[str, Any]:
        if not await services.budgets.release(hold_id, actor=ACTOR):
            raise NotFoundException(f"there is no unreconciled hold {hold_id}")
        return {"id": hold_id, "released": True}

    @get("/spend", summary="Exact spend by tier, model, arm, app or hour")
    async def get_spend(
        self,
        services: NamedDependency[Services],
        by: Annotated[str, QueryParameter(description="dimensions, comma-separated")] = "tier",
        since: FromQuery[str | None] = None,
        until: FromQuery[str | None] = None,
    ) -> SpendReport:
        async with _told():
            dimensions = [_dimension(name) for name in by.split(",") if name]
            window = DecisionFilter.parse({"since": since or "", "until": until or ""})
            return SpendReport(
                await services.budgets.spend(dimensions, window.since_ns or 0, window.until_ns)
            )


def _dimension(name: str) -> Dimension:
    for known in DIMENSIONS:
        if known == name:
            return known
    raise ValueError(f"spend is grouped by {', '.join(DIMENSIONS)}, not by {name[:40]!r}")
