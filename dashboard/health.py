"""Says whether all is well, and if not what an operator should look at; shown on every page."""

from __future__ import annotations

from dashboard.page import Concern, Health
from dashboard.wording import ago, count, number, percent, tier_title, usd
from sidecar.core.rollout_states import Phase
from sidecar.services import Services
from sidecar.storage.rollout_store import RolloutState

#: From which part of a cap on it is worth a word.
NEARLY_FULL = 0.9


async def assess(services: Services, now_ns: int) -> Health:
    """The state of the sidecar as far as it is known without asking the database for sums."""
    return Health(
        concerns=(
            *_configuration(services),
            *_rollout(services),
            *_storage(services),
            *_telemetry(services),
            *_tiers(services),
            *_caps(services, now_ns),
        ),
        percent=services.rollout.current.percent,
        version=services.version,
    )


def _configuration(services: Services) -> list[Concern]:
    concerns = []
    rejected = services.settings.rejected
    if rejected is not None:
        concerns.append(
            Concern(
                "error",
                "The changed configuration is not applied; what was in force stays in force.",
                "/dashboard/policy#rejected",
                rejected.problems[:3],
            )
        )
    concerns += [Concern("warning", warning) for warning in services.in_force.settings.warnings]
    if services.in_force.gate.engine == "none":
        concerns.append(
            Concern(
                "warning",
                "No detector is installed: calls that declare nothing stay on this machine.",
                "/dashboard/policy",
            )
        )
    return concerns


def _rollout(services: Services) -> list[Concern]:
    """A rollout that went back or was stopped by itself; what an operator did he knows, but for the salt."""
    placed_anew = services.placed_anew
    concerns = [Concern("warning", f"{placed_anew}.", "/dashboard/rollout")] if placed_anew else []
    return concerns + _stopped(services.rollout.current)


def _stopped(state: RolloutState) -> list[Concern]:
    if not state.actor.startswith("gate "):
        return []
    if state.phase is Phase.ROLLED_BACK:
        words = f"The rollout went back to {number(state.percent)} % by itself, until somebody resumes it."
        return [Concern("error", words, "/dashboard/rollout", (state.why,))]
    return [Concern("warning", "The rollout is paused.", "/dashboard/rollout", (state.why,))]


def _storage(services: Services) -> list[Concern]:
    concerns = []
    if services.log.failing:
        concerns.append(
            Concern("error", "Decisions cannot be written; they wait in memory.", "", (services.log.failing,))
        )
    if services.log.dropped:
        concerns.append(Concern("warning", f"{count(services.log.dropped)} decisions were lost."))
    if services.ledger.unavailable:
        concerns.append(
            Concern(
                "error",
                "The ledger cannot be written: priced tiers take no calls.",
                "/dashboard/budgets",
                (services.ledger.unavailable,),
            )
        )
    return concerns


def _telemetry(services: Services) -> list[Concern]:
    trouble = services.telemetry_trouble()
    if not trouble:
        return []
    return [Concern("warning", "The collector does not take traces; calls go on unharmed.", "", (trouble,))]


def _tiers(services: Services) -> list[Concern]:
    tiers = services.tiers()
    refused = [
        Concern("error", f"{tier_title(tier.name)}: {tier.key_refused}.", "/dashboard/tiers")
        for tier in tiers
        if tier.key_refused
    ]
    off = [tier for tier in tiers if not tier.on]
    if len(off) == len(tiers):
        return [Concern("error", "No tier can take calls.", "/dashboard/tiers"), *refused]
    return refused + [
        Concern(
            "note" if "api_key" in tier.why else "warning",
            f"{tier_title(tier.name)} is off: {tier.why}.",
            "/dashboard/tiers",
        )
        for tier in off
        if not tier.key_refused or tier.out_of_service
    ]


def _caps(services: Services, now_ns: int) -> list[Concern]:
    """The caps that are nearly or wholly used, and in one sentence those that will be before they reset."""
    concerns, running_out = [], []
    for status in services.ledger.caps():
        cap, limit = status.cap, status.cap.limit_nano_usd
        if limit == 0:
            continue
        share = (status.posted_nano_usd + status.held_nano_usd) / limit
        if share >= NEARLY_FULL:
            words = "is used up" if status.remaining_nano_usd == 0 else f"is {percent(share, 0)} used"
            concerns.append(
                Concern(
                    "warning",
                    f"The cap {cap.name} {words}: {usd(status.posted_nano_usd)} of {usd(limit)}.",
                    "/dashboard/budgets",
                )
            )
        elif status.runs_out_at_ns is not None:
            running_out.append((status.runs_out_at_ns, cap.name))
    if running_out:
        at_ns, name = min(running_out)
        others = f", and {len(running_out) - 1} more before their time" if len(running_out) > 1 else ""
        concerns.append(
            Concern(
                "note",
                f"At its recent rate the cap {name} is used up {ago(at_ns, now_ns)}{others}.",
                "/dashboard/budgets",
            )
        )
    return concerns
