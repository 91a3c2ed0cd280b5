"""What operators see and do, whichever surface they use: the admin API and the pages act through this."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from sidecar import __version__, admin_token
from sidecar.budget_desk import BudgetDesk
from sidecar.connections import Connections, connection_limit
from sidecar.core.periods import Calendar, PeriodKind
from sidecar.core.policy import decide
from sidecar.core.same_site import host_is_ours
from sidecar.core.trace_context import TraceContext
from sidecar.core.vocabulary import (
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    Arm,
    Decision,
    DecisionRecord,
    Features,
    to_plain,
)
from sidecar.course import Course, Inbound
from sidecar.in_flight import InFlight
from sidecar.in_force import InForce, InForceSource
from sidecar.loop_lag import LoopLag
from sidecar.rating_intake import RatingIntake
from sidecar.rollout_desk import RolloutDesk
from sidecar.rollout_view import RolloutView, view_of
from sidecar.settings.differences import differences
from sidecar.settings.schema import Settings
from sidecar.settings.watch import ReloadRefusal, SettingsSource
from sidecar.shadow import Shadows
from sidecar.shadow_purse import DayPurse
from sidecar.storage.arm_comparison import ArmComparison
from sidecar.storage.audit_log import AuditLog
from sidecar.storage.budget_ledger import BudgetLedger
from sidecar.storage.database import StorageError
from sidecar.storage.decision_log import DecisionLog
from sidecar.storage.decision_search import DecisionSearch
from sidecar.storage.feedback import Feedback
from sidecar.storage.reports import Reports
from sidecar.storage.rollout_store import RolloutState, RolloutStore
from sidecar.storage.shadow_log import ShadowLog
from sidecar.storage.tier_service import TierService
from sidecar.tier_desk import TierDesk, TierView
from sidecar.traffic import Traffic, traffic_of

log = logging.getLogger(__name__)

#: Who changes things by editing the configuration file, as the audit log has it.
_FILE: Final = "configuration file"


class Trial(msgspec.Struct, frozen=True):
    """What would become of a call: all that the decision looked at, and the decision."""

    features: Features
    decision: Decision


class WorkerView(msgspec.Struct, frozen=True):
    """One worker process. ``state`` is starting, ready, draining or gone; ``restarts`` counts its deaths."""

    number: int
    pid: int
    state: str
    restarts: int
    calls: int = 0
    connections: int = 0
    lag_ms: float = 0.0
    worst_lag_ms: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0


class Services:
    """Everything the operators' surfaces act through; each change is written to the audit log."""

    def __init__(
        self,
        *,
        settings: SettingsSource,
        rollout: RolloutStore,
        ledger: BudgetLedger,
        log: DecisionLog,
        search: DecisionSearch,
        audit: AuditLog,
        reports: Reports,
        comparison: ArmComparison,
        shadow_log: ShadowLog,
        feedback: Feedback,
        tier_service: TierService,
        admin_token: str,
        loop_lag: LoopLag,
        viewer_token: str,
        clock_ns: Callable[[], int],
        clock_s: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.rollout = rollout
        self.ledger = ledger
        self.log = log
        self.search = search
        self.audit = audit
        self.reports = reports
        self.comparison = comparison
        self.feedback = feedback
        self.ratings = RatingIntake(self.rate)
        self.admin_token = admin_token
        #: Empty when there are no viewers.
        self.viewer_token = viewer_token
        self.loop_lag = loop_lag
        self._clock_ns = clock_ns
        self.budgets = BudgetDesk(ledger, lambda: tuple(self.in_force.tiers), self._changed)
        self.tier_desk = TierDesk(tier_service, lambda: self.in_force, ledger, self._changed)
        self.in_flight = InFlight(lambda: self.in_force.settings.limits.max_in_flight)
        self.rollout_desk = RolloutDesk(
            rollout,
            lambda: settings.current.rollout,
            lambda: (ledger.posted(PeriodKind.DAY), ledger.posted(PeriodKind.MONTH)),
            self._changed,
            clock_ns=clock_ns,
            clock_s=clock_s,
        )
        self.connections = Connections(connection_limit())
        budgets = settings.current.budgets
        self.shadow_log = shadow_log
        self.shadow_purse = DayPurse(
            shadow_log, Calendar(ZoneInfo(budgets.timezone), budgets.reset_day), time.time_ns
        )
        self.shadows = Shadows(
            ledger,
            shadow_log,
            self.shadow_purse,
            ending=lambda: self.in_flight.ending,
            clock_ns=time.time_ns,
            clock_s=time.perf_counter,
        )
        #: Set by the composition root, which builds what is in force on top of these services.
        self.source: InForceSource
        #: Decides on a call without sending it; set by the composition root as well.
        self.consider: Callable[[Inbound], Course]
        #: The metrics for a scraper that accepts a content type: theirs, and the text; set there too.
        self.exposition: Callable[[str], tuple[str, bytes]]
        #: Why the collector of traces and metrics does not take them; empty while it does; set there too.
        self.telemetry_trouble: Callable[[], str]
        self.draining = False
        #: Writes the records of all calls that have ended by now.
        self.flush: Callable[[], Awaitable[None]] = log.flush
        #: What comes in, whether somebody takes it, and through whom; replaced where workers do.
        self.traffic: Callable[[], Traffic] = lambda: traffic_of(
            self.in_flight, self.connections, self.shadows.skipped
        )
        self.takes_calls: Callable[[], bool] = lambda: True
        self.workers: Callable[[], list[WorkerView]] = list
        #: Counts the changes made through here.
        self.changes = 0

    @property
    def in_force(self) -> InForce:
        return self.source.current

    @property
    def version(self) -> str:
        return __version__

    @property
    def token_file(self) -> str:
        """Where the admin token lies."""
        return str(Path(self.in_force.settings.data_dir) / admin_token.FILE_NAME)

    def max_body_bytes(self) -> int:
        """How big a request may be."""
        return self.in_force.settings.limits.max_body_mb * 2**20

    def host_is_ours(self, host: str) -> bool:
        """Whether a browser may reach the operators' surfaces under this ``Host``."""
        return host_is_ours(host, self.in_force.settings.listen.allowed_hosts)

    async def decision(self, request_id: str) -> DecisionRecord | None:
        """The record of a call that has ended, be it just now, or None. Raises ``StorageError``."""
        record = await self.search.get(request_id)
        if record is None:
            await self.flush()
            record = await self.search.get(request_id)
        return record

    async def set_percent(
        self, percent: float | str | Decimal, *, actor: str, reason: str, expected_version: int | None = None
    ) -> RolloutState:
        """Move the rollout. Raises ``ValueError``, ``StaleRollout`` or ``StorageError``."""
        return await self.rollout_desk.set_percent(
            percent, actor=actor, reason=reason, expected_version=expected_version
        )

    async def rollout_view(self, history: int = 20) -> RolloutView:
        """Where the rollout stands, with its latest changes. Raises ``StorageError``."""
        changes = await self.rollout.history(history)
        return view_of(self.rollout_desk.standing(), changes, self._clock_ns())

    async def rate(self, request_id: str, score: float, comment: str = "") -> bool:
        """Rate a call; False when there is no such call. Raises ``ValueError``, ``StorageError``."""
        rated = await self.feedback.rate(request_id, score, comment)
        if rated is not None and rated.first:
            self.rollout_desk.rated(rated.arm, rated.started_ns, score)
        return rated is not None

    def try_call(
        self, prompt: str, model: str, hints: Mapping[str, str], *, embedding: bool = False
    ) -> Trial:
        """What would become of a call in the routed arm. Nothing is held, sent or recorded.

        ``hints`` are by the names of the ``x-sidecar-`` headers, without that. Raises ``CallerError``.
        """
        door = OPENAI_EMBEDDINGS if embedding else OPENAI_CHAT
        content: dict[str, Any] = (
            {"input": prompt} if embedding else {"messages": [{"role": "user", "content": prompt}]}
        )
        course = self.consider(
            Inbound(
                request_id="trial",
                door=door,
                headers={f"x-sidecar-{name}": value for name, value in hints.items() if value},
                body=msgspec.json.encode({"model": model or "auto", **content}),
                started_ns=self._clock_ns(),
                started_s=0.0,
                trace=TraceContext("0" * 32),
            )
        )
        features = msgspec.structs.replace(course.features, arm=Arm.ROUTED)
        states = self.tier_desk.seen(course.states)
        return Trial(features, decide(features, self.in_force.policy, states))

    async def _changed(
        self, actor: str, action: str, subject: str, old: object, new: object, reason: str
    ) -> None:
        """Write one change to the audit log."""
        self.changes += 1
        await self.audit.record(actor, action, subject, old, new, reason, self._clock_ns())

    async def tell_of_settings(self, old: Settings, new: Settings) -> None:
        """A changed configuration file was applied. Never raises: it is in force, audited or not."""
        changed, file = differences(old, new), str(self.settings.path)
        before, after = ({key: values[side] for key, values in changed.items()} for side in (0, 1))
        with _missing_in_the_audit_log("settings.applied"):
            if changed:
                await self._changed(_FILE, "settings.applied", "settings", before, after, file)

    async def tell_of_refusal(self, refusal: ReloadRefusal) -> None:
        """A changed configuration file was refused. Never raises."""
        problems, file = {"problems": list(refusal.problems)}, str(self.settings.path)
        with _missing_in_the_audit_log("settings.rejected"):
            await self._changed(_FILE, "settings.rejected", "settings", None, problems, file)

    @property
    def placed_anew(self) -> str:
        """That this start took another salt than the one before, in words; empty if it did not."""
        before, now = self.rollout.placed_before, self.rollout.current
        if before is None:
            return ""
        return (
            "rollout.salt is another one than before this start, so that sessions are placed anew: at "
            f"{before.percent:g} % many have changed arms. Replicas agree where their salt is {now.salt_name}"
        )

    async def tell_of_salt(self) -> None:
        """Write down that sessions were placed anew, if they were. Raises ``StorageError``."""
        before, now = self.rollout.placed_before, self.rollout.current
        if before is not None:
            log.warning("%s; it was %s", self.placed_anew, before.salt_name)
            why = f"{self.settings.path}: sessions are placed anew"
            await self._changed(_FILE, "rollout.salt", "salt", before.salt_name, now.salt_name, why)

    def tiers(self) -> list[TierView]:
        """All tiers in the order of the configuration, with why one is off."""
        return self.tier_desk.all()

    def status(self) -> dict[str, Any]:
        """How the sidecar is: version, settings in force and refused, detector, log, rollout."""
        in_force, rejected, log = self.in_force, self.settings.rejected, self.log
        traffic = self.traffic()
        return {
            "version": __version__,
            "started_at_s": self.source.since_s,
            "settings": {
                "file": str(self.settings.path),
                "policy_id": in_force.policy_id,
                "warnings": list(in_force.settings.warnings),
                "rejected": None
                if rejected is None
                else {"at_ns": rejected.when_ns, "problems": list(rejected.problems)},
            },
            "privacy": {"mode": in_force.settings.privacy.mode, "engine": in_force.gate.engine},
            "decision_log": {"queued": log.queued, "dropped": log.dropped, "failing": log.failing},
            "calls": {
                "under_way": traffic.calls,
                "limit": in_force.settings.limits.max_in_flight,
                "turned_away": traffic.calls_turned_away,
            },
            "connections": {
                "open": traffic.connections,
                "limit": traffic.connections_max,
                "turned_away": traffic.connections_turned_away,
                "hung_up": traffic.connections_hung_up,
            },
            "event_loop": {
                "lag_ms": self.loop_lag.last_ms,
                "worst_lag_ms": self.loop_lag.worst_ms,
                "tasks": len(asyncio.all_tasks()),
            },
            "telemetry": {"failing": self.telemetry_trouble()},
            "rollout": {
                "percent": self.rollout.current.percent,
                "salt": self.rollout.current.salt_name,
                "warning": self.placed_anew,
            },
            "workers": to_plain(self.workers()),
            "tiers": {tier.name: tier.why or "on" for tier in self.tiers()},
        }


@contextlib.contextmanager
def _missing_in_the_audit_log(action: str) -> Iterator[None]:
    """What is done goes on, and the log says so, where it cannot be written down."""
    try:
        yield
    except StorageError as error:
        log.error("%s is missing in the audit log: %s", action, error)
