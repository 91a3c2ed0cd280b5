"""Tells people in plain words what a configuration means, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from sidecar.core.conditions import describe_condition
from sidecar.core.durations import in_words
from sidecar.core.policy import Rule
from sidecar.core.schedule import Schedule
from sidecar.core.tiers import PriceSpec, TierSpec
from sidecar.settings.load import config_path, load_settings
from sidecar.settings.problems import SettingsError
from sidecar.settings.rollout_schema import GateSettings
from sidecar.settings.schema import Settings


def run_check(path: Path | None, environ: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> int:
    """What ``sidecar check [FILE]`` does. The exit code: 0 when the file is valid, 2 when it is refused."""
    try:
        settings = load_settings(path, environ)
    except SettingsError as error:
        stderr.write(f"{error}\n")
        return 2
    stdout.write(f"{config_path(path)} is valid.\n\n{describe(settings)}")
    return 0


def describe(settings: Settings) -> str:
    """The settings for a person to read: what is on, where calls go, what may be spent. No secrets."""
    sections = (
        ("Listening", _listening(settings)),
        ("Tiers, cheapest first", _tiers(settings)),
        ("Routing, the first that applies", _routing(settings)),
        ("Caps", _caps(settings)),
        ("Rollout", _rollout(settings)),
        ("Warnings", iter(settings.warnings)),
    )
    blocks = []
    for title, lines in sections:
        indented = [f"  {line}" for line in lines] or ["  none"]
        blocks.append("\n".join([title, *indented]))
    return "\n\n".join(blocks) + "\n"


def _listening(settings: Settings) -> Iterator[str]:
    host = f"[{settings.listen.host}]" if ":" in settings.listen.host else settings.listen.host
    yield f"at http://{host}:{settings.listen.port}, data in {settings.data_dir}"
    telemetry = settings.telemetry
    if not telemetry.otlp_endpoint:
        yield "traces go nowhere"
        return
    share = (
        "" if telemetry.sample == 1 else f", {telemetry.sample * 100:g} % of them and all that tell something"
    )
    yield f"traces go to {telemetry.otlp_endpoint}{share}"
    if telemetry.content != "none":
        yield "  with the prompts and answers of clean calls"


def _tiers(settings: Settings) -> Iterator[str]:
    width = max(map(len, settings.tiers))
    for name, spec in settings.tiers.items():
        state = f"off, {spec.off_because}" if spec.off_because else "on"
        place = "another machine" if spec.off_box else "this machine"
        yield f"{name:<{width}}  {state}; {spec.provider} at {spec.base_url}, {place}, {_price(spec)}"
        others = [f"{task}: {model}" for task, model in spec.models.items() if task != "default"]
        yield f"{'':<{width}}  models: " + ", ".join([spec.models["default"], *others])
        if spec.models_allowed:
            yield f"{'':<{width}}  and of those that apps name: " + ", ".join(spec.models_allowed)


def _price(spec: TierSpec) -> str:
    if spec.price is None:
        return "free"
    if not isinstance(spec.price, PriceSpec):
        return "at the catalog's price"
    words = {
        "usd_per_1k_tokens": "per 1k tokens",
        "input_usd_per_1m": "per 1M input tokens",
        "output_usd_per_1m": "per 1M output tokens",
        "cached_input_usd_per_1m": "per 1M cached input tokens",
    }
    return ", ".join(f"${figure} {words[key]}" for key, figure in spec.price.figures.items())


def _routing(settings: Settings) -> Iterator[str]:
    privacy, routing = settings.privacy, settings.routing
    may = (
        "only clean calls may leave"
        if privacy.mode == "strict"
        else "calls that cannot be read may leave too"
    )
    looks_for = [*privacy.detect, *(pattern.kind or pattern.name for pattern in privacy.patterns)]
    yield f"privacy ({privacy.mode}): {may}, the others stay; looks for {', '.join(looks_for) or 'nothing'}"
    yield "embeddings: stay on this machine"
    yield "pinned: a model named <tier>/<model> goes to that tier"
    for rule in routing.rules:
        yield f"{rule.name}: {_rule(rule)} -> {rule.tier}"
    yield f"all else -> {routing.default}"
    yield f"when a tier cannot take a call, those after it: {', '.join(routing.fallback or ()) or 'none'}"
    if routing.escalate_when_local_down:
        yield "when no tier on this machine can, calls that may leave go to a paid one"


def _rule(rule: Rule) -> str:
    conditions = [describe_condition(key, value) for key, value in rule.when.items()]
    return " and ".join(conditions) or "every call"


def _caps(settings: Settings) -> Iterator[str]:
    periods = {"day": "a day", "month": "a month", "total": "in all"}
    for cap in settings.budgets.caps:
        tiers = "all priced tiers together" if cap.tier == "*" else cap.tier
        yield f"{cap.name}: ${cap.usd:f} {periods[cap.period]} on {tiers}"


def _rollout(settings: Settings) -> Iterator[str]:
    rollout, gates = settings.rollout, settings.rollout.gates
    yield f"{rollout.percent:g} % of calls are routed, the others go to {rollout.legacy.tier} as before"
    yield f"stages: {', '.join(f'{stage:g}' for stage in rollout.stages)} %"
    yield f"sticky by {', then '.join(rollout.sticky_by)}"
    back = "a stage" if rollout.on_breach == "previous" else "to 0 %"
    yield f"from {gates.brakes_from} calls on it goes back {back} by itself when surely"
    yield f"  more than {gates.error_rate_max * 100:g} % fail,"
    yield f"  more than 5 % take longer than {in_words(gates.p95_ms_max)},"
    yield from _compared_with_legacy(gates)
    yield f"  or a month costs more than ${gates.month_usd_max:f}"
    yield from _schedule(rollout.scheduled()) if rollout.schedule.enabled else ("it advances by hand only",)


def _compared_with_legacy(gates: GateSettings) -> Iterator[str]:
    if gates.error_rate_vs_legacy is not None:
        yield f"  {gates.error_rate_vs_legacy * 100:g} in 100 more fail than in the legacy arm,"
    if gates.p95_vs_legacy is not None:
        yield f"  it takes {gates.p95_vs_legacy:g} times as long as the legacy arm,"
    if gates.feedback_vs_legacy is not None:
        yield f"  answers are rated {gates.feedback_vs_legacy:g} below those of the legacy arm,"


def _schedule(schedule: Schedule) -> Iterator[str]:
    wants = schedule.wants
    gates = ", ".join(gate.value for gate in wants.gates) or "all gates"
    when = f" in its windows ({schedule.zone})" if schedule.windows else ""
    yield (
        f"it advances by itself{when}, after {wants.bake_s:g} s and {wants.min_samples} calls, "
        f"when {gates} pass"
    )
    for percent, own in schedule.by_stage.items():
        yield f"  {percent:g} %: after {own.bake_s:g} s and {own.min_samples} calls"
