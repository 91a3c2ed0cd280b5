"""What the configuration says of one tier; the settings read into it, the upstreams are built from it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from sidecar.core.breaker import BreakerLimits
from sidecar.core.capabilities import EVERY_MODEL, NOTHING_KNOWN, Capabilities
from sidecar.core.retry import RetryLimits
from sidecar.core.vocabulary import OPENAI_COMPLETIONS, OPENAI_RESPONSES, Dialect, Door

#: A duration in seconds; nought would time out before anything can happen.
Seconds = Annotated[float, msgspec.Meta(gt=0)]

#: Text that is never shown: not in a page, a log line or the words of a refusal.
Secret = Annotated[str, msgspec.Meta(extra={"secret": True})]


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits for one attempt, in seconds."""

    connect_s: Seconds = 2.0
    first_byte_s: Seconds = 120.0
    idle_s: Seconds = 30.0
    total_s: Seconds = 300.0


class QueueLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many calls may wait for a tier, and for how long."""

    max: Annotated[int, msgspec.Meta(ge=0)] = 64
    wait_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0


class PriceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price as the operator writes it: per 1k tokens for all, or per 1M by direction. Dollars."""

    usd_per_1k_tokens: float | str | None = None
    input_usd_per_1m: float | str | None = None
    output_usd_per_1m: float | str | None = None
    cached_input_usd_per_1m: float | str | None = None

    @property
    def figures(self) -> dict[str, str]:
        """The figures that are given, by key; read from a file they are the text that was written."""
        values = {key: getattr(self, key) for key in self.__struct_fields__}
        return {key: str(value) for key, value in values.items() if value is not None}


#: What one machine's model can do at a time, and what a cloud takes from one app without complaint.
_PLACES_ON_BOX = 4
_PLACES_OFF_BOX = 128


class TierSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tier. ``name`` is the key it stands under in ``tiers``.

    ``off_box`` is closed by default: a tier that does not say so is taken to be another machine, and
    then demands a permit, a key and a price. ``models_allowed`` are globs for the models, besides those of
    the table, that apps may name; none given, any. A ``max_concurrency`` of 0 means the usual: 4 calls at a
    time on this machine, 128 on another.
    """

    provider: str
    base_url: str
    models: dict[str, str]
    name: Annotated[str, msgspec.Meta(extra={"filled_in": True})] = ""
    off_box: bool = True
    trusted_hosts: tuple[str, ...] = ()
    api_key: Secret = ""
    price: PriceSpec | Literal["catalog"] | None = None
    models_allowed: tuple[str, ...] = ()
    default_max_tokens: Annotated[int, msgspec.Meta(ge=1)] = 1024
    capabilities: dict[str, Capabilities] = {}
    max_concurrency: Annotated[int, msgspec.Meta(ge=0)] = 0
    queue: QueueLimits = QueueLimits()
    timeouts: Timeouts = Timeouts()
    retry: RetryLimits = RetryLimits()
    breaker: BreakerLimits = BreakerLimits()

    def model_for(self, task_type: str | None) -> str:
        """The model for a task type, else the default one."""
        return self.models.get(task_type or "default") or self.models["default"]

    def said_of(self, model: str) -> Capabilities:
        """What the configuration says that ``model`` can do."""
        own = self.capabilities.get(model, NOTHING_KNOWN)
        return own.over(self.capabilities.get(EVERY_MODEL, NOTHING_KNOWN))

    def unserved_because(self, model: str) -> str:
        """Why the tier does not serve ``model``, which an app may have named; empty when it does.

        A price that the operator wrote is that of the tier, whatever the model. A catalog's was looked up for
        the models of the table only.
        """
        if model in self.models.values():
            return ""
        if self.price == "catalog":
            return "model: no price is known for it"
        if self.price is not None and self.provider == "openrouter" and model.endswith(":online"):
            return "model: searches are billed apart"
        if self.models_allowed and not any(fnmatchcase(model, glob) for glob in self.models_allowed):
            return "model: not one of models_allowed"
        return ""

    @property
    def dialect(self) -> Dialect | None:
        """The one of our dialects that this tier's provider speaks natively, if any."""
        return PROVIDER_DIALECTS.get(self.provider)

    def serves(self, door: Door, model: str) -> bool:
        """Whether the upstream itself speaks as ``door`` does for ``model``, so that bytes can be relayed."""
        if door == OPENAI_COMPLETIONS and self.provider == "openai":
            return model.startswith(_COMPLETION_MODELS)
        if door == OPENAI_RESPONSES:
            return self.provider in _SERVES_RESPONSES
        return door.dialect is self.dialect

    @property
    def places(self) -> int:
        """How many calls may be at work at a time."""
        return self.max_concurrency or (_PLACES_OFF_BOX if self.off_box else _PLACES_ON_BOX)

    @property
    def off_because(self) -> str:
        """Why the tier is off by configuration; empty when it is on."""
        if self.off_box and not self.api_key:
            return "no api_key is configured"
        return ""

    @property
    def stays_on_box(self) -> bool:
        """Whether ``base_url`` leads to this machine, or to a host that the operator trusts as such."""
        host = urlsplit(self.base_url).hostname or ""
        return is_loopback(host) or host in {trusted.lower() for trusted in self.trusted_hosts}


_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def is_loopback(host: str) -> bool:
    """Whether ``host``, in lower case, is ``localhost`` or a loopback address in its usual notation.

    Other notations (``127.1``, ``0x7f000001``) are not recognised: resolvers disagree on them.
    """
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in _LOOPBACK)


#: OpenAI's models that still continue a text; it refuses its chat models at ``/v1/completions``. Other
#: servers of the dialect take any model there.
_COMPLETION_MODELS = (
    "gpt-3.5-turbo-instruct",
    "davinci-002",
    "babbage-002",
    "ft:davinci-002",
    "ft:babbage-002",
)

#: Providers that surely serve OpenAI's Responses; of the dialect's other servers only the newest do.
_SERVES_RESPONSES = frozenset({"openai"})

#: Providers (any-llm's names) whose SDK may send a call again by itself, each time to be billed, and takes no
#: word against it; with how else to reach them, where there is a way.
UNTOLD_RETRIES: dict[str, str] = {
    "azure": "azureopenai, or openai with the base_url of the deployment",
    "bedrock": "",
    "huggingface": "openai with base_url https://router.huggingface.co/v1",
    "liner": "",
    "mistral": "openai with base_url https://api.mistral.ai/v1",
    "otari": "",
    "sagemaker": "",
    "watsonx": "",
    "xai": "openai with base_url https://api.x.ai/v1",
}

#: Providers (any-llm's names) that speak one of our dialects natively, so that bytes can be relayed.
PROVIDER_DIALECTS: dict[str, Dialect] = {
    "ollama": Dialect.OLLAMA,
    "openai": Dialect.OPENAI,
    "llamacpp": Dialect.OPENAI,
    "llamafile": Dialect.OPENAI,
    "lmstudio": Dialect.OPENAI,
    "vllm": Dialect.OPENAI,
    "openrouter": Dialect.OPENAI,
    "groq": Dialect.OPENAI,
    "together": Dialect.OPENAI,
    "deepseek": Dialect.OPENAI,
    "anthropic": Dialect.ANTHROPIC,
}
