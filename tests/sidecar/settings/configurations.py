"""Configurations for tests: a small valid one, and what is refused in a changed one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sidecar.settings import Settings, SettingsError, parse_settings

FILE = "app.yaml"

#: Two tiers, lines numbered in the margin of whoever counts on them.
SMALL = """\
tiers:
  home:
    provider: ollama
    base_url: http://127.0.0.1:11434
    off_box: false
    models: {default: llama3.2}
  cloud:
    provider: openai
    base_url: https://api.openai.com/v1
    api_key: sk-secret
    price: {usd_per_1k_tokens: 0.015}
    models: {default: gpt-4o}
budgets:
  caps: [{name: all, tier: "*", period: day, usd: 10}]
"""


def load(text: str, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings that ``text`` gives."""
    return parse_settings(text.encode(), FILE, environ or {})


def changed(old: str, new: str, text: str = SMALL) -> str:
    """``text`` with ``old``, which stands in it once, replaced."""
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the configuration"
    return text.replace(old, new)


def refusals(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """What is said of ``text``, one line for each problem, without the name of the file."""
    with pytest.raises(SettingsError) as refused:
        load(text, environ)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(FILE) for line in lines)
    return [line.removeprefix(FILE + ":").strip() for line in lines]
