"""Reads how far back a page is to look."""

from __future__ import annotations

from dashboard.page import Ask
from sidecar.storage.reports import Window


def window_of(ask: Ask, otherwise: Window = Window.DAY) -> Window:
    """The window that the address names; one that is none counts as not named."""
    named = ask.get("window")
    return next((window for window in Window if window.value == named), otherwise)
