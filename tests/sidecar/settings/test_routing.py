"""What is refused in the rules, the fallback and the matches of a configuration."""

from __future__ import annotations

import pytest

from sidecar.core.policy import RESERVED_RULE_NAMES
from tests.sidecar.settings.configurations import SMALL, load, refusals

NAME = "expected letters, digits, _, . and -, at most 64"


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (
            "{rules: [{name: a, when: {quality: high}, tier: clod}]}",
            'routing.rules[0].tier: unknown tier "clod"; expected one of home, cloud; did you mean "cloud"?',
        ),
        (
            "{default: hme}",
            'routing.default: unknown tier "hme"; expected one of home, cloud; did you mean "home"?',
        ),
        ("{fallback: [cloud, '*']}", 'routing.fallback[1]: unknown tier "*"; expected one of home, cloud'),
        ("{fallback: [cloud, cloud]}", 'routing.fallback[1]: "cloud" a second time; expected each tier once'),
        (
            "{defalt: home}",
            "routing.defalt: unknown key; expected one of rules, default, fallback, matches, "
            'escalate_when_local_down; did you mean "default"?',
        ),
        (
            "{rules: [{name: a, when: {}, tier: home}, {name: a, when: {}, tier: home}]}",
            'routing.rules[1].name: "a" a second time; expected a name of its own',
        ),
        ("{rules: [{name: a b, when: {}, tier: home}]}", f'routing.rules[0].name: "a b"; {NAME}'),
        (
            "{rules: [{name: a, when: {qualty: high}, tier: home}]}",
            "routing.rules[0].when.qualty: there is no condition 'qualty'; write quality, complexity, "
            'data_classification, batch_size, task_type, model or app; did you mean "quality"?',
        ),
        (
            "{rules: [{name: a, when: {quality: '>=hgh'}, tier: home}]}",
            "routing.rules[0].when.quality: '>=hgh' is no quality; write low, medium, high or critical, "
            'or a bound such as ">=medium"; did you mean "high"?',
        ),
        (
            "{rules: [{name: a, when: {batch_size: many}, tier: home}]}",
            "routing.rules[0].when.batch_size: 'many' is no batch size; write a number such as 10, "
            'or a bound such as ">10"',
        ),
        (
            "{rules: [{name: a, when: {batch_size: true}, tier: home}]}",
            'routing.rules[0].when.batch_size: the truth value "true"; '
            "expected text or a whole number or a list",
        ),
        ("{rules: [{name: a, tier: home}]}", "routing.rules[0].when: missing; expected a mapping"),
        (
            "{matches: [{when: {modl: x}, hints: {}}]}",
            "routing.matches[0].when.modl: unknown key; expected one of model, app, endpoint; "
            'did you mean "model"?',
        ),
        (
            "{matches: [{when: {}, hints: {task_type: extracton}}]}",
            'routing.matches[0].hints.task_type: the text "extracton"; expected one of embedding, '
            "extraction, generation, code_generation, research, vision, summarization, answer_generation, "
            'memory_consolidation; did you mean "extraction"?',
        ),
        (
            "{matches: [{when: {}, hints: {batch_size: 0}}]}",
            'routing.matches[0].hints.batch_size: the number "0"; expected a whole number from 1 to 1000000',
        ),
    ],
)
def test_routing(section: str, problem: str) -> None:
    assert refusals(f"{SMALL}routing: {section}\n") == [f"15: {problem}"]


@pytest.mark.parametrize("name", sorted(RESERVED_RULE_NAMES))
def test_no_rule_takes_the_name_of_a_reason(name: str) -> None:
    assert refusals(f"{SMALL}routing: {{rules: [{{name: {name}, when: {{}}, tier: home}}]}}\n") == [
        f'15: routing.rules[0].name: "{name}", which means something else in decisions; expected another name'
    ]


def test_every_way_of_writing_a_condition() -> None:
    text = SMALL + (
        "routing:\n"
        "  rules:\n"
        "  - {name: a, when: {quality: high, complexity: '>=high', data_classification: '<pii'}, "
        "tier: cloud}\n"
        "  - {name: b, when: {batch_size: 10}, tier: cloud}\n"
        "  - {name: c, when: {batch_size: '>10', task_type: research}, tier: cloud}\n"
        "  - {name: d, when: {task_type: [research, vision], model: 'gpt-*', app: [x, 'y*']}, tier: cloud}\n"
        "  - {name: e, when: {}, tier: home}\n"
    )
    whens = [rule.when for rule in load(text).routing.rules]
    assert whens == [
        {"quality": "high", "complexity": ">=high", "data_classification": "<pii"},
        {"batch_size": 10},
        {"batch_size": ">10", "task_type": "research"},
        {"task_type": ["research", "vision"], "model": "gpt-*", "app": ["x", "y*"]},
        {},
    ]
