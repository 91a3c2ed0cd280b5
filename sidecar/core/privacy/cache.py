"""Remembers what was found in a chunk, by keyed hash, within a bound on memory."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from sidecar.core.privacy.findings import Hit

_ENTRY_BYTES = 200
_HIT_BYTES = 120


class HitCache:
    """Least recently used chunks, bounded by entries and by bytes.

    The key of the hash is random per process, so that neither a dump nor a chosen text says anything
    about what others sent. Chunks themselves are never kept.
    """

    __slots__ = ("_bytes", "_bytes_max", "_entries", "_entries_max", "_key")

    def __init__(self, key: bytes, *, entries_max: int = 4_096, bytes_max: int = 2_000_000) -> None:
        self._key = key
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._entries: OrderedDict[bytes, tuple[Hit, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """What the entries weigh, estimated."""
        return self._bytes

    def digest(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20, key=self._key).digest()

    def get(self, digest: bytes) -> tuple[Hit, ...] | None:
        hits = self._entries.get(digest)
        if hits is not None:
            self._entries.move_to_end(digest)
        return hits

    def put(self, digest: bytes, hits: tuple[Hit, ...]) -> None:
        weight = _weight(hits)
        if digest in self._entries or weight > self._bytes_max:
            return
        self._entries[digest] = hits
        self._bytes += weight
        while len(self._entries) > self._entries_max or self._bytes > self._bytes_max:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= _weight(oldest)


def _weight(hits: tuple[Hit, ...]) -> int:
    return _ENTRY_BYTES + _HIT_BYTES * len(hits)
