"""The dashboard and the alert rules of ``config/``: sound, and about metrics that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rig.promtool import Promtool
from tests.rig.world import CHAT, CRITICAL, HIGH, PUBLIC, World, chat

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config/prometheus-rules.yaml"
RULE_TESTS = Path(__file__).parent / "prometheus/prometheus-rules.test.yaml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "config/grafana-dashboard.json").read_text())
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

#: What Grafana puts in for its variables.
FILLED_IN = {"$__rate_interval": "5m", "$instance": ".*"}


def queries() -> Iterator[str]:
    """Every PromQL expression of the dashboard, as Prometheus gets it."""
    for panel in PANELS:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in FILLED_IN.items():
                expression = expression.replace(variable, value)
            yield expression


def asked_for(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics that an expression reads, each with the labels that it selects or groups by."""
    groups = {label for by in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.findall(r"\w+", by)}
    plain = re.sub(r"\b(by|on) \([^)]*\)", "", expression)
    for name, selector in re.findall(r"\b((?:sidecar|gen_ai|process)_\w+|up)\b(\{[^}]*\})?", plain):
        yield name, groups | set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector))


def exported(text: str) -> dict[str, set[str]]:
    """The samples of an exposition, each with its labels and those that scraping adds."""
    found: dict[str, set[str]] = {"up": {"job", "instance"}}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels = re.match(r"(\w+)(\{.*\})?", line).groups()  # type: ignore[union-attr]
            found.setdefault(name, {"job", "instance"}).update(re.findall(r'(\w+)="', labels or ""))
    return found


async def test_they_ask_for_metrics_and_labels_that_a_sidecar_has(world: World) -> None:
    caps = {"budgets": {"caps": [{"name": "all-day", "tier": "*", "period": "day", "usd": 1}]}}
    sidecar = await world.sidecar(caps)
    await world.openai.fault(status=503, times=1)
    for headers in (CRITICAL, CRITICAL, HIGH, PUBLIC):
        await sidecar.http.post(CHAT, json=chat(max_tokens=4, stream=headers is HIGH), headers=headers)
    await sidecar.http.post(CHAT, json={})
    await sidecar.sidecar.telemetry.intake.drain()
    text = (await sidecar.http.get("/metrics")).text
    there = exported(text)
    for expression in [*queries(), *(alert["expr"] for alert in ALERTS)]:
        for name, labels in asked_for(expression):
            assert name in there, f"{expression} reads {name}, which is not exported"
            assert labels <= there[name], f"{expression} uses labels that {name} has not"


def test_the_rules_are_sound_and_do_what_they_say(promtool: Promtool) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    promtool("check", "config", ROOT / "config/prometheus.yaml")
    promtool("test", "rules", RULE_TESTS)


def test_promtool_would_notice(promtool: Promtool, tmp_path: Path) -> None:
    """The rule tests fail when a threshold is another."""
    changed = RULES.read_text().replace("> 0.05", "> 0.5")
    assert changed != RULES.read_text()
    (tmp_path / "rules.yaml").write_text(changed)
    tests = RULE_TESTS.read_text().replace(
        "../../../config/prometheus-rules.yaml", str(tmp_path / "rules.yaml")
    )
    (tmp_path / "test.yaml").write_text(tests)
    with pytest.raises(AssertionError, match="SidecarCallsFail"):
        promtool("test", "rules", tmp_path / "test.yaml")


def test_every_alert_is_tested_and_tells_an_operator_what_to_do() -> None:
    tested = {test["name"] for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]} - {"words"}
    assert tested == {alert["alert"] for alert in ALERTS}
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"].keys() == {"summary", "description"}
        assert "{{" in alert["annotations"]["summary"], "it says where"


def test_prometheus_is_told_of_the_rules_and_the_job_they_know() -> None:
    config = yaml.safe_load((ROOT / "config/prometheus.yaml").read_text())
    assert config["rule_files"] == [RULES.name]
    (job,) = config["scrape_configs"]
    (down,) = (alert for alert in ALERTS if alert["alert"] == "SidecarDown")
    assert f'job="{job["job_name"]}"' in down["expr"]


def test_the_dashboards_queries_are_promql(promtool: Promtool, tmp_path: Path) -> None:
    rules = [{"record": f"query:{place}", "expr": query} for place, query in enumerate(queries())]
    (tmp_path / "queries.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    )
    promtool("check", "rules", "--lint=none", tmp_path / "queries.yaml")


def test_the_dashboard_is_whole() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"source", "instance"}
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        assert at["x"] + at["w"] <= 24
        taken |= cells
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${source}"
        assert [target["refId"] for target in panel["targets"]] == list("ABCD")[: len(panel["targets"])]
