"""The models that a scripted upstream says it has."""

from __future__ import annotations

#: What is listed when any name is accepted.
_LISTED_FOR_ANY = ("scripted-small", "scripted-large", "scripted-embed")
_THINKING_FAMILIES = ("gpt-oss", "qwen3", "deepseek-r1")


class Models:
    """A list of names, or ``*`` for any name. As in Ollama, ``x`` and ``x:latest`` are the same."""

    def __init__(self, names: str) -> None:
        listed = tuple(name.strip() for name in names.split(",") if name.strip())
        self._any = "*" in listed
        self.names = tuple(name for name in listed if name != "*") or _LISTED_FOR_ANY

    def __contains__(self, name: str) -> bool:
        return self._any or _bare(name) in {_bare(known) for known in self.names}


def only_embeds(name: str) -> bool:
    """Whether a model of this name can do nothing but embeddings."""
    return "embed" in name


def abilities(name: str) -> list[str]:
    """What a model of this name can do besides writing; the name may say what it cannot (``no-tools-7b``)."""
    return [ability for ability in ("tools", "vision") if f"no-{ability}" not in name]


def thinks(name: str) -> bool:
    """Whether a model of this name thinks before it answers."""
    return name.startswith(_THINKING_FAMILIES)


def _bare(name: str) -> str:
    return name.removesuffix(":latest")
