"""The fault for what an upstream cannot honour."""

from __future__ import annotations

from sidecar.core.errors import UNBILLED_FAULTS, Fault
from sidecar.wire.unsupported import unsupported


def test_it_names_the_field_costs_nothing_and_lets_another_tier_try() -> None:
    fault = unsupported("messages[2].content[0]", "only text and images can be sent")
    assert fault.message == "messages[2].content[0]: only text and images can be sent"
    assert fault.fault is Fault.UNSUPPORTED
    assert fault.fault in UNBILLED_FAULTS
    assert fault.try_next
