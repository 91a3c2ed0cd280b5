"""Loading settings: what is left out, the environment, exact money, files that cannot be read."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.gates import Gate
from sidecar.core.schedule import OpenHours, StageWants, Weekday
from sidecar.core.tiers import PriceSpec
from sidecar.settings import Problem, Settings, SettingsError, config_path, load_settings
from sidecar.settings.rollout_schema import GateSettings
from sidecar.settings.schema import Listen, PrivacySettings, TelemetrySettings
from tests.sidecar.settings.configurations import SMALL, changed, load, refusals

SAMPLE = config_path(None)


@pytest.mark.parametrize("section", ["listen:", "privacy: null", "routing: ~", "rollout: {legacy: }"])
def test_a_key_with_nothing_after_it_counts_as_left_out(section: str) -> None:
    assert load(f"{section}\n{SMALL}") == load(SMALL)


@pytest.mark.parametrize(
    ("gates", "calls"), [("{}", 200), ("{min_samples: 7}", 7), ("{min_samples_to_roll_back: 20}", 20)]
)
def test_how_long_a_bad_spell_lasts_before_the_rollout_goes_back(gates: str, calls: int) -> None:
    limits = load(f"{SMALL}rollout: {{gates: {gates}}}\n").rollout.gates.limits()
    assert limits.min_samples_to_roll_back == calls


def test_a_schedule_is_read_with_what_single_stages_want() -> None:
    schedule = """\
rollout:
  gates: {min_samples: 50}
  schedule:
    enabled: true
    timezone: Europe/Berlin
    windows: [{days: [mon, fri], opens: 09:00, closes: 16:30}, {opens: 22:00, closes: 04:00}]
    stages: [{percent: 75, bake_s: 60, gates: [p95]}]
"""
    found = load(SMALL + schedule).rollout.scheduled()
    assert found.enabled
    assert found.wants == StageWants(86_400.0, 50)
    assert found.wants_at(75.0) == StageWants(60.0, 50, (Gate.P95,))
    assert found.windows == (
        OpenHours((Weekday.MON, Weekday.FRI), 540, 990),
        OpenHours((), 1_320, 240),
    )
    assert str(found.zone) == "Europe/Berlin"


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read() -> None:
    assert load("\ufeff" + SMALL.replace("\n", "\r\n")) == load(SMALL)


class TestDerivedDefaults:
    def test_calls_go_to_the_first_tier_on_this_machine(self) -> None:
        assert load(SMALL).routing.default == "home"

    def test_without_a_tier_on_this_machine_the_default_must_be_named(self) -> None:
        elsewhere = changed("    off_box: false\n", "    price: {usd_per_1k_tokens: 0}\n")
        assert refusals(elsewhere) == [
            "1: routing.default: missing; expected the name of a tier, because none has off_box: false"
        ]
        assert load(elsewhere + "routing: {default: cloud}\n").routing.default == "cloud"

    def test_the_legacy_arm_is_local_ollama_where_there_is_one_else_the_default(self) -> None:
        assert load(SMALL).rollout.legacy.tier == "home"
        named = changed("  cloud:", "  local_ollama:")
        assert load(named).rollout.legacy.tier == "local_ollama"

    @pytest.mark.parametrize(
        ("price", "order"),
        [
            ("{usd_per_1k_tokens: 0.015}", ("cloud", "middle", "home")),
            ("{usd_per_1k_tokens: 0.0001}", ("middle", "cloud", "home")),
            ("{usd_per_1k_tokens: 0}", ("middle", "cloud", "home")),
            ("{input_usd_per_1m: 1, output_usd_per_1m: 2.9}", ("middle", "cloud", "home")),
            ("{input_usd_per_1m: 1, output_usd_per_1m: 3.1}", ("cloud", "middle", "home")),
            ("catalog", ("cloud", "middle", "home")),
        ],
    )
    def test_the_fallback_is_dearest_first(self, price: str, order: tuple[str, ...]) -> None:
        middle = (
            "{provider: groq, base_url: 'https://m', price: {usd_per_1k_tokens: 0.002}, models: {default: m}}"
        )
        text = changed("  cloud:\n", f"  middle: {middle}\n  cloud:\n")
        text = changed("{usd_per_1k_tokens: 0.015}", price, text)
        assert load(text).routing.fallback == order

    def test_an_empty_fallback_is_none_at_all(self) -> None:
        assert load(SMALL + "routing: {fallback: []}\n").routing.fallback == ()

    def test_data_dir_is_taken_from_the_current_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert load("data_dir: state\n" + SMALL).data_dir == str(tmp_path / "state")
        assert load("data_dir: /srv/state\n" + SMALL).data_dir == "/srv/state"


class TestEnvironment:
    def test_left_out_keys_take_their_defaults_from_it(self) -> None:
        environ = {
            "SIDECAR_DATA_DIR": "/srv/sidecar",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
            "JAEGER_UI": "https://jaeger.internal",
        }
        loaded = load(SMALL, environ)
        assert loaded.data_dir == "/srv/sidecar"
        assert loaded.telemetry == TelemetrySettings("http://collector:4318", "https://jaeger.internal")
        written = load(SMALL + "telemetry: {jaeger_ui: ''}\n", environ).telemetry
        assert written == TelemetrySettings("http://collector:4318", "")

    def test_a_reference_that_stands_alone_becomes_what_the_key_wants(self) -> None:
        text = SMALL + (
            "listen: {port: '${PORT}'}\n"
            "drain_s: ${DRAIN}\n"
            "routing: {escalate_when_local_down: '${UP:-yes}'}\n"
            "rollout: {gates: {month_usd_max: '${MONTH}'}}\n"
            "privacy: {allow: ['${PORT}']}\n"
        )
        loaded = load(text, {"PORT": "5000", "DRAIN": "2.5", "MONTH": "0.1"})
        assert loaded.listen == Listen(port=5000)
        assert loaded.drain_s == 2.5
        assert loaded.routing.escalate_when_local_down is True
        assert loaded.rollout.gates == GateSettings(month_usd_max=Decimal("0.1"))
        assert loaded.privacy == PrivacySettings(allow=("5000",))

    def test_several_in_one_text(self) -> None:
        text = changed("http://127.0.0.1:11434", "http://${HOST:-localhost}:${PORT}/$${x}")
        assert load(text, {"PORT": "99"}).tiers["home"].base_url == "http://localhost:99/${x}"

    def test_an_unset_variable_is_refused_by_name(self) -> None:
        text = changed("api_key: sk-secret", "api_key: ${OPENAI_KEY}")
        assert refusals(text, {"OPENAI_API_KEY": "sk-1"}) == [
            "10: tiers.cloud.api_key: ${OPENAI_KEY}, and OPENAI_KEY is not set in the environment; "
            'expected it to be set, or a default: ${OPENAI_KEY:-...}; did you mean "OPENAI_API_KEY"?'
        ]

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("http://127.0.0.1:11434", "${V}"),
            ("provider: ollama", "max_concurrency: ${V}"),
            ("off_box: false", "off_box: ${V}"),
            ("{usd_per_1k_tokens: 0.015}", "{usd_per_1k_tokens: '${V}'}"),
            ("usd: 10", "usd: '${V}'"),
            ("period: day", "period: '${V}'"),
            ('tier: "*"', "tier: '${V}'"),
            ("name: all", "name: '${V} ${V}'"),
            ("  caps:", "  timezone: ${V}\n  caps:"),
            ("  caps:", "  webhook: ${V}\n  caps:"),
            ("budgets:", "routing: {rules: [{name: r, when: {quality: '${V}'}, tier: home}]}\nbudgets:"),
            ("budgets:", "privacy: {patterns: [{name: r, regex: '(${V}'}]}\nbudgets:"),
            ("budgets:", "listen: {allowed_hosts: ['${V}:80']}\nbudgets:"),
        ],
    )
    def test_its_values_are_never_quoted(self, old: str, new: str) -> None:
        said = "\n".join(refusals(changed(old, new), {"V": "sk-live-4242"}))
        assert "4242" not in said
        assert "${V}" in said or "webhook" in said


@pytest.mark.parametrize("amount", ["0.1", "10", '"80.10"', "0.000000001", "1e3", ".5", "1000000000"])
def test_money_is_exact(amount: str) -> None:
    loaded = load(changed("usd: 10", f"usd: {amount}"))
    assert loaded.budgets.caps[0].usd == Decimal(amount.strip('"'))
    loaded = load(changed("usd_per_1k_tokens: 0.015", f"usd_per_1k_tokens: {amount}"))
    price = loaded.tiers["cloud"].price
    assert isinstance(price, PriceSpec)
    assert price.usd_per_1k_tokens == amount.strip('"')


@given(st.decimals(min_value=0, max_value=10**9, places=9))
@settings(max_examples=50, deadline=None)
def test_every_amount_of_nano_dollars_is_read_exactly(usd: Decimal) -> None:
    assert load(changed("usd: 10", f"usd: {usd:f}")).budgets.caps[0].usd == usd


SAMPLE_LINES = SAMPLE.read_text().splitlines()
SNIPPETS = [
    "",
    "{}",
    "[]",
    "x",
    "-1",
    "null",
    "${X}",
    "${",
    "tiers:",
    "  a: 1",
    "&a",
    "*a",
    "!t 1",
    "'",
    "\t",
    "<<: *a",
]


@given(
    st.lists(
        st.tuples(st.integers(0, len(SAMPLE_LINES) - 1), st.integers(0, 60), st.sampled_from(SNIPPETS)),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_read_or_refused_with_its_lines(damage: list[tuple[int, int, str]]) -> None:
    lines = list(SAMPLE_LINES)
    for number, column, snippet in damage:
        lines[number] = lines[number][:column] + snippet
    problems: list[Problem] = []
    try:
        load("\n".join(lines))
    except SettingsError as refused:
        problems = refused.problems
    assert all(1 <= problem.line <= len(lines) + 1 for problem in problems)


class TestUnreadableFiles:
    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError) as refused:
            load_settings(tmp_path / "none.yaml", {})
        assert str(refused.value) == (
            f"{tmp_path}/none.yaml: No such file or directory; expected a file that can be read"
        )

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        file = tmp_path / "bad.yaml"
        file.write_bytes(b"listen: {}\ndata_dir: \xff\n")
        with pytest.raises(SettingsError) as refused:
            load_settings(file, {})
        assert str(refused.value) == f"{file}:2: bytes that are not UTF-8; expected UTF-8 text"


def test_settings_are_frozen() -> None:
    loaded: Settings = load(SMALL)
    with pytest.raises(AttributeError):
        loaded.data_dir = "/tmp"  # type: ignore[misc]
