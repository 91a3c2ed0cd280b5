"""The fault for a request that an upstream cannot honour as it was meant."""

from __future__ import annotations

from sidecar.core.errors import Fault, UpstreamFault


def unsupported(field: str, why: str) -> UpstreamFault:
    """The fault that names ``field``, a path such as ``messages[2].content[0]``, and says ``why``.

    Another tier may do better, and nothing was sent. ``why`` must not repeat the value: it may be a prompt.
    """
    return UpstreamFault(Fault.UNSUPPORTED, f"{field}: {why}")
