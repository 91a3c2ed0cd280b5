"""Says key by key what differs between two settings, for the audit log; secrets stay hidden."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sidecar.core.vocabulary import to_plain
from sidecar.settings.schema import Settings

#: What stands for a secret that was replaced by another one.
REPLACED = "(hidden, another one)"


def differences(old: Settings, new: Settings) -> dict[str, tuple[Any, Any]]:
    """Old and new of every key that changed, in the order of the file; None where there was or is nothing.

    Entries of lists that have names, as caps and rules do, are told apart by them. A list whose order alone
    changed is told whole.
    """
    hidden_old, hidden_new = _shown(old.redacted()), _shown(new.redacted())
    found = {}
    for key, (before, after) in _changed(_shown(to_plain(old)), _shown(to_plain(new)), ()):
        shown_before, shown_after = _under(hidden_old, key), _under(hidden_new, key)
        if shown_before == shown_after and before and after:
            shown_after = REPLACED
        found[".".join(key)] = (shown_before, shown_after)
    return found


def _shown(plain: dict[str, Any]) -> dict[str, Any]:
    """Without what nobody wrote into the file."""
    return {key: value for key, value in plain.items() if key != "warnings"}


def _changed(
    old: dict[str, Any], new: dict[str, Any], at: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[Any, Any]]]:
    for key in dict.fromkeys((*old, *new)):
        before, after, here = old.get(key), new.get(key), (*at, key)
        if before == after:
            continue
        before_by_key, after_by_key = _by_key(before), _by_key(after)
        if before_by_key is None or after_by_key is None or before_by_key == after_by_key:
            yield here, (before, after)
        else:
            yield from _changed(before_by_key, after_by_key, here)


def _by_key(value: Any) -> dict[str, Any] | None:
    """A mapping, or a list of named mappings by their names; None for anything else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, dict) and "name" in item for item in value):
        return {item["name"]: item for item in value}
    return None


def _under(plain: Any, key: tuple[str, ...]) -> Any:
    """The value under ``key``; None where there is none."""
    for part in key:
        plain = (_by_key(plain) or {}).get(part)
    return plain
