"""Whether the decision lets a call leave, and in which words."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.core.leaving import is_sensitive, may_leave
from tests.sidecar.core.routing_words import call


@pytest.mark.parametrize(
    ("words", "leaves", "sensitive", "why"),
    [
        ("clean", True, False, "nothing sensitive was found, the call may leave"),
        ("declared=internal", True, False, "nothing sensitive was found, the call may leave"),
        ("declared=confidential", False, True, "the app declared its data confidential"),
        ("sensitive", False, True, "sensitive data was found (2 email, 1 iban)"),
        ("sensitive declared=pii", False, True, "the app declared its data pii"),
        ("unknown", False, False, "it cannot be told whether the data is sensitive (cannot read image)"),
        (
            "unknown-but-may-leave",
            True,
            False,
            "it cannot be told whether the data is sensitive (cannot read image), and such calls may leave",
        ),
    ],
)
def test_the_gate_s_word_in_words(words: str, leaves: bool, sensitive: bool, why: str) -> None:
    features = call(words)
    assert may_leave(features) == (leaves, why)
    assert is_sensitive(features) is sensitive


@pytest.mark.parametrize("words", ["sensitive", "declared=confidential", "declared=pii", "declared=hipaa"])
def test_a_permit_at_odds_with_what_is_known_is_not_heeded(words: str) -> None:
    assert may_leave(msgspec.structs.replace(call(words), may_leave=True))[0] is False


def test_a_clean_call_without_a_permit_stays() -> None:
    features = msgspec.structs.replace(call("clean"), may_leave=False)
    assert may_leave(features) == (False, "the privacy gate gave no permit to leave")
