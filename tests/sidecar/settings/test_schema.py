"""What the settings give to others: the policy, its id, and themselves without secrets."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.core.policy import Policy, Rule, TierPolicy
from sidecar.settings import policy_id
from tests.sidecar.settings.configurations import SMALL, changed, load

RULED = SMALL + "routing: {rules: [{name: big, when: {batch_size: '>10', quality: high}, tier: cloud}]}\n"


def test_the_policy_is_what_the_decision_needs() -> None:
    assert load(RULED).policy() == Policy(
        tiers=(
            TierPolicy("home", off_box=False, priced=False, models={"default": "llama3.2"}),
            TierPolicy("cloud", off_box=True, priced=True, models={"default": "gpt-4o"}),
        ),
        default="home",
        fallback=("cloud", "home"),
        legacy_tier="home",
        rules=(Rule("big", {"batch_size": ">10", "quality": "high"}, "cloud"),),
        escalate_when_local_down=False,
    )


def test_the_policy_id_names_the_policy_and_nothing_else() -> None:
    first = policy_id(load(RULED).policy())
    assert len(first) == 12
    assert int(first, 16) >= 0
    turned = changed("batch_size: '>10', quality: high", "quality: high, batch_size: '>10'", RULED)
    assert policy_id(load(turned + "drain_s: 3\n").policy()) == first
    for other in (
        changed("'>10'", "'>11'", RULED),
        changed("name: big", "name: bulk", RULED),
        changed("default: gpt-4o", "default: gpt-5", RULED),
        changed("routing: {", "routing: {fallback: [], ", RULED),
        changed("routing: {", "routing: {escalate_when_local_down: true, ", RULED),
        RULED + "rollout: {legacy: {tier: cloud}}\n",
    ):
        assert policy_id(load(other).policy()) != first


SECRETS = {"KEY": "sk-aaaa1111", "HOOK": "https://hooks.example/bbbb2222", "SIGN": "cccc3333"}
WITH_SECRETS = (
    changed("sk-secret", "${KEY}")
    + "  webhook: ${HOOK}\n  webhook_secret: ${SIGN}\nprivacy: {allow: [shown]}\n"
)


def test_redacted_says_everything_but_the_secrets() -> None:
    loaded = load(WITH_SECRETS, SECRETS)
    redacted = loaded.redacted()
    assert redacted["tiers"]["cloud"]["api_key"] == "(hidden)"
    assert redacted["tiers"]["home"]["api_key"] == ""
    assert redacted["budgets"]["webhook"] == redacted["budgets"]["webhook_secret"] == "(hidden)"
    assert redacted["budgets"]["caps"] == [{"name": "all", "tier": "*", "period": "day", "usd": "10"}]
    assert redacted["privacy"]["allow"] == ["shown"]
    plain = msgspec.to_builtins(loaded)
    plain["tiers"]["cloud"]["api_key"] = "(hidden)"
    plain["budgets"].update(webhook="(hidden)", webhook_secret="(hidden)")
    assert msgspec.json.decode(msgspec.json.encode(redacted)) == msgspec.json.decode(
        msgspec.json.encode(plain)
    )


@pytest.mark.parametrize("secret", SECRETS.values())
def test_no_part_of_a_secret_is_left(secret: str) -> None:
    said = str(load(WITH_SECRETS, SECRETS).redacted())
    assert not any(secret[start : start + 4] in said for start in range(len(secret) - 7, len(secret) - 3))
