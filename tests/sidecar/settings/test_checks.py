"""What is refused, and warned of, between the keys of a configuration: line, key, words, suggestion."""

from __future__ import annotations

import pytest

from tests.sidecar.settings.configurations import SMALL, changed, load, refusals

LOOPBACK = (
    "expected loopback (127.0.0.0/8, ::1, localhost) or a host in trusted_hosts, because off_box is false"
)
URL = "expected a URL such as https://host:port/path"
PLAIN_URL = f"a URL with @, ? or # in it; {URL}, and credentials in api_key only"
PRICE = "expected usd_per_1k_tokens, or input_usd_per_1m and output_usd_per_1m"
DOLLARS = "expected dollars from 0 to 1,000,000,000, with at most 9 decimals"
NAME = "expected letters, digits, _, . and -, at most 64"
PERCENT = "expected a percentage with at most two decimals"
PROVIDER = "expected a name of any-llm's"
HOST = "expected a host name or address without scheme or port"

HOME_URL = "http://127.0.0.1:11434"
CLOUD_URL = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("{default: llama3.2}", "{}", "6: tiers.home.models.default: missing; expected the name of a model"),
        (
            "{default: llama3.2}",
            "{default: ''}",
            "6: tiers.home.models.default: an empty text; expected the name of a model",
        ),
        (
            "{default: llama3.2}",
            "{default: a, embeding: b}",
            "6: tiers.home.models.embeding: unknown task type; expected one of default, embedding, "
            "extraction, generation, code_generation, research, vision, summarization, answer_generation, "
            'memory_consolidation; did you mean "embedding"?',
        ),
        (
            "    provider: openai\n",
            "    provider: xai\n",
            '8: tiers.cloud.provider: "xai", whose SDK may send a call again by itself; '
            "expected openai with base_url https://api.x.ai/v1",
        ),
        (
            "    provider: openai\n",
            "    provider: bedrock\n",
            '8: tiers.cloud.provider: "bedrock", whose SDK may send a call again by itself; '
            "expected a provider whose retries can be switched off, because it has a price",
        ),
        (
            "provider: openai",
            "provider: opnai",
            f'8: tiers.cloud.provider: unknown provider "opnai"; {PROVIDER}; did you mean "openai"?',
        ),
        (
            "provider: openai",
            "provider: OpenAI",
            f'8: tiers.cloud.provider: unknown provider "OpenAI"; {PROVIDER}; did you mean "openai"?',
        ),
        ("provider: openai", "provider: ''", f'8: tiers.cloud.provider: unknown provider ""; {PROVIDER}'),
        ("  home:", "  ho/me:", f'2: tiers.ho/me: the name "ho/me"; {NAME}'),
        (
            "    price: {usd_per_1k_tokens: 0.015}\n",
            "",
            f"7: tiers.cloud.price: missing; {PRICE}, because off_box is true",
        ),
        ("{usd_per_1k_tokens: 0.015}", "{}", f"11: tiers.cloud.price: no figures; {PRICE}"),
        (
            "{usd_per_1k_tokens: 0.015}",
            "{input_usd_per_1m: 1}",
            f"11: tiers.cloud.price: input_usd_per_1m; {PRICE}",
        ),
        (
            "{usd_per_1k_tokens: 0.015}",
            "{usd_per_1k_tokens: 1, output_usd_per_1m: 2}",
            f"11: tiers.cloud.price: usd_per_1k_tokens and output_usd_per_1m; {PRICE}",
        ),
        ("0.015", "cheap", f'11: tiers.cloud.price.usd_per_1k_tokens: "cheap"; {DOLLARS}'),
        ("0.015", "-1", f'11: tiers.cloud.price.usd_per_1k_tokens: "-1"; {DOLLARS}'),
        ("0.015", "0.0000000001", f'11: tiers.cloud.price.usd_per_1k_tokens: "0.0000000001"; {DOLLARS}'),
        (
            "api_key: sk-secret",
            'api_key: "sk-secret\\n"',
            "10: tiers.cloud.api_key: text with a space or a line end in it; "
            "expected the key and nothing else",
        ),
        (HOME_URL, "''", f"4: tiers.home.base_url: an empty text; {URL}"),
        (HOME_URL, "ftp://127.0.0.1", f'4: tiers.home.base_url: "ftp://127.0.0.1"; {URL}'),
        (HOME_URL, "127.0.0.1:11434", f'4: tiers.home.base_url: "127.0.0.1:11434"; {URL}'),
        (HOME_URL, "http://", f'4: tiers.home.base_url: "http://"; {URL}'),
        (HOME_URL, "http://[::1", f'4: tiers.home.base_url: "http://[::1"; {URL}'),
        (HOME_URL, "http://localhost:99999", f'4: tiers.home.base_url: "http://localhost:99999"; {URL}'),
        (HOME_URL, "http://localhost:0", f'4: tiers.home.base_url: "http://localhost:0"; {URL}'),
        (HOME_URL, "http://local host", f'4: tiers.home.base_url: "http://local host"; {URL}'),
        (CLOUD_URL, "https://me:pw@api.openai.com", f"9: tiers.cloud.base_url: {PLAIN_URL}"),
        (CLOUD_URL, "me:pw@api.openai.com", f"9: tiers.cloud.base_url: {PLAIN_URL}"),
        (CLOUD_URL, "https://api.openai.com?key=pw", f"9: tiers.cloud.base_url: {PLAIN_URL}"),
        (HOME_URL, "http://10.0.0.3", f'4: tiers.home.base_url: the host "10.0.0.3"; {LOOPBACK}'),
        (HOME_URL, "http://0.0.0.0", f'4: tiers.home.base_url: the host "0.0.0.0"; {LOOPBACK}'),
        (HOME_URL, "http://127.1", f'4: tiers.home.base_url: the host "127.1"; {LOOPBACK}'),
        (
            HOME_URL,
            "http://localhost.evil.com",
            f'4: tiers.home.base_url: the host "localhost.evil.com"; {LOOPBACK}',
        ),
        (
            HOME_URL,
            "http://olama:11434\n    trusted_hosts: [ollama]",
            f'4: tiers.home.base_url: the host "olama"; {LOOPBACK}; did you mean "ollama"?',
        ),
        (
            HOME_URL,
            f"{HOME_URL}\n    trusted_hosts: ['http://ollama', 'ollama:80']",
            f'5: tiers.home.trusted_hosts[0]: "http://ollama"; {HOST}',
        ),
        (
            "    provider: ollama\n",
            "    providr: ollama\n",
            "3: tiers.home.providr: unknown key; expected one of provider, base_url, models, off_box, "
            "trusted_hosts, api_key, price, models_allowed, default_max_tokens, capabilities, "
            "max_concurrency, queue, timeouts, retry, breaker; "
            'did you mean "provider"?',
        ),
    ],
)
def test_tiers(old: str, new: str, problem: str) -> None:
    assert refusals(changed(old, new))[0] == problem


def test_no_tiers_at_all() -> None:
    assert refusals("") == ["1: tiers: missing; expected a mapping"]
    assert refusals("tiers: {}") == ["1: tiers: no tier; expected at least one"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1",
        "http://127.9.8.7",
        "https://LOCALHOST:1/x",
        "http://[::1]:11434",
        "http://Ollama:1",
        "http://10.0.0.3",
    ],
)
def test_a_tier_on_this_machine_is_at_loopback_or_at_a_host_named_as_trusted(url: str) -> None:
    text = changed(HOME_URL, f'"{url}"\n    trusted_hosts: [OLLAMA, 10.0.0.3, "fd00::7"]')
    assert load(text).tiers["home"].stays_on_box


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (
            "caps: [{name: all, tier: clod, period: day, usd: 10}]",
            'budgets.caps[0].tier: unknown tier "clod"; expected one of home, cloud, *; '
            'did you mean "cloud"?',
        ),
        (
            "caps: [{name: a, tier: cloud, period: day, usd: 1}, {name: a, tier: '*', period: day, usd: 0}]",
            'budgets.caps[1].name: "a" a second time; expected a name of its own',
        ),
        (
            "caps: [{name: all, tier: '*', period: mnth, usd: 10}]",
            'budgets.caps[0].period: the text "mnth"; expected one of day, month, total; '
            'did you mean "month"?',
        ),
        (
            "caps: [{name: all, tier: '*', period: day, usd: -0.01}]",
            f'budgets.caps[0].usd: "-0.01"; {DOLLARS}',
        ),
        (
            "caps: [{name: all, tier: '*', period: day, usd: 1000000001}]",
            f'budgets.caps[0].usd: "1000000001"; {DOLLARS}',
        ),
        (
            "caps: [{name: all, tier: '*', period: day, usd: 0.1000000001}]",
            f'budgets.caps[0].usd: "0.1000000001"; {DOLLARS}',
        ),
        (
            "caps: [{name: all, tier: '*', period: day, usd: 1e-999999999}]",
            f'budgets.caps[0].usd: "1E-999999999"; {DOLLARS}',
        ),
        (
            "caps: [{name: all, tier: '*', period: day}]",
            "budgets.caps[0].usd: missing; expected an amount such as 80 or 0.015",
        ),
        ("caps: [{name: a/b, tier: '*', period: day, usd: 1}]", f'budgets.caps[0].name: "a/b"; {NAME}'),
        (
            "timezone: Europe/Berln",
            'budgets.timezone: "Europe/Berln"; expected a time zone such as Europe/Berlin; '
            'did you mean "Europe/Berlin"?',
        ),
        (
            "timezone: ../UTC",
            'budgets.timezone: "../UTC"; expected a time zone such as Europe/Berlin; did you mean "UTC"?',
        ),
        ("timezone: Xyzzy", 'budgets.timezone: "Xyzzy"; expected a time zone such as Europe/Berlin'),
        ("reset_day: 32", 'budgets.reset_day: the number "32"; expected a whole number from 1 to 31'),
        (
            "alerts_at: [0.8, 1.1]",
            'budgets.alerts_at[1]: the decimal number "1.1"; expected a number above 0 and of at most 1',
        ),
        (
            "alerts_at: [0.9, 0.8]",
            "budgets.alerts_at[1]: 0.8 after 0.9; expected each number above the one before",
        ),
        ("webhook: hooks.example.com/T0/secret", f"budgets.webhook: text that is no URL; {URL}"),
        ("webhook: 12345", "budgets.webhook: the number; expected text"),
    ],
)
def test_budgets(section: str, problem: str) -> None:
    text = SMALL.partition("budgets:")[0] + f"budgets:\n  {section}\n"
    assert refusals(text) == [f"14: {problem}"]


def test_a_webhook_may_carry_its_own_token() -> None:
    text = SMALL + "  webhook: https://user:pw@hooks.example.com/T0?key=1\n"
    assert load(text).budgets.webhook == "https://user:pw@hooks.example.com/T0?key=1"


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("listen: {port: 65536}", 'listen.port: the number "65536"; expected a whole number from 0 to 65535'),
        ("listen: {host: ''}", 'listen.host: the text ""; expected a host name or address'),
        ("listen: {allowed_hosts: ['a:80']}", f'listen.allowed_hosts[0]: "a:80"; {HOST}'),
        ("data_dir: ''", 'data_dir: the text ""; expected a directory'),
        (
            "limits: {max_body_mb: 0}",
            'limits.max_body_mb: the number "0"; expected a whole number of at least 1',
        ),
        ("retention: {days: 0}", 'retention.days: the number "0"; expected a whole number of at least 1'),
        ("drain_s: -1", 'drain_s: the number "-1"; expected a number of at least 0'),
        (
            "privacy: {mode: strct}",
            'privacy.mode: the text "strct"; expected one of balanced, strict; did you mean "strict"?',
        ),
        (
            "privacy: {detect: [pii, helth]}",
            'privacy.detect[1]: the text "helth"; expected one of health, pii, secrets; '
            'did you mean "health"?',
        ),
        ("privacy: {max_scan_ms: 0}", 'privacy.max_scan_ms: the number "0"; expected a number above 0'),
        ("privacy: {allow: ['']}", "privacy.allow[0]: an empty text; expected text that may leave"),
        (
            "privacy: {patterns: [{name: a, regex: '('}]}",
            'privacy.patterns[0].regex: "("; expected an RE2 expression, which has no look-around and '
            "no back-references",
        ),
        (
            "privacy: {patterns: [{name: a, regex: '(?=x)y'}]}",
            'privacy.patterns[0].regex: "(?=x)y"; expected an RE2 expression, which has no look-around and '
            "no back-references",
        ),
        (
            "privacy: {patterns: [{name: a, regex: 'x*'}]}",
            "privacy.patterns[0].regex: an expression that the empty text fits; "
            "expected one that finds something",
        ),
        (
            "privacy: {patterns: [{name: a, regex: x}, {name: a, regex: y}]}",
            'privacy.patterns[1].name: "a" a second time; expected a name of its own',
        ),
        ("rollout: {percent: 101}", 'rollout.percent: the number "101"; expected a number from 0 to 100'),
        ("rollout: {percent: -1}", 'rollout.percent: the number "-1"; expected a number from 0 to 100'),
        ("rollout: {percent: 10.005}", f"rollout.percent: 10.005; {PERCENT}"),
        ("rollout: {stages: [10, 33.333]}", f"rollout.stages[1]: 33.333; {PERCENT}"),
        ("rollout: {stages: []}", "rollout.stages: an empty list; expected at least one entry"),
        (
            "rollout: {stages: [10, 101]}",
            'rollout.stages[1]: the number "101"; expected a number from 0 to 100',
        ),
        (
            "rollout: {stages: [10, 30, 30]}",
            "rollout.stages[2]: 30 after 30; expected each number above the one before",
        ),
        (
            "rollout: {sticky_by: [request, cookie:x]}",
            'rollout.sticky_by[1]: the text "cookie:x"; expected header:<name>, body:<field> or request',
        ),
        (
            "rollout: {sticky_by: ['header:']}",
            'rollout.sticky_by[0]: the text "header:"; expected header:<name>, body:<field> or request',
        ),
        (
            "rollout: {legacy: {tier: hom}}",
            'rollout.legacy.tier: unknown tier "hom"; expected one of home, cloud; did you mean "home"?',
        ),
        ("rollout: {gates: {month_usd_max: -1}}", f'rollout.gates.month_usd_max: "-1"; {DOLLARS}'),
        ("rollout: {gates: {warn: {day_usd: -1}}}", f'rollout.gates.warn.day_usd: "-1"; {DOLLARS}'),
        (
            "rollout: {gates: {error_rate_max: 5}}",
            'rollout.gates.error_rate_max: the number "5"; expected a number from 0 to 1',
        ),
        (
            "rollout: {gates: {p95_vs_legacy: 0.5}}",
            'rollout.gates.p95_vs_legacy: the decimal number "0.5"; expected a number of at least 1',
        ),
        (
            "rollout: {gates: {alpha: 1}}",
            'rollout.gates.alpha: the number "1"; expected a number above 0 and below 1',
        ),
        (
            "rollout: {on_breach: stop}",
            'rollout.on_breach: the text "stop"; expected one of previous, zero',
        ),
        (
            "rollout: {schedule: {timezone: Europe/Berln}}",
            'rollout.schedule.timezone: "Europe/Berln"; expected a time zone such as Europe/Berlin; '
            'did you mean "Europe/Berlin"?',
        ),
        (
            "rollout: {schedule: {windows: [{opens: 25:00}]}}",
            'rollout.schedule.windows[0].opens: the text "25:00"; expected a time such as 09:00',
        ),
        (
            "rollout: {schedule: {windows: [{opens: 09:00, closes: 09:00}]}}",
            "rollout.schedule.windows[0]: opens and closes at 09:00; expected two different times",
        ),
        (
            "rollout: {schedule: {windows: [{days: [monday]}]}}",
            'rollout.schedule.windows[0].days[0]: the text "monday"; '
            'expected one of mon, tue, wed, thu, fri, sat, sun; did you mean "mon"?',
        ),
        (
            "rollout: {schedule: {stages: [{percent: 20}]}}",
            "rollout.schedule.stages[0].percent: 20, which is no stage; expected one of 10, 30, 50, 75, 100",
        ),
        (
            "rollout: {schedule: {stages: [{percent: 30}, {percent: 30}]}}",
            "rollout.schedule.stages[1].percent: 30 a second time; expected each stage once",
        ),
        (
            "rollout: {schedule: {gates: [errors]}}",
            'rollout.schedule.gates[0]: the text "errors"; expected one of error_rate, p95, spend, '
            'error_rate_vs_legacy, p95_vs_legacy, feedback_vs_legacy; did you mean "error_rate"?',
        ),
        (
            "telemetry: {content: all}",
            'telemetry.content: the text "all"; expected one of clean_only, none',
        ),
        ("telemetry: {otlp_endpoint: 'collector:4317'}", f'telemetry.otlp_endpoint: "collector:4317"; {URL}'),
        ("telemetry: {jaeger_ui: 'http://me:pw@j'}", f"telemetry.jaeger_ui: {PLAIN_URL}"),
        (
            "telemtry: {}",
            "telemtry: unknown key; expected one of tiers, listen, data_dir, drain_s, keep_alive_s, limits, "
            'retention, privacy, routing, budgets, rollout, telemetry; did you mean "telemetry"?',
        ),
        (
            "warnings: []",
            "warnings: unknown key; expected one of tiers, listen, data_dir, drain_s, keep_alive_s, limits, "
            "retention, privacy, routing, budgets, rollout, telemetry",
        ),
        ("tiers: {}", "tiers: a second time, first on line 1; expected each key once"),
    ],
)
def test_the_other_sections(section: str, problem: str) -> None:
    assert refusals(SMALL + section) == [f"15: {problem}"]


def test_one_mistake_is_reported_once() -> None:
    """A price under a wrong key is not missing as well; a broken tier is a tier that rules may name."""
    text = changed("price:", "prise:") + "routing: {rules: [{name: a, when: {}, tier: cloud}]}\n"
    assert [problem.split(";")[0] for problem in refusals(text)] == ["11: tiers.cloud.prise: unknown key"]
    text = changed("off_box: false", "off_box: maybe")
    assert [problem.split(";")[0] for problem in refusals(text)] == [
        '5: tiers.home.off_box: the text "maybe"'
    ]


def test_as_many_as_can_be_found_are_reported_in_one_go() -> None:
    text = changed("off_box: false", "off_box: maybe")
    text = changed("period: day", "period: dai", text)
    text = changed("usd_per_1k_tokens", "usd_per_1k", text)
    text += "routing: {default: hme, fallback: [clod]}\nrollout: {percent: 200, stages: [2, 1]}\n"
    assert [problem.split(":")[1].strip() for problem in refusals(text)] == [
        "tiers.home.off_box",
        "tiers.cloud.price.usd_per_1k",
        "budgets.caps[0].period",
        "routing.default",
        "routing.fallback[0]",
        "rollout.percent",
        "rollout.stages[1]",
    ]


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (SMALL, []),
        (
            changed("    api_key: sk-secret\n", ""),
            ["tiers.cloud: off, no api_key is configured"],
        ),
        (
            changed('tier: "*"', "tier: home"),
            ["tiers.cloud: has a price but no cap limits what is spent on it"],
        ),
        (changed('tier: "*"', "tier: cloud"), []),
        (
            SMALL + "listen: {host: 0.0.0.0}\n",
            [
                "listen.host: other machines can reach 0.0.0.0; calls need no password, so keep the port "
                "inside the pod or container"
            ],
        ),
        (
            changed("https://api.openai.com/v1", "http://api.openai.com/v1"),
            ["tiers.cloud: keys and prompts travel unencrypted, base_url is not https"],
        ),
        (changed("https://api.openai.com/v1", "http://127.0.0.1:8000/v1"), []),
        (
            changed("    off_box: false\n", "    api_key: x\n    price: {usd_per_1k_tokens: 0}\n")
            + "routing: {default: home}\n",
            ["tiers: none is on this machine, so calls that may not leave are refused"],
        ),
    ],
)
def test_warnings(text: str, warnings: list[str]) -> None:
    assert list(load(text).warnings) == warnings
