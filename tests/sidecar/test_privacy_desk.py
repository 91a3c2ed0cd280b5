"""Trying the gate on one's own texts, from the terminal and over the admin API."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.world import World

MAIL = "erika.musterfrau" + "@web.de"


def scan(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar.cli", "scan", *arguments]
    return subprocess.run(command, input=text, check=False, capture_output=True, text=True, timeout=60)


def test_it_says_where_and_what_but_not_the_value(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(f"First line.\nWrite to {MAIL} today.\n")
    ran = scan(str(file))
    assert ran.returncode == 1
    assert f"{file}:2:10: email (pii, certain)" in ran.stdout
    assert "SENSITIVE, stays on this machine" in ran.stdout
    assert MAIL not in ran.stdout + ran.stderr
    assert MAIL in scan(str(file), "--show").stdout


def test_a_clean_text_may_leave() -> None:
    ran = scan("-", text="How do I merge two dictionaries in Python?")
    assert (ran.returncode, ran.stdout) == (0, "-: CLEAN, may leave this machine\n")


@pytest.mark.parametrize("arguments", [["/nonexistent.txt"], ["-", "--config", "/nonexistent.yaml"]])
def test_what_cannot_be_read_is_said(arguments: list[str]) -> None:
    ran = scan(*arguments)
    assert (ran.returncode, "Traceback" in ran.stderr) == (2, False)
    assert "nonexistent" in ran.stderr


async def test_the_admin_api_scans_too(world: World) -> None:
    sidecar = await world.sidecar({"privacy": {"patterns": [{"name": "project", "regex": "PROJ-[0-9]{4}"}]}})
    found = await sidecar.admin("POST", "/scan", {"text": f"PROJ-1234 belongs to {MAIL}"})
    assert (found["verdict"], found["may_leave"]) == ("SENSITIVE", False)
    places = {(each["kind"], each["start"], each["end"]) for each in found["findings"]}
    assert {("project", 0, 9), ("email", 21, 21 + len(MAIL))} <= places
    assert MAIL not in str(found)
    clean = await sidecar.admin("POST", "/scan", {"text": "What is a B-tree?"})
    assert (clean["verdict"], clean["may_leave"], clean["findings"]) == ("CLEAN", True, [])
    declared = {"text": "What is a B-tree?", "data_classification": "confidential"}
    assert not (await sidecar.admin("POST", "/scan", declared))["may_leave"]
