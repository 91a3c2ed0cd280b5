"""Which upstreams are on this machine is the tier's own word, as `sidecar check` has it."""

from __future__ import annotations

import pytest

from sidecar.core.tiers import TierSpec
from sidecar.upstreams.registry import LocalUpstream, build_upstream
from tests.sidecar.settings.configurations import changed, load


def _build(base_url: str, trusted_hosts: str) -> object:
    home = f'"{base_url}"\n    trusted_hosts: [{trusted_hosts}]'
    return build_upstream(
        load(changed("http://127.0.0.1:11434", home)).tiers["home"], lambda: 0.0, lambda: 0.0
    )


@pytest.mark.parametrize(
    ("base_url", "trusted"),
    [
        ("http://Ollama:11434", "Ollama"),
        ("http://ollama:11434", "OLLAMA"),
        ("http://OLLAMA:11434", "ollama"),
        ("http://LocalHost:11434", ""),
    ],
)
async def test_a_host_is_trusted_in_whatever_case_it_is_written(base_url: str, trusted: str) -> None:
    assert isinstance(_build(base_url, trusted), LocalUpstream)


@pytest.mark.parametrize("base_url", ["http://10.0.0.3", "http://ollama", "http://127.1"])
def test_what_is_not_on_this_machine_is_no_local_upstream(base_url: str) -> None:
    tier = TierSpec("ollama", base_url, {"default": "m"}, off_box=False)
    with pytest.raises(PermissionError):
        build_upstream(tier, lambda: 0.0, lambda: 0.0)
