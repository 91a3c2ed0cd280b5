"""Gives each tier its colour: by its place in the configuration, the same on every page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidecar.services import Services

#: The stylesheet has this many colours for tiers, and one for those that are no longer configured.
COLOURS: Final = 6


def colours(services: Services) -> Callable[[str], str]:
    """What maps a tier's name to the name of its colour."""
    places = {name: f"tier-{place % COLOURS}" for place, name in enumerate(services.in_force.tiers)}
    return lambda name: places.get(name, "tier-none")
