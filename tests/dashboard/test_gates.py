"""The gates as rows: every state has its words, and what no evidence is kept for shows none."""

from __future__ import annotations

import pytest

from dashboard.gates import gate_rows
from sidecar.core.gates import Gate, GateReading, GateState


def reading(gate: Gate, state: GateState, evidence: float | None = None) -> GateReading:
    needed = None if evidence is None else 40.0
    return GateReading(gate, state, 0.03, 0.01, 0.05, 0.05, 0.01, 300, evidence, needed, "so it is")


@pytest.mark.parametrize("gate", Gate)
@pytest.mark.parametrize("state", GateState)
def test_every_gate_in_every_state_has_a_row(gate: Gate, state: GateState) -> None:
    (row,) = gate_rows([reading(gate, state)])
    assert row.name
    assert row.verdict
    assert row.says == "so it is"
    assert (row.state == "error") is (state is GateState.BREACHED)
    assert (row.state == "good") is (state is GateState.PASSING)


def test_how_much_of_the_evidence_is_there() -> None:
    rows = gate_rows([reading(Gate.P95, GateState.PASSING, evidence) for evidence in (None, 0.5, 20, 4_000)])
    assert [row.doubt for row in rows] == [None, 0.0125, 0.5, 1.0]
