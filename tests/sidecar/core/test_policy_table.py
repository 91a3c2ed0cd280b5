# ruff: noqa: E501 (a row of the table is one line)
"""The routing table: one sentence per case, to be read by whoever answers for the policy.

Each row: what is to be seen | the call | what is the matter with the tiers | who is asked, with which model,
in order | why | who was passed over, and why. The short forms are explained in ``routing_words``.
"""

from __future__ import annotations

import pytest

from sidecar.core.policy import decide
from tests.sidecar.core.routing_words import POLICIES, call, plan_in_words, rejected_in_words, states

AWAY = "cloud not_permitted_to_leave, openai not_permitted_to_leave"
ALL = "openai gpt-4o > cloud gpt-oss:120b > local llama3.2"
CLOUD_LOCAL = "cloud gpt-oss:120b > local llama3.2"
LOCAL = "local llama3.2"

TABLES = {
    "sample": f"""
        # The default
        A plain call is answered here | | | {LOCAL} | default_local |
        So is one of low quality | quality=low | | {LOCAL} | default_local |
        High quality alone is no reason to go up | quality=high | | {LOCAL} | default_local |
        High complexity alone is no reason to go up | complexity=high | | {LOCAL} | default_local |
        A batch of ten is not yet a batch | batch_size=10 | | {LOCAL} | default_local |
        A model of another provider is not a pin | model=gpt-4o | | {LOCAL} | default_local |
        A slash that names no tier is not a pin | model=meta/llama3 | | {LOCAL} | default_local |
        No model name at all | model= | | {LOCAL} | default_local |
        A local tag with a colon is not a pin | model=llama3.2:1b | | {LOCAL} | default_local |
        A full local tier keeps the call in its queue | | local full | {LOCAL} | default_local |
        Local off and nothing may go up | | local off | nobody | default_local | local tier_off, {AWAY}
        Local resting and nothing may go up | | local resting | nobody | default_local | local circuit_open, {AWAY}
        Local lacks what the call needs | needs=vision | local lacks vision | nobody | default_local | local capability_missing, {AWAY}
        Local lacks something the call does not need | needs=tools | local lacks vision | {LOCAL} | default_local |
        Trouble at tiers that are not asked plays no part | | openai off, cloud full | {LOCAL} | default_local |

        # The rules, first match wins
        Critical quality | quality=critical | | {ALL} | critical_quality |
        Very high complexity | complexity=very_high | | {ALL} | very_high_complexity |
        High quality and medium complexity | quality=high complexity=medium | | {CLOUD_LOCAL} | high_quality |
        High quality and high complexity | quality=high complexity=high | | {CLOUD_LOCAL} | high_quality |
        Both of the first two: the first one is the reason | quality=critical complexity=very_high | | {ALL} | critical_quality |
        Very high complexity stands before high quality | quality=high complexity=very_high | | {ALL} | very_high_complexity |
        Critical and simple is still critical | quality=critical complexity=low | | {ALL} | critical_quality |
        A batch of eleven | batch_size=11 | | {CLOUD_LOCAL} | batch_processing |
        A large batch of high quality: the earlier rule | quality=high complexity=medium batch_size=500 | | {CLOUD_LOCAL} | high_quality |
        A large batch of low quality | quality=low batch_size=500 | | {CLOUD_LOCAL} | batch_processing |
        A tier has a model for the task | batch_size=50 task_type=code_generation | | cloud qwen3-coder > local llama3.2 | batch_processing |
        Each tier in line has its own | quality=critical task_type=vision | | openai gpt-4o-vision > cloud gpt-oss:120b > local llama3.2 | critical_quality |
        Declared public and clean | quality=critical declared=public | | {ALL} | critical_quality |
        Declared internal and clean | quality=critical declared=internal | | {ALL} | critical_quality |
        Not told apart, but the mode lets it go | unknown-but-may-leave quality=critical | | {ALL} | critical_quality |

        # The tier a rule names cannot take the call
        OpenAI off: the next to its right | quality=critical | openai off | {CLOUD_LOCAL} | critical_quality | openai tier_off
        OpenAI resting | quality=critical | openai resting | {CLOUD_LOCAL} | critical_quality | openai circuit_open
        OpenAI full | quality=critical | openai full | {CLOUD_LOCAL} | critical_quality | openai saturated
        OpenAI lacks vision | quality=critical needs=vision | openai lacks vision | {CLOUD_LOCAL} | critical_quality | openai capability_missing
        OpenAI's cap leaves too little | quality=critical | openai $0.14 | {CLOUD_LOCAL} | critical_quality | openai budget_exhausted
        OpenAI's cap leaves just enough | quality=critical | openai $0.15 | {ALL} | critical_quality |
        OpenAI's cap is spent | quality=critical | openai $0 | {CLOUD_LOCAL} | critical_quality | openai budget_exhausted
        OpenAI's cap was lowered below what is spent | quality=critical | openai $-5 | {CLOUD_LOCAL} | critical_quality | openai budget_exhausted
        Both paid tiers out of budget: local answers | quality=critical | openai $0, cloud $0 | {LOCAL} | critical_quality | openai budget_exhausted, cloud budget_exhausted
        Each for a reason of its own | quality=critical | openai $0, cloud resting | {LOCAL} | critical_quality | openai budget_exhausted, cloud circuit_open
        The cloud in the middle is out: it is skipped in the line | quality=critical | cloud off | openai gpt-4o > local llama3.2 | critical_quality | cloud tier_off
        Local at the end is out: the paid ones are left | quality=critical | local off | openai gpt-4o > cloud gpt-oss:120b | critical_quality | local tier_off
        The cloud out of budget does not send a call up to OpenAI | batch_size=50 | cloud $0 | {LOCAL} | batch_processing | cloud budget_exhausted
        The cloud and local out do not send a call up to OpenAI | batch_size=50 | cloud off, local off | nobody | batch_processing | cloud tier_off, local tier_off, openai not_permitted_to_leave
        A full cloud is passed over while local has room | batch_size=50 | cloud full | {LOCAL} | batch_processing | cloud saturated
        All full: the call waits for the one that the rule names | batch_size=50 | cloud full, local full | {CLOUD_LOCAL} | batch_processing |
        The one with room is off, so the call waits for the full one | batch_size=50 | cloud full, local off | cloud gpt-oss:120b | batch_processing | local tier_off
        A full tier that also lacks vision is not waited for | batch_size=50 needs=vision | cloud lacks vision, local full | {LOCAL} | batch_processing | cloud capability_missing
        Nobody at all | quality=critical | openai off, cloud off, local off | nobody | critical_quality | openai tier_off, cloud tier_off, local tier_off

        # Pinned
        A pin chooses tier and model | model=openai/gpt-4o-mini | | openai gpt-4o-mini > cloud gpt-oss:120b > local llama3.2 | pinned |
        A pin to the cloud, with a tag | model=ollama_cloud/qwen3:480b | | cloud qwen3:480b > local llama3.2 | pinned |
        A pinned model may hold slashes | model=openai/org/tune:7 | | openai org/tune:7 > cloud gpt-oss:120b > local llama3.2 | pinned |
        A pin to local | model=local_ollama/phi4 | | local phi4 | pinned |
        A pin to a tier alone takes that tier's model | model=openai/ | | {ALL} | pinned |
        A pin to a tier with an open model | model=openai/auto | | {ALL} | pinned |
        A pin stands before the rules | model=local_ollama/phi4 quality=critical | | local phi4 | pinned |
        A pin obeys the budget | model=openai/gpt-4o | openai $0 | {CLOUD_LOCAL} | pinned | openai budget_exhausted
        A pin to a tier that is off | model=openai/gpt-4o | openai off | {CLOUD_LOCAL} | pinned | openai tier_off
        A pin to a tier that rests; the next has its own model | model=ollama_cloud/x | cloud resting | {LOCAL} | pinned | cloud circuit_open
        A pin to local does not go up when local is off | model=local_ollama/phi4 | local off | nobody | pinned | local tier_off, {AWAY}
        A pin to full local waits | model=local_ollama/phi4 | local full | local phi4 | pinned |

        # Privacy
        Sensitive data stays | sensitive | | {LOCAL} | sensitive_data_local_only | {AWAY}
        Sensitive data of critical quality stays | sensitive quality=critical | | {LOCAL} | sensitive_data_local_only | {AWAY}
        Sensitive data in a batch stays | sensitive batch_size=900 | | {LOCAL} | sensitive_data_local_only | {AWAY}
        Declared confidential | declared=confidential | | {LOCAL} | sensitive_data_local_only | {AWAY}
        Declared as personal data | declared=pii quality=critical | | {LOCAL} | sensitive_data_local_only | {AWAY}
        Declared as health data | declared=hipaa complexity=very_high | | {LOCAL} | sensitive_data_local_only | {AWAY}
        Declared public does not lower what was found | declared=public sensitive | | {LOCAL} | sensitive_data_local_only | {AWAY}
        What cannot be told apart stays in strict mode | unknown quality=critical | | {LOCAL} | unknown_data_local_only | {AWAY}
        A pin to OpenAI does not help | sensitive model=openai/gpt-4o | | {LOCAL} | sensitive_data_local_only | {AWAY}
        A pin to a local model stands | sensitive model=local_ollama/phi4 | | local phi4 | sensitive_data_local_only | {AWAY}
        A full local tier: the call waits | sensitive | local full | {LOCAL} | sensitive_data_local_only | {AWAY}
        Local off: nobody, whatever is free elsewhere | sensitive | local off | nobody | sensitive_data_local_only | {AWAY}, local tier_off
        Local resting: nobody | unknown | local resting | nobody | unknown_data_local_only | {AWAY}, local circuit_open

        # Embeddings
        An embedding stays, with its model | embedding model=text-embedding-3-small | | local text-embedding-3-small | embedding_local_only | {AWAY}
        An open embedding model is the tier's | embedding model=auto | | local nomic-embed-text | embedding_local_only | {AWAY}
        No embedding model at all | embedding model= | | local nomic-embed-text | embedding_local_only | {AWAY}
        A tier's name before an embedding model is taken off | embedding model=local_ollama/bge-m3 | | local bge-m3 | embedding_local_only | {AWAY}
        Even that of a tier elsewhere | embedding model=openai/text-embedding-3-large | | local text-embedding-3-large | embedding_local_only | {AWAY}
        Another organisation's name is part of the model | embedding model=BAAI/bge-m3 | | local BAAI/bge-m3 | embedding_local_only | {AWAY}
        A chat call that says it is an embedding | task_type=embedding model=bge-m3 | | local bge-m3 | embedding_local_only | {AWAY}
        Embeddings stand before the rules | embedding model=bge-m3 batch_size=500 quality=critical | | local bge-m3 | embedding_local_only | {AWAY}
        A sensitive embedding: privacy is the reason | embedding sensitive model=bge-m3 | | local bge-m3 | sensitive_data_local_only | {AWAY}
        An embedding not told apart: privacy is the reason | embedding unknown model=bge-m3 | | local bge-m3 | unknown_data_local_only | {AWAY}
        An embedding does not go up when local is off | embedding model=bge-m3 | local off | nobody | embedding_local_only | {AWAY}, local tier_off

        # The legacy arm at the local tier
        The name goes through untouched | legacy model=llama2 | | local llama2 | rollout_legacy |
        But auto is no name: it is the tier's | legacy model=auto | | local llama3.2 | rollout_legacy |
        The tier's for embeddings, for one of those | legacy embedding model=auto | | local nomic-embed-text | rollout_legacy |
        Even what would be a pin | legacy model=openai/gpt-4o | | local openai/gpt-4o | rollout_legacy |
        A missing name is the tier's | legacy model= | | local llama3.2 | rollout_legacy |
        The rules play no part | legacy model=llama2 quality=critical batch_size=900 | | local llama2 | rollout_legacy |
        Sensitive data was there already | legacy sensitive model=llama2 | | local llama2 | rollout_legacy | {AWAY}
        An embedding is where it was | legacy embedding model=bge-m3 | | local bge-m3 | rollout_legacy |
        It waits at a full tier | legacy model=llama2 | local full | local llama2 | rollout_legacy |
        What the tier lacks is between it and the app | legacy model=llama2 needs=vision | local lacks vision | local llama2 | rollout_legacy |
        Local off: nothing stands to its right | legacy model=llama2 | local off | nobody | rollout_legacy | local tier_off, {AWAY}
        Local off and the data sensitive | legacy sensitive model=llama2 | local off | nobody | rollout_legacy | {AWAY}, local tier_off
    """,
    "legacy at openai": f"""
        The app's own model at its own tier, and nobody else | legacy model=gpt-4-turbo | | openai gpt-4-turbo | rollout_legacy |
        An embedding that may leave goes where it went | legacy embedding model=text-embedding-3-small | | openai text-embedding-3-small | rollout_legacy |
        Sensitive data comes home, with a local model | legacy sensitive model=gpt-4-turbo | | {LOCAL} | sensitive_data_local_only | {AWAY}
        Data not told apart comes home | legacy unknown model=gpt-4-turbo | | {LOCAL} | unknown_data_local_only | {AWAY}
        A sensitive embedding comes home and keeps its model | legacy embedding sensitive model=text-embedding-3-small | | local text-embedding-3-small | sensitive_data_local_only | {AWAY}
        Sensitive and local off | legacy sensitive model=gpt-4-turbo | local off | nobody | sensitive_data_local_only | {AWAY}, local tier_off
        Out of budget: the tiers to the right, with their models | legacy model=gpt-4-turbo | openai $0 | {CLOUD_LOCAL} | rollout_legacy | openai budget_exhausted
        Off: the same | legacy model=gpt-4-turbo | openai off | {CLOUD_LOCAL} | rollout_legacy | openai tier_off
        Resting, and the cloud out of budget | legacy model=gpt-4-turbo | openai resting, cloud $0 | {LOCAL} | rollout_legacy | openai circuit_open, cloud budget_exhausted
        Full: the app waits as it did | legacy model=gpt-4-turbo | openai full | openai gpt-4-turbo | rollout_legacy |
        Full and out of budget | legacy model=gpt-4-turbo | openai $0.01 | {CLOUD_LOCAL} | rollout_legacy | openai budget_exhausted
        An embedding out of budget comes home, never to another cloud | legacy embedding model=text-embedding-3-small | openai $0 | local text-embedding-3-small | rollout_legacy | openai budget_exhausted
        The routed arm does not care about the legacy tier | model=gpt-4-turbo | | {LOCAL} | default_local |
    """,
    "escalating": f"""
        Local has room: the paid tiers stand behind it, cheapest first | | | {LOCAL} > cloud gpt-oss:120b > openai gpt-4o | default_local |
        Local off: up to the cheapest | | local off | cloud gpt-oss:120b > openai gpt-4o | default_local | local tier_off
        Local full: up as well | | local full | cloud gpt-oss:120b > openai gpt-4o | default_local | local saturated
        Local off and the cloud out of budget | | local off, cloud $0 | openai gpt-4o | default_local | local tier_off, cloud budget_exhausted
        Local off and no budget anywhere | | local off, cloud $0, openai $0 | nobody | default_local | local tier_off, cloud budget_exhausted, openai budget_exhausted
        Local full and no budget anywhere: it waits | | local full, cloud $0, openai $0 | {LOCAL} | default_local | cloud budget_exhausted, openai budget_exhausted
        Sensitive data never goes up | sensitive | local off | nobody | sensitive_data_local_only | {AWAY}, local tier_off
        Data not told apart never goes up | unknown | local off | nobody | unknown_data_local_only | {AWAY}, local tier_off
        An embedding never goes up | embedding model=bge-m3 | local off | nobody | embedding_local_only | {AWAY}, local tier_off
        A batch that the cloud and local cannot take goes up to OpenAI | batch_size=50 | cloud off, local off | openai gpt-4o | batch_processing | cloud tier_off, local tier_off
        A pin to local goes up when local is off | model=local_ollama/phi4 | local off | cloud gpt-oss:120b > openai gpt-4o | pinned | local tier_off
        The legacy arm too | legacy model=llama2 | local off | cloud gpt-oss:120b > openai gpt-4o | rollout_legacy | local tier_off
    """,
    "fallback upwards": f"""
        From local nothing goes up without leave | | local off | nobody | default_local | local tier_off, {AWAY}
        From the cloud it goes on to OpenAI, and home at last | batch_size=50 | cloud off | openai gpt-4o > local llama3.2 | batch_processing | cloud tier_off
        From OpenAI nothing is to the right, but local answers | quality=critical | openai $0 | {LOCAL} | critical_quality | openai budget_exhausted
    """,
    "fallback without local": f"""
        Local answers all the same when the line has ended | quality=critical | openai $0, cloud $0 | {LOCAL} | critical_quality | openai budget_exhausted, cloud budget_exhausted
        A default that is not in the line | | | {LOCAL} | default_local |
    """,
    "no fallback": f"""
        Local stands in for everyone | quality=critical | openai off | {LOCAL} | critical_quality | openai tier_off
    """,
    "default at the cloud": f"""
        The default may be elsewhere | | | {CLOUD_LOCAL} | default_local |
        Sensitive data stays here all the same | sensitive | | {LOCAL} | sensitive_data_local_only | {AWAY}
        Out of budget, it comes home | | cloud $0 | {LOCAL} | default_local | cloud budget_exhausted
    """,
    "two local tiers": f"""
        The default one before the other | sensitive | | {LOCAL} > big qwen3:32b | sensitive_data_local_only | {AWAY}
        The other when the default one is off | sensitive | local off | big qwen3:32b | sensitive_data_local_only | {AWAY}, local tier_off
        The one with room before the full one | unknown | local full | big qwen3:32b | unknown_data_local_only | {AWAY}, local saturated
        Both full: it waits | sensitive | local full, big full | {LOCAL} > big qwen3:32b | sensitive_data_local_only | {AWAY}
        A pin to the other one stands | sensitive model=local_big/phi4 | | big phi4 > local llama3.2 | sensitive_data_local_only | {AWAY}
        An embedding keeps its model at either | embedding model=bge-m3 | local off | big bge-m3 | embedding_local_only | {AWAY}, local tier_off
        A plain call finds the other one too | | local off | big qwen3:32b | default_local | local tier_off
        So does the legacy arm | legacy model=llama2 | local off | big qwen3:32b | rollout_legacy | local tier_off
        So does sensitive data in the legacy arm | legacy sensitive model=llama2 | local off | big qwen3:32b | rollout_legacy | {AWAY}, local tier_off
    """,
    "no local tier": f"""
        Sensitive data has nowhere to go | sensitive | | nobody | sensitive_data_local_only | {AWAY}
        Embeddings have nowhere to go | embedding model=bge-m3 | | nobody | embedding_local_only | {AWAY}
    """,
    "by model and app": f"""
        A name that a pattern knows | model=gpt-4o | | {ALL} | gpt_names |
        The second pattern of the list | model=o1-mini | | {ALL} | gpt_names |
        Patterns heed case | model=GPT-4o | | {LOCAL} | default_local |
        The app's name | app=wiki-bot | | {CLOUD_LOCAL} | wiki_app |
        Another app's name | app=shop | | {LOCAL} | default_local |
        A task of the list | task_type=research | | {CLOUD_LOCAL} | coding |
        A task that is not | task_type=summarization | | {LOCAL} | default_local |
        Declared harmless, and a batch of exactly three | declared=public batch_size=3 | | {ALL} | harmless |
        A batch of four | declared=public batch_size=4 | | {LOCAL} | default_local |
        Nothing declared is not declared harmless | batch_size=3 | | {LOCAL} | default_local |
    """,
    "everything to openai": f"""
        A rule without conditions takes every call | | | {ALL} | everything |
        But none that may not leave | unknown | | {LOCAL} | unknown_data_local_only | {AWAY}
        And no embedding | embedding model=bge-m3 | | local bge-m3 | embedding_local_only | {AWAY}
    """,
}  # fmt: skip


def rows() -> list[tuple[str, ...]]:
    found = []
    for policy, table in TABLES.items():
        for line in filter(None, map(str.strip, table.splitlines())):
            if not line.startswith("#"):
                cells = [cell.strip() for cell in line.split("|")]
                assert len(cells) == 6, line
                found.append((policy, *cells))
    return found


@pytest.mark.parametrize(
    ("policy", "sentence", "asked", "matters", "plan", "reason", "rejected"),
    rows(),
    ids=[f"{row[0]}: {row[1]}" for row in rows()],
)
def test_the_table(
    policy: str, sentence: str, asked: str, matters: str, plan: str, reason: str, rejected: str
) -> None:
    in_force = POLICIES[policy]
    decision = decide(call(asked), in_force, states(matters, in_force))
    assert plan_in_words(decision) == plan, sentence
    assert decision.reason == reason
    assert rejected_in_words(decision) == rejected
