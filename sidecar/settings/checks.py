"""Checks what types and ranges cannot say: names that must exist, keys that depend on one another.

``check`` adds to what decoding found wrong; ``warnings_for`` looks at settings that are right and says
what deserves a second look all the same.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from decimal import Decimal
from ipaddress import ip_address
from itertools import pairwise
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import re2

from sidecar.core.conditions import parse_condition
from sidecar.core.policy import RESERVED_RULE_NAMES
from sidecar.core.rollout import routed_buckets
from sidecar.core.tiers import UNTOLD_RETRIES, PriceSpec, TierSpec, is_loopback
from sidecar.core.vocabulary import TaskType
from sidecar.settings.problems import KeyPath, Reading, nearest
from sidecar.settings.providers import PROVIDERS
from sidecar.settings.rollout_schema import RolloutSettings
from sidecar.settings.schema import Settings

#: Keeps every sum of caps and costs, in nano-dollars, within SQLite's 64-bit integers.
USD_MAX = Decimal(1_000_000_000)
_NANO = Decimal("1e-9")

# Names stand in URLs, headers and model names (``<tier>/<model>``), so they are kept plain.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NAME_WORDS = "letters, digits, _, . and -, at most 64"
_URL_WORDS = "a URL such as https://host:port/path"
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def check(settings: Settings, reading: Reading) -> None:
    """Add to ``reading`` what is wrong between the keys of ``settings``, which may hold placeholders."""
    _check_hosts(settings.listen.allowed_hosts, ("listen", "allowed_hosts"), reading)
    if not settings.tiers and reading.sound(("tiers",)):
        reading.refuse(("tiers",), "no tier", "at least one")
    for name, spec in settings.tiers.items():
        _check_tier(name, spec, reading)
    _check_privacy(settings, reading)
    _check_routing(settings, reading)
    _check_budgets(settings, reading)
    _check_rollout(settings, reading)
    telemetry = settings.telemetry
    _check_url(telemetry.otlp_endpoint, ("telemetry", "otlp_endpoint"), reading)
    _check_url(telemetry.jaeger_ui, ("telemetry", "jaeger_ui"), reading)


def _check_tier(name: str, spec: TierSpec, reading: Reading) -> None:
    at: KeyPath = ("tiers", name)
    if not _NAME.fullmatch(name):
        reading.refuse(at, f"the name {reading.show((), name)}", _NAME_WORDS)
    _check_provider(spec.provider, (*at, "provider"), reading)
    if not _is_unbroken(spec.api_key):
        reading.refuse((*at, "api_key"), "text with a space or a line end in it", "the key and nothing else")
    _check_models(spec, (*at, "models"), reading)
    _check_hosts(spec.trusted_hosts, (*at, "trusted_hosts"), reading)
    _check_base_url(spec, at, reading)
    _check_price(spec, at, reading)
    _check_retries(spec, at, reading)


def _check_retries(spec: TierSpec, at: KeyPath, reading: Reading) -> None:
    path = (*at, "provider")
    if spec.price is None or spec.provider not in UNTOLD_RETRIES or not reading.sound(path, (*at, "price")):
        return
    found = f"{reading.show(path, spec.provider)}, whose SDK may send a call again by itself"
    expected = "a provider whose retries can be switched off, because it has a price"
    reading.refuse(path, found, UNTOLD_RETRIES[spec.provider] or expected)


def _check_provider(provider: str, path: KeyPath, reading: Reading) -> None:
    if provider not in PROVIDERS and reading.sound(path):
        found = f"unknown provider {reading.show(path, provider)}"
        reading.refuse(path, found, "a name of any-llm's", suggestion=nearest(provider, PROVIDERS))


def _check_models(spec: TierSpec, at: KeyPath, reading: Reading) -> None:
    if "default" not in spec.models and reading.sound(at):
        reading.refuse((*at, "default"), "missing", "the name of a model")
    kinds = ["default", *(task.value for task in TaskType)]
    for task, model in spec.models.items():
        path = (*at, task)
        if task not in kinds:
            expected = "one of " + ", ".join(kinds)
            reading.refuse(path, "unknown task type", expected, suggestion=nearest(task, kinds))
        elif not model and reading.sound(path):
            reading.refuse(path, "an empty text", "the name of a model")


def _check_base_url(spec: TierSpec, at: KeyPath, reading: Reading) -> None:
    path = (*at, "base_url")
    if not spec.base_url and reading.sound(path):
        reading.refuse(path, "an empty text", _URL_WORDS)
    _check_url(spec.base_url, path, reading)
    if spec.off_box or not reading.sound(path, (*at, "off_box"), (*at, "trusted_hosts")):
        return
    if not spec.stays_on_box:
        host = urlsplit(spec.base_url).hostname or ""
        expected = (
            "loopback (127.0.0.0/8, ::1, localhost) or a host in trusted_hosts, because off_box is false"
        )
        near = nearest(host, spec.trusted_hosts)
        reading.refuse(path, f"the host {reading.show(path, host)}", expected, suggestion=near)


def _check_url(url: str, path: KeyPath, reading: Reading, *, secret: bool = False) -> None:
    """Refuse what is neither empty nor an http(s) URL. What may hold credentials is never quoted."""
    if not url or not reading.sound(path):
        return
    if not secret and set("@?#") & set(url):
        reading.refuse(path, "a URL with @, ? or # in it", f"{_URL_WORDS}, and credentials in api_key only")
        return
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well_formed = False
    if not well_formed or not _is_unbroken(url):
        reading.refuse(path, "text that is no URL" if secret else reading.show(path, url), _URL_WORDS)


def _is_unbroken(text: str) -> bool:
    return not any(sign.isspace() or not sign.isprintable() for sign in text)


def _check_hosts(hosts: Iterable[str], at: KeyPath, reading: Reading) -> None:
    for index, host in enumerate(hosts):
        path = (*at, index)
        if reading.sound(path) and not (_HOST.fullmatch(host) or _is_address(host)):
            reading.refuse(path, reading.show(path, host), "a host name or address without scheme or port")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _check_price(spec: TierSpec, at: KeyPath, reading: Reading) -> None:
    path = (*at, "price")
    if not reading.sound(path, (*at, "off_box")):
        return
    shapes = "usd_per_1k_tokens, or input_usd_per_1m and output_usd_per_1m"
    if spec.price is None:
        if spec.off_box:
            reading.refuse(path, "missing", f"{shapes}, because off_box is true")
    elif spec.price == "catalog":
        if importlib.util.find_spec("genai_prices") is None:
            expected = f"{shapes}, or the package's catalog extra to be installed"
            reading.refuse(path, "catalog, and there is no catalog", expected)
    else:
        _check_price_figures(spec.price, path, shapes, reading)


def _check_price_figures(price: PriceSpec, path: KeyPath, shapes: str, reading: Reading) -> None:
    figures = price.figures
    given = set(figures)
    by_direction = {"input_usd_per_1m", "output_usd_per_1m"}
    may_be_given = by_direction | {"cached_input_usd_per_1m"}
    if given != {"usd_per_1k_tokens"} and not by_direction <= given <= may_be_given:
        reading.refuse(path, " and ".join(figures) or "no figures", shapes)
    for key, figure in figures.items():
        _check_dollars(figure, (*path, key), reading)


def _check_dollars(amount: Decimal | str, path: KeyPath, reading: Reading) -> None:
    if not reading.sound(path):
        return
    expected = f"dollars from 0 to {USD_MAX:,}, with at most 9 decimals"
    try:
        dollars = Decimal(amount)
        fits = 0 <= dollars <= USD_MAX and dollars == dollars.quantize(_NANO)
    except ArithmeticError:
        fits = False
    if not fits:
        reading.refuse(path, reading.show(path, amount), expected)


def _check_privacy(settings: Settings, reading: Reading) -> None:
    at: KeyPath = ("privacy", "patterns")
    patterns = settings.privacy.patterns
    _check_names([pattern.name for pattern in patterns], at, reading)
    quiet = re2.Options()
    quiet.log_errors = False
    for index, pattern in enumerate(patterns):
        path = (*at, index, "regex")
        if not reading.sound(path):
            continue
        try:
            fits_nothing = re2.compile(pattern.regex, quiet).search("") is not None
        except re2.error:
            expected = "an RE2 expression, which has no look-around and no back-references"
            reading.refuse(path, reading.show(path, pattern.regex), expected)
        else:
            if fits_nothing:
                reading.refuse(path, "an expression that the empty text fits", "one that finds something")
    for index, text in enumerate(settings.privacy.allow):
        if not text and reading.sound(("privacy", "allow", index)):
            reading.refuse(("privacy", "allow", index), "an empty text", "text that may leave")


def _check_routing(settings: Settings, reading: Reading) -> None:
    routing, at = settings.routing, ("routing",)
    rules: KeyPath = (*at, "rules")
    all_leave = all(spec.off_box for spec in settings.tiers.values())
    _check_names([rule.name for rule in routing.rules], rules, reading, RESERVED_RULE_NAMES)
    for index, rule in enumerate(routing.rules):
        _check_tier_name(rule.tier, (*rules, index, "tier"), settings, reading)
        for key, value in rule.when.items():
            _check_condition(key, value, (*rules, index, "when", key), reading)
    if routing.default:
        _check_tier_name(routing.default, (*at, "default"), settings, reading)
    elif all_leave and reading.sound(("tiers",), (*at, "default")):
        reading.refuse((*at, "default"), "missing", "the name of a tier, because none has off_box: false")
    for index, name in enumerate(routing.fallback or ()):
        path = (*at, "fallback", index)
        _check_tier_name(name, path, settings, reading)
        if name in (routing.fallback or ())[:index]:
            reading.refuse(path, f"{reading.show(path, name)} a second time", "each tier once")


def _check_condition(key: str, value: object, path: KeyPath, reading: Reading) -> None:
    if not reading.sound(path):
        return
    try:
        parse_condition(key, value)
    except ValueError as error:
        words, _, near = str(error).partition("; did you mean ")
        if reading.from_environment(path):
            words = f"{reading.show(path, value)}, which is no condition on {key}"
        reading.refuse(path, words, suggestion=near.strip("'\"?"))


def _check_tier_name(
    name: str, path: KeyPath, settings: Settings, reading: Reading, *, others: tuple[str, ...] = ()
) -> None:
    known = (*settings.tiers, *others)
    if name in known or not settings.tiers or not reading.sound(path):
        return
    found = f"unknown tier {reading.show(path, name)}"
    reading.refuse(path, found, "one of " + ", ".join(known), suggestion=nearest(name, known))


def _check_names(names: list[str], at: KeyPath, reading: Reading, reserved: Iterable[str] = ()) -> None:
    for index, name in enumerate(names):
        path = (*at, index, "name")
        if not reading.sound(path):
            continue
        if not _NAME.fullmatch(name):
            reading.refuse(path, reading.show(path, name), _NAME_WORDS)
        elif name in names[:index]:
            reading.refuse(path, f"{reading.show(path, name)} a second time", "a name of its own")
        elif name in reserved:
            found = f"{reading.show(path, name)}, which means something else in decisions"
            reading.refuse(path, found, "another name")


def _check_budgets(settings: Settings, reading: Reading) -> None:
    budgets, at = settings.budgets, ("budgets",)
    _check_timezone(budgets.timezone, (*at, "timezone"), reading)
    _check_ascending(budgets.alerts_at, (*at, "alerts_at"), reading)
    _check_url(budgets.webhook, (*at, "webhook"), reading, secret=True)
    _check_names([cap.name for cap in budgets.caps], (*at, "caps"), reading)
    for index, cap in enumerate(budgets.caps):
        path = (*at, "caps", index)
        _check_tier_name(cap.tier, (*path, "tier"), settings, reading, others=("*",))
        _check_dollars(cap.usd, (*path, "usd"), reading)


def _check_timezone(name: str, path: KeyPath, reading: Reading) -> None:
    if reading.sound(path) and not _is_timezone(name):
        near = nearest(name, available_timezones())
        found = reading.show(path, name)
        reading.refuse(path, found, "a time zone such as Europe/Berlin", suggestion=near)


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _check_rollout(settings: Settings, reading: Reading) -> None:
    rollout, at = settings.rollout, ("rollout",)
    _check_percent(rollout.percent, (*at, "percent"), reading)
    for index, stage in enumerate(rollout.stages):
        _check_percent(stage, (*at, "stages", index), reading)
    _check_ascending(rollout.stages, (*at, "stages"), reading)
    if rollout.legacy.tier:
        _check_tier_name(rollout.legacy.tier, (*at, "legacy", "tier"), settings, reading)
    gates: KeyPath = (*at, "gates")
    _check_dollars(rollout.gates.month_usd_max, (*gates, "month_usd_max"), reading)
    _check_dollars(rollout.gates.warn.day_usd, (*gates, "warn", "day_usd"), reading)
    _check_dollars(rollout.shadow.usd_per_day, (*at, "shadow", "usd_per_day"), reading)
    _check_schedule(rollout, (*at, "schedule"), reading)


def _check_percent(percent: float, path: KeyPath, reading: Reading) -> None:
    if not reading.sound(path):
        return
    try:
        routed_buckets(percent)
    except ValueError:
        reading.refuse(path, f"{percent}", "a percentage with at most two decimals")


def _check_schedule(rollout: RolloutSettings, at: KeyPath, reading: Reading) -> None:
    schedule = rollout.schedule
    _check_timezone(schedule.timezone, (*at, "timezone"), reading)
    for index, stage in enumerate(schedule.stages):
        path = (*at, "stages", index, "percent")
        if not reading.sound(path, ("rollout", "stages")):
            continue
        if stage.percent not in rollout.stages:
            stages = ", ".join(f"{one:g}" for one in rollout.stages)
            reading.refuse(path, f"{stage.percent:g}, which is no stage", f"one of {stages}")
        elif stage.percent in [other.percent for other in schedule.stages[:index]]:
            reading.refuse(path, f"{stage.percent:g} a second time", "each stage once")
    for index, window in enumerate(schedule.windows):
        path = (*at, "windows", index)
        if reading.sound(path) and window.opens == window.closes:
            reading.refuse(path, f"opens and closes at {window.opens}", "two different times")


def _check_ascending(numbers: tuple[float, ...], path: KeyPath, reading: Reading) -> None:
    if not reading.sound(path):
        return
    for index, (before, after) in enumerate(pairwise(numbers), start=1):
        if after <= before:
            reading.refuse((*path, index), f"{after:g} after {before:g}", "each number above the one before")


def warnings_for(settings: Settings) -> tuple[str, ...]:
    """What is allowed in ``settings``, which are checked and complete, but deserves a second look."""
    found = []
    if not is_loopback(settings.listen.host):
        found.append(
            f"listen.host: other machines can reach {settings.listen.host}; calls need no password, "
            "so keep the port inside the pod or container"
        )
    if all(spec.off_box for spec in settings.tiers.values()):
        found.append("tiers: none is on this machine, so calls that may not leave are refused")
    capped = {cap.tier for cap in settings.budgets.caps}
    for name, spec in settings.tiers.items():
        if spec.off_because:
            found.append(f"tiers.{name}: off, {spec.off_because}")
        if spec.price is not None and not capped & {name, "*"}:
            found.append(f"tiers.{name}: has a price but no cap limits what is spent on it")
        url = urlsplit(spec.base_url)
        if spec.off_box and url.scheme == "http" and not is_loopback(url.hostname or ""):
            found.append(f"tiers.{name}: keys and prompts travel unencrypted, base_url is not https")
    return tuple(found)
