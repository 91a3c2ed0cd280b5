"""The error of a telemetry configuration that cannot be followed."""

from __future__ import annotations


class TelemetryRefused(ValueError):
    """The environment asks for something that cannot be had; the message says what would mend it."""
