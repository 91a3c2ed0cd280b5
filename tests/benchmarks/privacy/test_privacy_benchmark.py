"""The privacy benchmark counts right, fills every slot, and runs."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.privacy.corpus import REWRITINGS, fields, generated, labelled, rewritten
from benchmarks.privacy.measure import Share, judged
from benchmarks.privacy.templates import TEST, TUNING, Templates
from benchmarks.privacy.values import Values


def test_wilson_interval_of_a_textbook_case() -> None:
    low, high = Share(81, 263).interval
    assert (round(low, 3), round(high, 3)) == (0.255, 0.366)


def test_tuning_and_test_templates_share_no_sentence() -> None:
    def sentences(templates: Templates) -> set[str]:
        return {text for kinds in templates.values() for texts in kinds.values() for text in texts}

    assert not sentences(TUNING) & sentences(TEST)


@pytest.mark.parametrize("templates", [TUNING, TEST])
def test_every_slot_is_filled(templates: Templates) -> None:
    for sample in generated(templates, Values(1), 1):
        assert "{name}" not in sample.text
        assert ":email}" not in sample.text


def test_the_same_seed_makes_the_same_texts() -> None:
    assert list(generated(TEST, Values(3), 1)) == list(generated(TEST, Values(3), 1))


def test_what_programs_rewrite_is_still_kept_at_home() -> None:
    samples = list(rewritten(generated(TUNING, Values(5), 1)))
    figures = judged([*samples, *fields(Values(6), 5)])
    assert set(figures.recall) == {*REWRITINGS, "field of an object", "in all"}
    assert all(row.not_clean.rate >= 0.98 for row in figures.recall.values()), figures.recall
    assert figures.over_blocking["in all"].sensitive.rate <= 0.01


def test_a_labelled_file_is_judged(tmp_path: Path) -> None:
    rows = [
        {"text": "anna.kurz@gmx.de", "sensitive": True, "kinds": ["email"], "lang": "de"},
        {"text": "all is well", "sensitive": False, "kinds": ["prose"], "lang": "en"},
    ]
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    figures = judged(labelled(path))
    assert figures.recall["email"].sensitive == Share(1, 1)
    assert figures.over_blocking["in all"].not_clean == Share(0, 1)


def test_one_command_prints_and_writes_the_figures(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.privacy", "--per-template", "1", "--json", str(out)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "over-blocking" in printed
    assert json.loads(out.read_bytes())["cost"]["engine"] in ("hyperscan", "re2")
