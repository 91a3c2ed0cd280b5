"""What the configuration may say: the keys of ``sidecar.yaml`` as frozen Structs, with their defaults.

Types and ranges stand here; what concerns more than one key is in ``checks``. A
``msgspec.Meta`` may carry the marks that ``decode`` explains.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import inspect as types

from sidecar.core.hints import Match
from sidecar.core.policy import Policy, Rule, TierPolicy
from sidecar.core.tiers import Secret, TierSpec
from sidecar.core.vocabulary import to_plain
from sidecar.settings.rollout_schema import Dollars, RolloutSettings

_Share = Annotated[float, msgspec.Meta(gt=0, le=1)]


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the sidecar listens. Port 0 takes any free one. ``allowed_hosts`` are Host names besides
    loopback under which browsers may reach it."""

    host: Annotated[str, msgspec.Meta(pattern=r"^\S+$", description="a host name or address")] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 4000
    allowed_hosts: tuple[str, ...] = ()


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How big a call may be (2**20 bytes), how many may be under way at once, and how long a client may take
    to send one, in seconds."""

    max_body_mb: Annotated[int, msgspec.Meta(ge=1)] = 32
    max_in_flight: Annotated[int, msgspec.Meta(ge=1)] = 1024
    request_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0


class RetentionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long decision records stay, and how big (2**20 bytes) they may grow together."""

    days: Annotated[int, msgspec.Meta(ge=1)] = 30
    max_mb: Annotated[int, msgspec.Meta(ge=16)] = 2048


class PatternSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One more pattern that is sensitive here. ``kind`` is what a verdict calls it; empty: its name."""

    name: str
    regex: str
    kind: str = ""


class PrivacySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the privacy gate looks for, and what may leave. ``allow`` are texts that are never findings."""

    mode: Literal["strict", "balanced"] = "strict"
    detect: tuple[Literal["pii", "health", "secrets"], ...] = ("pii", "health", "secrets")
    max_scan_ms: Annotated[float, msgspec.Meta(gt=0)] = 50.0
    patterns: tuple[PatternSettings, ...] = ()
    allow: tuple[str, ...] = ()


class RoutingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tier answers. Once loaded, ``default`` is never empty and ``fallback`` never None."""

    rules: tuple[Rule, ...] = ()
    default: str = ""
    fallback: tuple[str, ...] | None = None
    matches: tuple[Match, ...] = ()
    escalate_when_local_down: bool = False


class CapSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hard limit on what may be spent in a period. Tier ``*`` is all priced tiers together."""

    name: str
    tier: str
    period: Literal["day", "month", "total"]
    usd: Dollars


class BudgetSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The caps as they start, when their periods begin, and who is told as they fill."""

    timezone: str = "UTC"
    reset_day: Annotated[int, msgspec.Meta(ge=1, le=31)] = 1
    alerts_at: tuple[_Share, ...] = (0.8, 0.9, 1.0)
    webhook: Secret = ""
    webhook_secret: Secret = ""
    caps: tuple[CapSettings, ...] = ()


class TelemetrySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where traces go, which calls are traced, and whether prompts ride in them.

    ``sample`` is the share of traces that begin here and are kept; calls that failed, fell back, took longer
    than ``slow_ms`` or than the rollout's gate allows are kept besides.
    """

    otlp_endpoint: Annotated[str, msgspec.Meta(extra={"left_out": "${OTEL_EXPORTER_OTLP_ENDPOINT:-}"})] = ""
    jaeger_ui: Annotated[str, msgspec.Meta(extra={"left_out": "${JAEGER_UI:-http://127.0.0.1:16686}"})] = (
        "http://127.0.0.1:16686"
    )
    sample: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    slow_ms: Annotated[float, msgspec.Meta(gt=0)] = 5000.0
    content: Literal["none", "clean_only"] = "none"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration, checked and complete.

    ``tiers`` are in the order of the file, cheapest first. ``data_dir`` is absolute once loaded.
    ``warnings`` are what is allowed but deserves a look, in words.
    """

    tiers: dict[str, TierSpec]
    listen: Listen = Listen()
    data_dir: Annotated[
        str,
        msgspec.Meta(
            pattern=r"\S.*", description="a directory", extra={"left_out": "${SIDECAR_DATA_DIR:-./var}"}
        ),
    ] = "./var"
    drain_s: Annotated[float, msgspec.Meta(ge=0)] = 20.0
    keep_alive_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    privacy: PrivacySettings = PrivacySettings()
    routing: RoutingSettings = RoutingSettings()
    budgets: BudgetSettings = BudgetSettings()
    rollout: RolloutSettings = RolloutSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    warnings: Annotated[tuple[str, ...], msgspec.Meta(extra={"filled_in": True})] = ()

    def policy(self) -> Policy:
        """What the routing decision needs of all this."""
        tiers = (
            TierPolicy(name=name, off_box=spec.off_box, priced=spec.price is not None, models=spec.models)
            for name, spec in self.tiers.items()
        )
        return Policy(
            tiers=tuple(tiers),
            default=self.routing.default,
            fallback=self.routing.fallback or (),
            legacy_tier=self.rollout.legacy.tier,
            rules=self.routing.rules,
            escalate_when_local_down=self.routing.escalate_when_local_down,
        )

    def redacted(self) -> dict[str, Any]:
        """Everything as plain data, for people to see; of a secret only whether there is one."""
        plain: dict[str, Any] = _without_secrets(self)
        return plain


def policy_id(policy: Policy) -> str:
    """A short name for exactly this policy: 12 hex digits of the SHA-256 of its canonical JSON."""
    canonical = msgspec.json.encode(policy, order="deterministic")
    return hashlib.sha256(canonical).hexdigest()[:12]


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    if not isinstance(value, msgspec.Struct):
        return to_plain(value)
    kinds = types.type_info(type(value))
    assert isinstance(kinds, types.StructType)
    plain = {}
    for field in kinds.fields:
        item = getattr(value, field.name)
        secret = isinstance(field.type, types.Metadata) and (field.type.extra or {}).get("secret")
        plain[field.name] = ("(hidden)" if item else "") if secret else _without_secrets(item)
    return plain
