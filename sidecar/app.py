"""The composition root: joins the parts into a running sidecar; the only module that sees them all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from litestar import Litestar, asgi
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ControllerRouterHandler

from dashboard.router import Dashboard
from sidecar import __version__, admin_token
from sidecar.budget_webhook import BudgetWebhook
from sidecar.core.errors import SidecarError
from sidecar.core.said import Hear
from sidecar.core.steady_clock import SteadyClock
from sidecar.core.vocabulary import DecisionRecord
from sidecar.endpoints.admin import Admin
from sidecar.endpoints.admin_budgets import AdminBudgets
from sidecar.endpoints.admin_rollout import AdminRollout
from sidecar.endpoints.data_plane import DataPlane, doors_of
from sidecar.endpoints.errors import http_error, sidecar_error, storage_error, unexpected_error
from sidecar.endpoints.feedback import rate
from sidecar.endpoints.health import HANDLERS
from sidecar.endpoints.metrics import metrics
from sidecar.endpoints.ollama import OllamaModels, is_running, is_running_head
from sidecar.endpoints.openai import OpenAIModels
from sidecar.exchange import Exchange
from sidecar.in_force import InForce
from sidecar.loop_lag import LoopLag
from sidecar.observed import observed
from sidecar.put_in_force import caps_of, put_in_force, sampling_of
from sidecar.rollout_news import RolloutNews
from sidecar.services import Services
from sidecar.settings import Settings, SettingsSource
from sidecar.storage.arm_comparison import ArmComparison
from sidecar.storage.audit_log import AuditLog
from sidecar.storage.budget_ledger import BudgetLedger
from sidecar.storage.database import Database, StorageError
from sidecar.storage.decision_log import DecisionLog
from sidecar.storage.decision_search import DecisionSearch
from sidecar.storage.feedback import Feedback
from sidecar.storage.reports import Reports
from sidecar.storage.retention import Retention, RetentionLimits
from sidecar.storage.rollout_store import RolloutStore
from sidecar.storage.shadow_log import ShadowLog
from sidecar.storage.tier_service import TierService
from sidecar.telemetry.pipeline import Telemetry
from sidecar.upstream_care import UpstreamCare

log = logging.getLogger(__name__)


class Sidecar:
    """A running sidecar without its socket: open it, build an app on it, close it."""

    def __init__(
        self,
        services: Services,
        database: Database,
        in_force: InForce,
        webhook: BudgetWebhook | None,
        telemetry: Telemetry,
    ) -> None:
        self.services = services
        self.telemetry = telemetry
        self.current = in_force
        self.since_s = int(time.time())
        self._database = database
        self._webhook = webhook
        limits = in_force.settings.retention
        self._retention = Retention(database, time.time_ns, RetentionLimits(limits.days, limits.max_mb))
        self._tasks: list[asyncio.Task[None]] = []
        self._care = UpstreamCare(lambda: self.current)

    @classmethod
    async def open(
        cls,
        settings: SettingsSource,
        environ: Mapping[str, str] = os.environ,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        clock_s: Callable[[], float] = time.monotonic,
        calls: bool = True,
    ) -> Sidecar:
        """Open what is durable, take up what is configured; ``environ`` is for OpenTelemetry's variables.

        The clocks are those of the rollout's schedule: Unix nanoseconds, and seconds that nobody sets.
        Without ``calls`` others take them.
        Raises ``StorageError``, ``PermissionError``, ``TelemetryRefused``.
        """
        data_dir = Path(settings.current.data_dir)
        database = await Database.open(data_dir)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(database.close)
            token = admin_token.load_or_create(data_dir)
            rollout = await _open_rollout(database, settings.current)
            budgets = settings.current.budgets
            ledger = await BudgetLedger.open(
                data_dir / "ledger.sqlite",
                caps_of(settings.current),
                budgets.timezone,
                budgets.reset_day,
                SteadyClock(time.time_ns, time.monotonic_ns),
                alerts_at=budgets.alerts_at,
            )
            undo.push_async_callback(ledger.close)
            webhook = None
            if budgets.webhook:
                webhook = BudgetWebhook(ledger.alerts, budgets.webhook, budgets.webhook_secret, time.time_ns)
                webhook.start()
                undo.push_async_callback(webhook.aclose)
            decision_log = await DecisionLog.open(database, time.time_ns)
            tier_service = await TierService.open(database, time.time_ns)
            in_force = put_in_force(settings.current, None, tier_service.out)
            await decision_log.remember_policy(in_force.policy_id, in_force.policy)
            services = Services(
                settings=settings,
                rollout=rollout,
                ledger=ledger,
                log=decision_log,
                search=DecisionSearch(database),
                audit=AuditLog(database),
                reports=Reports(database, time.time_ns),
                comparison=ArmComparison(database, time.time_ns),
                shadow_log=ShadowLog(database, time.time_ns),
                feedback=Feedback(database, time.time_ns, decision_log.flush),
                tier_service=tier_service,
                admin_token=token,
                loop_lag=LoopLag(time.perf_counter),
                viewer_token=admin_token.load(data_dir, admin_token.VIEWER_FILE_NAME),
                clock_ns=clock_ns,
                clock_s=clock_s,
            )
            telemetry = Telemetry.open(
                settings.current.telemetry.otlp_endpoint,
                environ,
                tiers=lambda: services.in_force.tiers,
                observe=lambda: observed(services),
                sampling=lambda: sampling_of(services.in_force.settings),
            )
            services.rollout_desk.tell = RolloutNews(ledger.raise_alert, telemetry.tell_of_rollout).tell
            services.shadows.trace = telemetry.tell_of_shadow
            await services.tell_of_salt()
            await services.rollout_desk.restore()
            services.exposition = telemetry.exposition
            services.telemetry_trouble = telemetry.trouble
            services.loop_lag.tell = telemetry.metrics.lag.observe
            ledger.tell_commits(telemetry.metrics.commits.observe)
            sidecar = cls(services, database, in_force, webhook, telemetry)
            services.source = sidecar
            undo.pop_all()
        sidecar._begin(calls=calls)
        return sidecar

    def _begin(self, *, calls: bool) -> None:
        """Start the background work."""
        self.services.settings.subscribe(self._take_up)
        self.services.settings.subscribe(self.services.tell_of_settings)
        self.services.settings.subscribe_to_refusals(self.services.tell_of_refusal)
        self._tasks = [
            asyncio.create_task(self.services.loop_lag.measure(), name="loop-lag"),
            asyncio.create_task(self.services.settings.watch(), name="settings-watch"),
            asyncio.create_task(self.services.rollout_desk.run_forever(), name="rollout"),
            asyncio.create_task(self.services.ratings.run_forever(), name="ratings"),
            asyncio.create_task(self._retention.run_forever(), name="retention"),
        ]
        self._care.begin(calls=calls)

    def record(self, record: DecisionRecord, hear: Hear | None = None, body: bytes | None = None) -> None:
        """Hand on the record of a call that has ended. Never blocks, never raises.

        What was said goes into spans, if at all, and is never stored. ``body`` as of ``DecisionLog.record``.
        """
        self.services.log.record(record, body)
        self.services.rollout_desk.count(record)
        self.telemetry.emit(record, hear)

    async def _take_up(self, old: Settings, new: Settings) -> None:
        """Swap what is in force; calls under way keep theirs. When it raises, nothing has changed."""
        before = self.current
        # In a thread: compiling the privacy patterns anew takes a while, and calls are under way.
        after = await asyncio.to_thread(put_in_force, new, before, before.out)
        # Before all that may wait: a cap that is lowered counts at once.
        self.services.ledger.follow(caps_of(new))
        try:
            await self.services.log.remember_policy(after.policy_id, after.policy)
        except StorageError as error:
            log.error("decisions under policy %s cannot be replayed: %s", after.policy_id, error)
        self.current = after
        self._retention.limits = RetentionLimits(new.retention.days, new.retention.max_mb)
        self._care.replaced(before, after)

    async def close(self, left_s: Callable[[], float] | None = None) -> None:
        """Stop the background work, then write what is still to be written, for ``left_s`` at most."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.services.shadows.close()
        await self._care.close()
        if self._webhook is not None:
            await self._webhook.aclose()
        await self.services.rollout_desk.close()
        await self.services.log.close()
        await self.telemetry.close(left_s() if left_s is not None else None)
        await self.services.ledger.close()
        await self._database.close()


async def _open_rollout(database: Database, settings: Settings) -> RolloutStore:
    return await RolloutStore.open(
        database,
        time.time_ns,
        initial_percent=settings.rollout.percent,
        entropy=os.urandom,
        last_stage=settings.rollout.stages[-1],
        salt=settings.rollout.salt,
    )


def build_app(sidecar: Sidecar, *, doors: bool = True) -> Litestar:
    """The whole HTTP surface over an open sidecar; without the ``doors`` others take the calls."""
    services = sidecar.services
    exchange = Exchange(
        lambda: sidecar.current,
        services.rollout,
        services.ledger,
        sidecar.record,
        lambda: services.in_flight.ending,
        time.perf_counter,
    )
    services.consider = services.shadows.consider = exchange.consider
    exchange.after = services.shadows.offer
    data_plane = DataPlane(
        exchange,
        services.in_flight,
        max_body_bytes=services.max_body_bytes,
        allowed_hosts=lambda: sidecar.current.settings.listen.allowed_hosts,
        begin_trace=sidecar.telemetry.begin_trace,
        refused=sidecar.telemetry.refused,
        rate=services.ratings.offer,
        clock_ns=time.time_ns,
        clock_s=time.perf_counter,
    )
    handlers = doors_of(data_plane) if doors else {}
    calls: list[ControllerRouterHandler] = [
        asgi(path, copy_scope=False)(handler) for path, handler in handlers.items()
    ]
    dashboard = Dashboard(services)
    return Litestar(
        route_handlers=[
            *calls,
            OpenAIModels,
            OllamaModels,
            is_running,
            is_running_head,
            Admin,
            AdminBudgets,
            AdminRollout,
            rate,
            *HANDLERS,
            metrics,
            dashboard.router(),
        ],
        dependencies={"services": Provide(lambda: services, sync_to_thread=False)},
        exception_handlers={
            HTTPException: http_error,
            SidecarError: sidecar_error,
            StorageError: storage_error,
            Exception: unexpected_error,
        },
        state=State({"services": services, "dashboard": dashboard, "doors": handlers}),
        logging_config=None,
        request_max_body_size=None,
        openapi_config=OpenAPIConfig(
            title="Aegis Sidecar",
            version=__version__,
            path="/admin/schema",
            render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
            security=[{"token": []}],
        ),
    )
