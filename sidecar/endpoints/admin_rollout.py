"""The rollout over the admin API: where it stands and why, and the levers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated

import msgspec
from litestar import Controller, get, post, put
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from litestar.params import JSONBody, QueryParameter

from sidecar.core.rollout_states import NoSuchMove
from sidecar.endpoints.admin import ACTOR, require_token
from sidecar.rollout_view import RolloutView
from sidecar.services import Services
from sidecar.storage.arm_comparison import Comparison
from sidecar.storage.reports import Window
from sidecar.storage.rollout_store import RolloutState, StaleRollout
from sidecar.storage.shadow_log import ShadowSummary


class RolloutChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new percentage, 0 to 100 with at most two decimals.

    ``version`` (or ``expected_version``) is the one that the caller has seen; a stale one is refused.
    """

    percent: float
    reason: str = ""
    version: int | None = None
    expected_version: int | None = None


class RolloutMove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why, for the history, and the version that the caller has seen; both may be left out."""

    reason: str = ""
    version: int | None = None


class Arms(msgspec.Struct, frozen=True):
    """Both arms side by side; ``task_type`` is empty for all calls together."""

    window: Window
    comparisons: list[Comparison]


class Shadow(msgspec.Struct, frozen=True):
    """``share`` of the legacy calls are followed; those ``skipped`` since the start found no room or tier."""

    window: Window
    share: float
    skipped: int
    summary: ShadowSummary


_NO_WORDS = RolloutMove()


class AdminRollout(Controller):
    """The rollout. A move that the state does not allow, and a stale version, are answered with 409."""

    path = "/admin/rollout"
    guards = [require_token]  # noqa: RUF012
    tags = ["admin"]  # noqa: RUF012

    @get("/", summary="The rollout now: state, gates with their evidence, schedule, history")
    async def get_rollout(self, services: NamedDependency[Services]) -> RolloutView:
        return await services.rollout_view()

    @get("/arms", summary="Both arms over a window, with intervals and verdicts")
    async def get_arms(
        self,
        services: NamedDependency[Services],
        window: Annotated[Window, QueryParameter(description="1h, 24h, 7d or 30d")] = Window.DAY,
    ) -> Arms:
        """All calls first, then by task type. A figure's ``standing`` is the routed arm's."""
        return Arms(window, list(await services.comparison.over(window)))

    @get("/shadow", summary="Shadow calls against the legacy calls that they followed")
    async def get_shadow(
        self,
        services: NamedDependency[Services],
        window: Annotated[Window, QueryParameter(description="1h, 24h, 7d or 30d")] = Window.DAY,
    ) -> Shadow:
        """They count in no arm; the app has never seen them."""
        settings = services.in_force.settings.rollout.shadow
        summary = await services.shadow_log.summary(window)
        return Shadow(window, settings.share, services.traffic().shadows_skipped, summary)

    @put("/", summary="Move the rollout; allowed in every state")
    async def put_rollout(
        self, data: JSONBody[RolloutChange], services: NamedDependency[Services]
    ) -> RolloutView:
        version = data.expected_version if data.version is None else data.version
        return await _moved(
            services,
            services.set_percent(data.percent, actor=ACTOR, reason=data.reason, expected_version=version),
        )

    @post("/rollback", status_code=200, summary="Go back a stage, and stay there until somebody resumes")
    async def roll_back(
        self, services: NamedDependency[Services], data: JSONBody[RolloutMove | None] = None
    ) -> RolloutView:
        move = data or _NO_WORDS
        return await _moved(
            services,
            services.rollout_desk.roll_back(actor=ACTOR, reason=move.reason, expected_version=move.version),
        )

    @post("/pause", status_code=200, summary="Stop the schedule; the gates go on watching")
    async def pause(
        self, services: NamedDependency[Services], data: JSONBody[RolloutMove | None] = None
    ) -> RolloutView:
        move = data or _NO_WORDS
        return await _moved(
            services,
            services.rollout_desk.pause(actor=ACTOR, reason=move.reason, expected_version=move.version),
        )

    @post("/resume", status_code=200, summary="Let a paused or rolled back rollout go on")
    async def resume(
        self, services: NamedDependency[Services], data: JSONBody[RolloutMove | None] = None
    ) -> RolloutView:
        """The evidence so far is not held against it any more; the gates begin anew."""
        move = data or _NO_WORDS
        return await _moved(
            services,
            services.rollout_desk.resume(actor=ACTOR, reason=move.reason, expected_version=move.version),
        )


async def _moved(services: Services, move: Awaitable[RolloutState]) -> RolloutView:
    """Make the move, and show where the rollout stands then."""
    try:
        await move
    except ValueError as error:
        raise ClientException(str(error)) from None
    except (StaleRollout, NoSuchMove) as refused:
        raise ClientException(str(refused), status_code=409) from None
    return await services.rollout_view()
