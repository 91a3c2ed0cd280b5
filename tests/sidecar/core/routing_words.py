"""The short forms in which the routing table is written: policies, calls, tier states and plans."""

from __future__ import annotations

import msgspec

from sidecar.core.policy import Policy, Rule, TierPolicy
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
    Verdict,
    VerdictState,
)

LOCAL = TierPolicy("local_ollama", False, False, {"default": "llama3.2", "embedding": "nomic-embed-text"})
LOCAL_BIG = TierPolicy("local_big", False, False, {"default": "qwen3:32b"})
CLOUD = TierPolicy("ollama_cloud", True, True, {"default": "gpt-oss:120b", "code_generation": "qwen3-coder"})
OPENAI = TierPolicy("openai", True, True, {"default": "gpt-4o", "vision": "gpt-4o-vision"})

SAMPLE = Policy(
    tiers=(LOCAL, CLOUD, OPENAI),
    default="local_ollama",
    fallback=("openai", "ollama_cloud", "local_ollama"),
    legacy_tier="local_ollama",
    rules=(
        Rule("critical_quality", {"quality": "critical"}, "openai"),
        Rule("very_high_complexity", {"complexity": "very_high"}, "openai"),
        Rule("high_quality", {"quality": ">=high", "complexity": ">=medium"}, "ollama_cloud"),
        Rule("batch_processing", {"batch_size": ">10"}, "ollama_cloud"),
    ),
)
_replace = msgspec.structs.replace

#: The sample configuration, and others that differ from it in one thing.
POLICIES = {
    "sample": SAMPLE,
    "escalating": _replace(SAMPLE, escalate_when_local_down=True),
    "fallback upwards": _replace(SAMPLE, fallback=("local_ollama", "ollama_cloud", "openai")),
    "fallback without local": _replace(SAMPLE, fallback=("openai", "ollama_cloud")),
    "no fallback": _replace(SAMPLE, fallback=()),
    "legacy at openai": _replace(SAMPLE, legacy_tier="openai"),
    "default at the cloud": _replace(SAMPLE, default="ollama_cloud"),
    "two local tiers": _replace(SAMPLE, tiers=(LOCAL_BIG, LOCAL, CLOUD, OPENAI)),
    "no local tier": _replace(
        SAMPLE, tiers=(CLOUD, OPENAI), default="ollama_cloud", fallback=("openai", "ollama_cloud")
    ),
    "by model and app": _replace(
        SAMPLE,
        rules=(
            Rule("gpt_names", {"model": ["gpt-*", "o1-*"]}, "openai"),
            Rule("wiki_app", {"app": "wiki*"}, "ollama_cloud"),
            Rule("coding", {"task_type": ["code_generation", "research"]}, "ollama_cloud"),
            Rule("harmless", {"data_classification": "<=internal", "batch_size": 3}, "openai"),
        ),
    ),
    "everything to openai": _replace(SAMPLE, rules=(Rule("everything", {}, "openai"),)),
}

_SHORT = {"local": "local_ollama", "big": "local_big", "cloud": "ollama_cloud", "openai": "openai"}
_NAMES = {name: short for short, name in _SHORT.items()}
_DOWN = {"off": "tier_off", "resting": "circuit_open", "full": "saturated"}
_LEAVES = {"clean": True, "unknown-but-may-leave": True, "unknown": False, "sensitive": False}
_VERDICTS = {
    "clean": Verdict(VerdictState.CLEAN),
    "unknown": Verdict(VerdictState.UNKNOWN, why="cannot read image"),
    "unknown-but-may-leave": Verdict(VerdictState.UNKNOWN, why="cannot read image"),
    "sensitive": Verdict(VerdictState.SENSITIVE, {"email": 2, "iban": 1}),
}

#: What any call could cost at most: 1 cent at the cloud, 15 at OpenAI.
BOUNDS = {"ollama_cloud": 10_000_000, "openai": 150_000_000}


def call(words: str) -> Features:
    """``"clean quality=high model=auto"``: a verdict, the arm, the door, and hints; clean and routed chat
    with an open model unless it says otherwise."""
    hints: dict[str, object] = {}
    facts: dict[str, object] = {
        "model": "auto", "arm": Arm.ROUTED, "operation": Operation.CHAT, "door": "/v1/chat/completions",
        "verdict": _VERDICTS["clean"], "may_leave": True, "needs": frozenset(),
    }  # fmt: skip
    for word in words.split():
        key, _, value = word.partition("=")
        if key in _VERDICTS:
            facts |= {"verdict": _VERDICTS[key], "may_leave": _LEAVES[key]}
        elif key == "declared":
            declared = DataClassification(value)
            hints["data_classification"] = declared
            if declared.forbids_leaving:
                facts |= {"verdict": Verdict(VerdictState.SENSITIVE, why=word), "may_leave": False}
        elif key == "legacy":
            facts["arm"] = Arm.LEGACY
        elif key == "embedding":
            facts |= {"operation": Operation.EMBEDDINGS, "door": "/v1/embeddings"}
        elif key == "model":
            facts["model"] = value
        elif key == "needs":
            facts["needs"] = frozenset(value.split(","))
        else:
            kinds = {"quality": Quality, "complexity": Complexity, "task_type": TaskType, "batch_size": int}
            hints[key] = kinds.get(key, str)(value)
    return msgspec.convert(
        {**facts, "hints": Hints(**hints), "dialect": Dialect.OPENAI, "bounds_nano_usd": BOUNDS},  # type: ignore[arg-type]
        Features,
    )


def states(words: str, policy: Policy) -> tuple[TierState, ...]:
    """``"openai off, cloud $0.05, local lacks vision"``: what is the matter with some tiers."""
    matters = dict.fromkeys((tier.name for tier in policy.tiers), "")
    for matter in filter(None, words.split(", ")):
        short, _, what = matter.partition(" ")
        matters[_SHORT[short]] = what
    return tuple(_state(name, what) for name, what in matters.items())


def _state(name: str, what: str) -> TierState:
    if what.startswith("$"):
        nano_usd = round(float(what[1:]) * 100) * 10_000_000
        return TierState(name, remaining_nano_usd=nano_usd, budget_detail=f"{name}-month")
    if what.startswith("lacks "):
        return TierState(name, missing=frozenset(what.removeprefix("lacks ").split(",")))
    return TierState(name, unavailable=_DOWN[what] if what else "")


def plan_in_words(decision: Decision) -> str:
    """``"cloud gpt-oss:120b > local llama3.2"``; ``"nobody"`` for an empty plan."""
    return " > ".join(f"{_NAMES[tier.tier]} {tier.model}" for tier in decision.plan) or "nobody"


def rejected_in_words(decision: Decision) -> str:
    """``"openai budget_exhausted, cloud tier_off"``."""
    return ", ".join(f"{_NAMES[tier.tier]} {tier.reason}" for tier in decision.rejected)
