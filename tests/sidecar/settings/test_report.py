"""The settings in plain words."""

from __future__ import annotations

from sidecar.settings import describe, load_settings
from tests.sidecar.settings.configurations import SMALL, changed, load


def test_the_sample_in_words() -> None:
    said = describe(load_settings(None, {"SIDECAR_DATA_DIR": "/srv/sidecar", "OPENAI_API_KEY": "sk-4242"}))
    assert (
        said
        == """\
Listening
  at http://127.0.0.1:4000, data in /srv/sidecar
  traces go nowhere

Tiers, cheapest first
  local_ollama  on; ollama at http://127.0.0.1:11434, this machine, free
                models: llama3.2, embedding: nomic-embed-text
  ollama_cloud  off, no api_key is configured; ollama at https://ollama.com, another machine, \
$0.001 per 1k tokens
                models: gpt-oss:120b
  openai        on; openai at https://api.openai.com/v1, another machine, $0.015 per 1k tokens
                models: gpt-4o

Routing, the first that applies
  privacy (strict): only clean calls may leave, the others stay; looks for pii, health, secrets
  embeddings: stay on this machine
  pinned: a model named <tier>/<model> goes to that tier
  critical_quality: quality is critical -> openai
  very_high_complexity: complexity is very high -> openai
  high_quality: quality is high or better and complexity is medium or higher -> ollama_cloud
  batch_processing: batch size is more than 10 -> ollama_cloud
  all else -> local_ollama
  when a tier cannot take a call, those after it: openai, ollama_cloud, local_ollama

Caps
  openai-month: $80 a month on openai
  cloud-month: $120 a month on ollama_cloud
  all-day: $10 a day on all priced tiers together

Rollout
  10 % of calls are routed, the others go to local_ollama as before
  stages: 10, 30, 50, 75, 100 %
  sticky by header:x-sidecar-session, then body:user, then request
  from 20 calls on it goes back a stage by itself when surely
    more than 5 % fail,
    more than 5 % take longer than 1.00 s,
    or a month costs more than $300
  it advances by hand only

Warnings
  tiers.ollama_cloud: off, no api_key is configured
"""
    )


def test_what_the_sample_does_not_have() -> None:
    text = changed("{usd_per_1k_tokens: 0.015}", "{input_usd_per_1m: 2.50, output_usd_per_1m: 10}")
    text = changed("  caps:", "  caps: []\n#", text)
    text += (
        "listen: {host: '::1'}\n"
        "telemetry: {otlp_endpoint: 'http://collector:4318'}\n"
        "privacy:\n  mode: balanced\n  detect: []\n"
        "  patterns: [{name: a, regex: x}, {name: b, regex: y, kind: k}]\n"
        "routing:\n  fallback: []\n  escalate_when_local_down: true\n"
        "  rules: [{name: any, when: {}, tier: cloud}]\n"
    )
    said = describe(load(text)).splitlines()
    for line in (
        "  at http://[::1]:4000, data in " + load(text).data_dir,
        "  traces go to http://collector:4318",
        "  cloud  on; openai at https://api.openai.com/v1, another machine, "
        "$2.50 per 1M input tokens, $10 per 1M output tokens",
        "  privacy (balanced): calls that cannot be read may leave too, the others stay; looks for a, k",
        "  any: every call -> cloud",
        "  when a tier cannot take a call, those after it: none",
        "  when no tier on this machine can, calls that may leave go to a paid one",
    ):
        assert line in said
    assert said[said.index("Caps") + 1] == "  none"
    assert "  tiers.cloud: has a price but no cap limits what is spent on it" in said


def test_no_warnings_and_a_price_from_the_catalog() -> None:
    said = describe(load(changed("{usd_per_1k_tokens: 0.015}", "catalog"))).splitlines()
    assert said[-2:] == ["Warnings", "  none"]
    assert "  cloud  on; openai at https://api.openai.com/v1, another machine, at the catalog's price" in said


def test_secrets_are_not_described() -> None:
    assert "sk-secret" in SMALL
    assert "sk-secret" not in describe(load(SMALL))
