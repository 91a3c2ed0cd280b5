"""The sample configuration, which is the embedded default, and ``sidecar check``."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec

from sidecar.core.hints import Match, MatchHints, MatchWhen
from sidecar.core.policy import Rule
from sidecar.core.tiers import PriceSpec, QueueLimits, Timeouts
from sidecar.core.vocabulary import Quality, TaskType
from sidecar.settings import config_path, load_settings, run_check
from sidecar.settings.schema import CapSettings
from tests.sidecar.settings.configurations import changed, load

SAMPLE = config_path(None)


def test_the_sample_says_what_the_documentation_says() -> None:
    sample = load_settings(None, {})
    assert list(sample.tiers) == ["local_ollama", "ollama_cloud", "openai"]
    local, cloud, openai = sample.tiers.values()
    assert (local.name, local.provider, local.off_box) == ("local_ollama", "ollama", False)
    assert local.base_url == "http://127.0.0.1:11434"
    assert local.models == {"default": "llama3.2", "embedding": "nomic-embed-text"}
    assert (local.max_concurrency, local.queue) == (4, QueueLimits(max=64, wait_s=30))
    assert local.timeouts == Timeouts(connect_s=2, first_byte_s=120, idle_s=30, total_s=300)
    assert (cloud.base_url, cloud.models) == ("https://ollama.com", {"default": "gpt-oss:120b"})
    assert (cloud.price, cloud.default_max_tokens) == (PriceSpec(usd_per_1k_tokens="0.001"), 1024)
    assert (openai.price, openai.models) == (PriceSpec(usd_per_1k_tokens="0.015"), {"default": "gpt-4o"})
    assert [tier.off_because for tier in sample.tiers.values()] == [
        "",
        "no api_key is configured",
        "no api_key is configured",
    ]
    assert sample.routing.rules == (
        Rule("critical_quality", {"quality": "critical"}, "openai"),
        Rule("very_high_complexity", {"complexity": "very_high"}, "openai"),
        Rule("high_quality", {"quality": ">=high", "complexity": ">=medium"}, "ollama_cloud"),
        Rule("batch_processing", {"batch_size": ">10"}, "ollama_cloud"),
    )
    assert (sample.routing.default, sample.routing.fallback) == (
        "local_ollama",
        ("openai", "ollama_cloud", "local_ollama"),
    )
    assert sample.routing.matches == (
        Match(
            MatchWhen(model="extract-*"),
            MatchHints(task_type=TaskType.EXTRACTION, quality=Quality.HIGH),
        ),
    )
    assert sample.budgets.caps == (
        CapSettings("openai-month", "openai", "month", Decimal(80)),
        CapSettings("cloud-month", "ollama_cloud", "month", Decimal(120)),
        CapSettings("all-day", "*", "day", Decimal(10)),
    )
    assert sample.warnings == (
        "tiers.ollama_cloud: off, no api_key is configured",
        "tiers.openai: off, no api_key is configured",
    )


def test_the_sample_shows_the_default_of_everything_but_lists() -> None:
    sample = load_settings(None, {})
    only_tiers = SAMPLE.read_text().partition("\nprivacy:")[0].partition("\ntiers:")
    bare = load("".join(only_tiers[1:]))
    assert bare.tiers == sample.tiers
    for section in (
        "listen",
        "data_dir",
        "drain_s",
        "keep_alive_s",
        "limits",
        "retention",
        "privacy",
        "telemetry",
    ):
        assert getattr(bare, section) == getattr(sample, section), section
    brakes_early = msgspec.structs.replace(bare.rollout.gates, min_samples_to_roll_back=20)
    assert msgspec.structs.replace(bare.rollout, gates=brakes_early) == sample.rollout
    assert (bare.routing.default, bare.routing.fallback) == (sample.routing.default, sample.routing.fallback)
    for key in ("timezone", "reset_day", "alerts_at", "webhook", "webhook_secret"):
        assert getattr(bare.budgets, key) == getattr(sample.budgets, key), key
    assert (bare.routing.rules, bare.routing.matches, bare.budgets.caps) == ((), (), ())


def test_what_the_sample_only_mentions_in_comments_is_valid_with_its_defaults() -> None:
    bare = load_settings(None, {})
    uncommented = SAMPLE.read_text()
    for key in (
        "drain_s:",
        "keep_alive_s:",
        "limits:",
        "retention:",
        "escalate_when_local_down:",
        "webhook_secret:",
    ):
        assert uncommented.count(f"# {key}") == 1, key
        uncommented = uncommented.replace(f"# {key}", key)
    assert load(uncommented) == bare
    for key in ("patterns:", "  - {name: staff-number", "allow:"):
        uncommented = changed(f"# {key}", key, uncommented)
    privacy = load(uncommented).privacy
    assert [pattern.name for pattern in privacy.patterns] == ["staff-number"]
    assert privacy.allow == ("support@example.org",)


def test_an_installed_package_brings_its_default_along(tmp_path: Path) -> None:
    """The wheel puts ``config/`` into the package; the checkout has it beside the package."""
    package = tmp_path / "sidecar"
    shutil.copytree(SAMPLE.parents[1] / "sidecar", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(SAMPLE.parent, package / "config")
    program = "from sidecar.settings import *; load_settings(None, {}); print(config_path(None))"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert Path(found.stdout.strip()) == package / "config" / "sidecar.yaml"


class TestCheckCommand:
    def check(self, path: Path | None) -> tuple[int, str, str]:
        stdout, stderr = io.StringIO(), io.StringIO()
        code = run_check(path, {}, stdout, stderr)
        return code, stdout.getvalue(), stderr.getvalue()

    def test_a_valid_file_is_described(self) -> None:
        code, said, problems = self.check(None)
        assert (code, problems) == (0, "")
        assert said.startswith(f"{SAMPLE} is valid.\n\nListening\n")

    def test_a_refused_file_says_all_that_is_wrong_on_stderr(self, tmp_path: Path) -> None:
        file = tmp_path / "app.yaml"
        file.write_text("listen: {port: -1}\n" + changed("period: day", "period: dya"))
        code, said, problems = self.check(file)
        assert (code, said) == (2, "")
        assert problems == (
            f'{file}:1: listen.port: the number "-1"; expected a whole number from 0 to 65535\n'
            f'{file}:15: budgets.caps[0].period: the text "dya"; expected one of day, month, total; '
            'did you mean "day"?\n'
        )
