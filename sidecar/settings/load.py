"""Loads a configuration file: reads it, checks it, completes what follows from other keys."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import msgspec

from sidecar.core.tiers import PriceSpec, TierSpec
from sidecar.settings.checks import check, warnings_for
from sidecar.settings.decode import decode
from sidecar.settings.problems import Problem, Reading, SettingsError
from sidecar.settings.schema import Settings
from sidecar.settings.yaml_tree import parse_tree


def config_path(path: Path | None) -> Path:
    """``path``, or the embedded default: in the package once installed, beside it in a checkout."""
    if path is not None:
        return path
    package = Path(__file__).parent.parent
    installed = package / "config" / "sidecar.yaml"
    return installed if installed.exists() else package.parent / "config" / "sidecar.yaml"


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings in the file at ``path``, or the embedded default. Raises ``SettingsError``."""
    path = config_path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from None
    return parse_settings(content, str(path), environ)


def unreadable(path: Path, why: str) -> SettingsError:
    """The refusal of a file that cannot be read."""
    return SettingsError([Problem(str(path), 0, "", why, "a file that can be read")])


def parse_settings(content: bytes, file: str, environ: Mapping[str, str]) -> Settings:
    """The settings in ``content``; ``file`` is its name in refusals. Raises ``SettingsError``.

    A relative ``data_dir`` is taken from the current directory, now.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError([Problem(file, line, "", "bytes that are not UTF-8", "UTF-8 text")]) from None
    reading = Reading(file)
    written = decode(parse_tree(text, file), Settings, reading, environ)
    check(written, reading)
    if reading.problems:
        raise SettingsError(reading.problems)
    settings = _complete(written)
    return msgspec.structs.replace(settings, warnings=warnings_for(settings))


def _complete(written: Settings) -> Settings:
    """``written`` with what follows from other keys put in where it was left out."""
    replace = msgspec.structs.replace
    tiers = {name: replace(spec, name=name) for name, spec in written.tiers.items()}
    routing, rollout = written.routing, written.rollout
    default = routing.default or next(name for name, spec in tiers.items() if not spec.off_box)
    legacy = rollout.legacy.tier or ("local_ollama" if "local_ollama" in tiers else default)
    fallback = _dearest_first(tiers) if routing.fallback is None else routing.fallback
    return replace(
        written,
        tiers=tiers,
        data_dir=str(Path(written.data_dir).absolute()),
        routing=replace(routing, default=default, fallback=fallback),
        rollout=replace(rollout, legacy=replace(rollout.legacy, tier=legacy)),
    )


def _dearest_first(tiers: Mapping[str, TierSpec]) -> tuple[str, ...]:
    """All tiers by price, off-box before on-box where that is equal, then the last of the file first."""
    order = {
        name: (_usd_per_1m(spec), spec.off_box, place) for place, (name, spec) in enumerate(tiers.items())
    }
    return tuple(sorted(tiers, key=order.__getitem__, reverse=True))


def _usd_per_1m(spec: TierSpec) -> Decimal:
    """What a million tokens cost, half of them input; a catalog price, unknown here, ranks above all."""
    if not isinstance(spec.price, PriceSpec):
        return Decimal(0) if spec.price is None else Decimal("Infinity")
    usd = {key: Decimal(figure) for key, figure in spec.price.figures.items()}
    if "usd_per_1k_tokens" in usd:
        return usd["usd_per_1k_tokens"] * 1000
    return (usd["input_usd_per_1m"] + usd["output_usd_per_1m"]) / 2
