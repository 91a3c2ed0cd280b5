"""The log line of each call: its ids, where it went, how it ended; no word of what was said."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys

import pytest

from sidecar.telemetry.log_format import JsonFormatter
from tests.rig.otlp import OtlpReceiver
from tests.rig.world import CHAT, CRITICAL, PUBLIC, World, chat

PERSONAL = "Write to Erika at erika.musterfrau@web.de about her diabetes."


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "sidecar.calls"]


async def test_one_line_for_each_call_with_its_ids(
    world: World, receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sidecar.calls")
    sidecar = await world.sidecar()
    await world.openai.fault(status=503, times=1)
    fell_back = await sidecar.http.post(CHAT, json=chat(max_tokens=4), headers=CRITICAL)
    await world.local.fault(status=500)
    failed = await sidecar.http.post(CHAT, json=chat(PERSONAL), headers={"x-sidecar-app": "a"})
    await world.aclose()
    first, second = lines(caplog)
    said = json.loads(JsonFormatter().format(first))
    spans = await receiver.trace(fell_back.headers["x-sidecar-trace-id"])
    assert said == said | {
        "level": "INFO",
        "logger": "sidecar.calls",
        "request_id": fell_back.headers["x-sidecar-request-id"],
        "trace_id": spans[0].trace_id,
        "span_id": spans[0].span_id,
        "trace_flags": "01",
        "door": CHAT,
        "arm": "routed",
        "tier": "ollama_cloud",
        "model": "gpt-oss:120b",
        "reason": "critical_quality",
        "verdict": "CLEAN",
        "outcome": "complete",
        "status": 200,
        "failed": "openai:server_error",
        "output_tokens": 4,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", said["timestamp"])
    said = json.loads(JsonFormatter().format(second))
    assert said == said | {
        "level": "WARNING",
        "request_id": failed.headers["x-sidecar-request-id"],
        "tier": "-",
        "verdict": "SENSITIVE",
        "outcome": "upstream_failed",
        "status": 503,
        "error_code": "sensitive_and_local_down",
    }
    for human in (first.getMessage(), second.getMessage()):
        assert "\n" not in human
        assert {part.partition("=")[0] for part in human.split(" ")} >= {"request_id", "trace_id", "outcome"}


async def test_no_line_says_what_was_said_or_a_key(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    marker = "zyzzyva-marker"
    sidecar = await world.sidecar({"rollout": {"percent": 50}, "telemetry": {"content": "clean_only"}})
    await world.cloud.fault(status=400)
    await world.openai.fault(error_after=1, times=1)
    for body in (chat(marker), chat(f"{marker} {PERSONAL}"), chat(marker, stream=True), {"model": marker}):
        for headers in (CRITICAL, PUBLIC, {"x-sidecar-quality": "high", "x-sidecar-session": marker}):
            await sidecar.http.post(CHAT, json=body, headers=headers)
    await world.aclose()
    ours = [record for record in caplog.records if record.name.startswith(("sidecar", "dashboard"))]
    assert len(lines(caplog)) == 12
    for record in ours:
        said = JsonFormatter().format(record) + record.getMessage()
        for secret in (marker, "erika", "openai-key", "cloud-key"):
            assert secret not in said


async def test_a_model_name_cannot_pose_as_another_field(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sidecar.calls")
    sidecar = await world.sidecar({"rollout": {"percent": 0}})
    await sidecar.http.post(CHAT, json=chat(model="m outcome=complete\nnext"), headers=PUBLIC)
    await world.aclose()
    (line,) = lines(caplog)
    assert " model=m?outcome=complete?next " in line.getMessage()


def test_another_line_in_json_keeps_its_words_and_its_traceback() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.LogRecord("a.b", logging.ERROR, __file__, 1, "it %s", ("broke",), sys.exc_info())
    said = json.loads(JsonFormatter().format(record))
    assert (said["level"], said["logger"], said["message"]) == ("ERROR", "a.b", "it broke")
    assert said["exception"].endswith("ValueError: why")


def test_a_form_that_nobody_knows_is_refused_at_the_start() -> None:
    environ = {**os.environ, "SIDECAR_LOG": "xml"}
    done = subprocess.run(
        [sys.executable, "-m", "sidecar.cli", "serve"],
        check=False,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (2, "SIDECAR_LOG is 'xml'; write human or json\n")
