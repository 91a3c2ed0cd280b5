"""Every front door has a translation, so that any tier can answer it."""

from __future__ import annotations

from sidecar.core.vocabulary import DOORS, Operation
from sidecar.wire.translations import TRANSLATIONS


def test_every_door_can_be_translated() -> None:
    doors = {door for door in DOORS.values() if door.operation is not Operation.COUNT_TOKENS}
    assert set(TRANSLATIONS) == doors
    chats = {door for door in TRANSLATIONS if door.operation is not Operation.EMBEDDINGS}
    assert chats == {door for door, translation in TRANSLATIONS.items() if translation.stream is not None}
