"""What a decision says of itself: the trace, the reasons in the plan, the words."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.obstacles import IN_WORDS
from sidecar.core.policy import FALLBACK, RESERVED_RULE_NAMES, Policy, Rule, TierPolicy, decide
from sidecar.core.vocabulary import (
    Arm,
    Complexity,
    DataClassification,
    Decision,
    Dialect,
    Features,
    Hints,
    Operation,
    Quality,
    TaskType,
    TierState,
    TraceStep,
    Verdict,
    VerdictState,
)
from tests.sidecar.core.routing_words import POLICIES, SAMPLE, call, states

FIRST = ["privacy", "embedding", "pinned"]


def decided(words: str, matters: str = "", policy: Policy = SAMPLE) -> Decision:
    return decide(call(words), policy, states(matters, policy))


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        ("sensitive", ["privacy"]),
        ("embedding", ["privacy", "embedding"]),
        ("model=openai/gpt-4o", FIRST),
        ("quality=critical", [*FIRST, "critical_quality"]),
        ("batch_size=11", [*FIRST, *(rule.name for rule in SAMPLE.rules)]),
        ("", [*FIRST, *(rule.name for rule in SAMPLE.rules), "default"]),
        ("legacy", ["privacy", "rollout"]),
    ],
)
def test_the_trace_names_every_rule_looked_at_and_the_last_one_applied(words: str, rules: list[str]) -> None:
    trace = decided(words).trace
    assert [step.rule for step in trace] == rules
    assert [step.applied for step in trace] == [False] * (len(rules) - 1) + [True]


def test_the_trace_reads_like_an_answer_to_why() -> None:
    assert decided("quality=medium complexity=very_high", "openai $0.01").trace == (
        TraceStep("privacy", False, "nothing sensitive was found, the call may leave"),
        TraceStep("embedding", False, "the call is not an embedding"),
        TraceStep("pinned", False, "the model name 'auto' names no tier"),
        TraceStep("critical_quality", False, "quality is medium, the rule wants critical"),
        TraceStep(
            "very_high_complexity",
            True,
            "complexity is very high: openai has no budget for the call, so it goes to ollama_cloud",
        ),
    )


@pytest.mark.parametrize(
    ("words", "matters", "last"),
    [
        ("", "", "no rule applied: it goes to local_ollama"),
        ("", "local full", "no rule applied: it goes to local_ollama, which is full, and waits in the queue"),
        (
            "",
            "local off",
            "no rule applied: local_ollama is off, so no tier can take it; "
            "ollama_cloud: calls go up to it only if routing.escalate_when_local_down is true; "
            "openai: calls go up to it only if routing.escalate_when_local_down is true",
        ),
        ("sensitive", "", "sensitive data was found (2 email, 1 iban): it goes to local_ollama"),
        (
            "sensitive",
            "local off",
            "sensitive data was found (2 email, 1 iban): local_ollama is off, so no tier can take it",
        ),
        ("declared=hipaa", "", "the app declared its data hipaa: it goes to local_ollama"),
        (
            "unknown",
            "",
            "it cannot be told whether the data is sensitive (cannot read image): it goes to local_ollama",
        ),
        ("embedding", "", "the call is an embedding: it goes to local_ollama"),
        ("model=openai/gpt-4o", "", "the app asked for openai/gpt-4o: it goes to openai"),
        (
            "quality=high complexity=high",
            "",
            "quality is high, complexity is high: it goes to ollama_cloud",
        ),
        (
            "quality=critical",
            "openai resting, cloud off",
            "quality is critical: openai keeps failing and rests and ollama_cloud is off, so it goes to "
            "local_ollama",
        ),
        ("legacy", "", "the call is in the legacy arm, whose tier is local_ollama: it goes to local_ollama"),
    ],
)  # fmt: skip
def test_the_last_step_says_what_came_of_it(words: str, matters: str, last: str) -> None:
    assert decided(words, matters).trace[-1].detail == last


def test_a_rule_that_fails_twice_says_both() -> None:
    steps = {step.rule: step.detail for step in decided("").trace}
    assert steps["high_quality"] == (
        "quality is medium, the rule wants high or better; complexity is low, the rule wants medium or higher"
    )


def test_what_nobody_said_is_called_so() -> None:
    steps = {step.rule: step.detail for step in decided("", policy=POLICIES["by model and app"]).trace}
    assert steps["wiki_app"] == "app is not given, the rule wants wiki*"
    assert steps["coding"] == "task type is not given, the rule wants code generation or research"


def test_the_estimator_s_words_stand_behind_the_complexity() -> None:
    features = call("")
    hints = Hints(complexity=Complexity.VERY_HIGH, complexity_why="12 context documents, deep work")
    decision = decide(msgspec.structs.replace(features, hints=hints), SAMPLE, ())
    assert decision.trace[-1].detail == (
        "complexity is very high (12 context documents, deep work): it goes to openai"
    )


def test_a_long_model_name_does_not_flood_the_trace() -> None:
    assert all(len(step.detail) < 300 for step in decided("model=" + "x" * 5_000).trace)


def test_the_plan_gives_the_reason_first_and_fallback_behind() -> None:
    assert [tier.reason for tier in decided("quality=critical", "openai off").plan] == [
        "critical_quality",
        FALLBACK,
    ]


def test_a_rejected_tier_says_what_was_the_matter() -> None:
    decision = decided("quality=critical needs=vision,tools", "openai $0.01, cloud lacks vision,schema")
    assert [tier.detail for tier in decision.rejected] == [
        "the call could cost $0.15, $0.01 is left (openai-month)",
        "it lacks vision",
    ]
    own_words = TierState("openai", unavailable="circuit_open", detail="5 failures in a row")
    assert decide(call("quality=critical"), SAMPLE, (own_words,)).rejected[0].detail == "5 failures in a row"


def test_a_priced_tier_under_a_cap_needs_a_known_worst_case() -> None:
    features = msgspec.structs.replace(call("quality=critical"), bounds_nano_usd={})
    capped = TierState("openai", remaining_nano_usd=10**12)
    assert decide(features, SAMPLE, (capped,)).rejected[0].reason == "budget_exhausted"
    assert decide(features, SAMPLE, (TierState("openai"),)).plan[0].tier == "openai"


@pytest.mark.parametrize("words", ["sensitive", "declared=pii", "unknown"])
def test_features_at_odds_with_themselves_never_let_a_call_out(words: str) -> None:
    features = msgspec.structs.replace(call(words), may_leave=words != "unknown")
    tiers = [tier.tier for tier in decide(features, POLICIES["everything to openai"], ()).plan]
    assert tiers == ["local_ollama"]


def test_two_policies_that_differ_in_a_rule_alone_are_told_apart() -> None:
    one = msgspec.structs.replace(SAMPLE, rules=(Rule("low", {"quality": "low"}, "openai"),))
    other = msgspec.structs.replace(SAMPLE, rules=(Rule("low", {"quality": ">low"}, "openai"),))
    assert [decided("quality=low", policy=policy).reason for policy in (one, other, one)] == [
        "low",
        "default_local",
        "low",
    ]


def test_a_condition_that_cannot_be_read_is_refused() -> None:
    broken = msgspec.structs.replace(SAMPLE, rules=(Rule("r", {"quality": "great"}, "openai"),))
    with pytest.raises(ValueError, match="'great' is no quality"):
        decided("", policy=broken)


def test_names_that_mean_something_already_are_reserved() -> None:
    steps = {step.rule for words in ("sensitive", "embedding", "legacy") for step in decided(words).trace}
    assert steps | {"pinned", "default", "default_local", FALLBACK, *IN_WORDS} <= RESERVED_RULE_NAMES


# Properties, over policies and calls of any kind.

NAMES = ("near", "nearer", "far", "farther")


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    tiers = tuple(
        TierPolicy(
            name,
            off_box=name.startswith("far"),
            priced=name.startswith("far"),
            models={"default": f"{name}-model"}
            | ({"embedding": f"{name}-embed"} if draw(st.booleans()) else {}),
        )
        for name in names
    )
    conditions: st.SearchStrategy[dict[str, str | int | list[str]]] = st.fixed_dictionaries(
        {},
        optional={
            "quality": st.sampled_from(["low", ">=high", "<critical"]),
            "complexity": st.sampled_from([">low", "<=high"]),
            "data_classification": st.sampled_from(["public", ">=internal"]),
            "batch_size": st.sampled_from([1, ">10"]),
            "model": st.sampled_from(["gpt-*", ["*"]]),
            "app": st.just("wiki*"),
        },
    )
    rules = draw(st.lists(st.tuples(conditions, st.sampled_from(names)), max_size=4))
    return Policy(
        tiers=tiers,
        default=draw(st.sampled_from(names)),
        fallback=tuple(draw(st.lists(st.sampled_from(names), unique=True))),
        legacy_tier=draw(st.sampled_from(names)),
        rules=tuple(Rule(f"rule_{n}", when, tier) for n, (when, tier) in enumerate(rules)),
        escalate_when_local_down=draw(st.booleans()),
    )


CAPABILITIES = st.frozensets(st.sampled_from(["vision", "tools", "schema"]))
FEATURES = st.builds(
    Features,
    door=st.just("/v1/chat/completions"),
    dialect=st.sampled_from(Dialect),
    operation=st.sampled_from(Operation),
    model=st.sampled_from(
        ["", "auto", "gpt-4o", "bge-m3", "a/b:c", *(f"{n}/m/x:1" for n in NAMES), "far/", "far/auto"]
    ),
    arm=st.sampled_from(Arm),
    hints=st.builds(
        Hints,
        task_type=st.none() | st.sampled_from(TaskType),
        data_classification=st.none() | st.sampled_from(DataClassification),
        quality=st.sampled_from(Quality),
        complexity=st.sampled_from(Complexity),
        batch_size=st.integers(1, 50),
        app=st.none() | st.sampled_from(["wiki", "shop"]),
    ),
    verdict=st.builds(Verdict, st.sampled_from(VerdictState), st.just({"email": 1}), st.just("said so")),
    may_leave=st.booleans(),
    needs=CAPABILITIES,
    bounds_nano_usd=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 10**9)),
)
STATES = st.lists(
    st.builds(
        TierState,
        name=st.sampled_from(NAMES),
        unavailable=st.sampled_from(["", "", "tier_off", "circuit_open", "saturated"]),
        remaining_nano_usd=st.none() | st.integers(-(10**9), 10**9),
        missing=CAPABILITIES,
    ),
    unique_by=lambda state: state.name,
).map(tuple)


def stays(features: Features) -> bool:
    declared = features.hints.data_classification
    return (
        not features.may_leave
        or features.verdict.state is VerdictState.SENSITIVE
        or (declared is not None and declared.forbids_leaving)
    )


@given(FEATURES, policies(), STATES)
def test_a_call_that_may_not_leave_has_no_tier_elsewhere(
    features: Features, policy: Policy, states: tuple[TierState, ...]
) -> None:
    decision = decide(features, policy, states)
    elsewhere = {tier.name for tier in policy.tiers if tier.off_box}
    if stays(features):
        assert elsewhere.isdisjoint(tier.tier for tier in decision.plan)
        assert elsewhere == {
            tier.tier for tier in decision.rejected if tier.reason == "not_permitted_to_leave"
        }


@given(FEATURES, policies(), STATES)
def test_the_embedding_model_is_never_swapped(
    features: Features, policy: Policy, states: tuple[TierState, ...]
) -> None:
    embedding = features.operation is Operation.EMBEDDINGS or features.hints.task_type is TaskType.EMBEDDING
    if not embedding or features.model in ("", "auto", "far/", "far/auto"):
        return
    tier, _, name = features.model.partition("/")
    bare = name if tier in {one.name for one in policy.tiers} else features.model
    for planned in decide(features, policy, states).plan:
        assert planned.model in (bare, features.model)
        assert planned.model == bare or features.arm is Arm.LEGACY


@given(FEATURES, policies(), STATES)
def test_a_routed_embedding_stays_on_this_machine(
    features: Features, policy: Policy, states: tuple[TierState, ...]
) -> None:
    features = msgspec.structs.replace(features, operation=Operation.EMBEDDINGS, arm=Arm.ROUTED)
    at_home = {tier.name for tier in policy.tiers if not tier.off_box}
    assert at_home.issuperset(tier.tier for tier in decide(features, policy, states).plan)


@given(FEATURES, policies(), STATES)
def test_a_decision_replays_from_its_record(
    features: Features, policy: Policy, states: tuple[TierState, ...]
) -> None:
    decision = decide(features, policy, states)
    record = msgspec.json.encode((features, policy, states, decision))
    again = msgspec.json.decode(record, type=tuple[Features, Policy, tuple[TierState, ...], Decision])
    assert again == (features, policy, states, decision)
    assert decide(again[0], again[1], again[2]) == decision


@given(FEATURES, policies(), STATES)
def test_every_decision_is_well_formed(
    features: Features, policy: Policy, states: tuple[TierState, ...]
) -> None:
    decision = decide(features, policy, states)
    named = [tier.tier for tier in decision.plan] + [tier.tier for tier in decision.rejected]
    assert len(named) == len(set(named)), "no tier twice, and none both planned and rejected"
    assert set(named) <= {tier.name for tier in policy.tiers}
    assert all(tier.model for tier in decision.plan)
    assert [step.applied for step in decision.trace] == [False] * (len(decision.trace) - 1) + [True]
    assert decision.trace[0].rule == "privacy"
    if decision.plan:
        assert decision.plan[0].reason == decision.reason


@given(FEATURES, policies(), STATES)
def test_the_trace_names_every_rule_up_to_the_one_that_applied(
    features: Features, policy: Policy, states: tuple[TierState, ...]
) -> None:
    decision = decide(features, policy, states)
    if features.arm is Arm.LEGACY:
        return
    order = [*FIRST, *(rule.name for rule in policy.rules), "default"]
    assert [step.rule for step in decision.trace] == order[: len(decision.trace)]


@given(FEATURES, policies(), STATES)
def test_no_tier_is_planned_that_is_off_resting_unfit_or_out_of_budget(
    features: Features, policy: Policy, states: tuple[TierState, ...]
) -> None:
    state_of = {state.name: state for state in states}
    priced = {tier.name for tier in policy.tiers if tier.priced}
    decision = decide(features, policy, states)
    for planned in decision.plan:
        state = state_of.get(planned.tier) or TierState(planned.tier)
        assert state.unavailable in ("", "saturated")
        if decision.reason != "rollout_legacy" or planned.tier != policy.legacy_tier:
            assert not features.needs & state.missing
        if planned.tier in priced and state.remaining_nano_usd is not None:
            assert 0 < state.remaining_nano_usd >= features.bounds_nano_usd[planned.tier]


@given(FEATURES, policies(), STATES)
def test_a_call_is_never_refused_while_a_tier_here_can_take_it(
    features: Features, policy: Policy, states: tuple[TierState, ...]
) -> None:
    state_of = {state.name: state for state in states}
    for tier in policy.tiers:
        state = state_of.get(tier.name, TierState(tier.name))
        if not tier.off_box and state.unavailable in ("", "saturated") and not features.needs & state.missing:
            assert decide(features, policy, states).plan


@given(FEATURES, policies(), STATES)
def test_from_a_tier_here_it_goes_up_only_with_leave(
    features: Features, policy: Policy, states: tuple[TierState, ...]
) -> None:
    decision = decide(features, msgspec.structs.replace(policy, escalate_when_local_down=False), states)
    off_box = {tier.name: tier.off_box for tier in policy.tiers}
    asked = [off_box[tier.tier] for tier in decision.plan]
    assert asked == sorted(asked, reverse=True), "those elsewhere first, then those here"
    if decision.reason == "default_local" and not off_box[policy.default]:
        assert not any(asked)
