"""The any-llm lane: calls whose dialect is not the tier's are translated and made through any-llm.

The only module that imports any_llm, and only when the lane is first needed: the import takes 1.5 s and
80 MB. It runs in a thread, so that the calls of other lanes go on meanwhile, and nobody waits for it at exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import msgspec

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.core.ports import Answer, OutboundCall, Tally
from sidecar.core.tiers import TierSpec
from sidecar.core.vocabulary import Dialect, Operation
from sidecar.upstreams.any_llm_answers import Stopwatch, StreamedAnswer, WholeAnswer
from sidecar.upstreams.any_llm_faults import fault_of
from sidecar.upstreams.any_llm_http import HttpGuard, HttpNote, current_note
from sidecar.upstreams.faults import is_odd_type, plain_type
from sidecar.upstreams.own_thread import in_own_thread
from sidecar.wire.openai_tally import tally_completion, tally_embeddings
from sidecar.wire.target_fields import Family, Target, chat_arguments, embedding_arguments
from sidecar.wire.token_estimate import count_body
from sidecar.wire.translations import TRANSLATIONS

if TYPE_CHECKING:
    from any_llm import AnyLLM

#: The key that the SDKs are made with, lest they take the environment's. The guard puts the tier's in place.
_NO_KEY = "none"

#: Loggers of the SDKs. Below a warning some of them write prompts, and URLs with what stands in them.
_TALKATIVE = ("any_llm", "anthropic", "httpcore", "httpcore2", "httpx", "httpx2", "openai")


class AnyLLMLane:
    """Makes one tier's translated calls with one any-llm instance; see ``UpstreamLane``.

    ``clock_s`` is monotonic, ``wall_s`` Unix time, both in seconds.
    """

    def __init__(self, *, tier: TierSpec, clock_s: Callable[[], float], wall_s: Callable[[], float]) -> None:
        self._tier = tier
        self._clock_s = clock_s
        self._wall_s = wall_s
        self._making: asyncio.Future[_Provider] | None = None

    async def warm(self) -> None:
        """Import any-llm and make the instance. Raises ``UpstreamFault`` if the provider cannot be had."""
        await self._provider()

    async def send(self, call: OutboundCall) -> Answer:
        """One attempt; see ``UpstreamLane``."""
        if call.door.operation is Operation.COUNT_TOKENS:
            tally = Tally()
            return WholeAnswer(count_body(call.fields, tally), "application/json", tally)
        provider = await self._provider()
        arguments = _arguments(call, provider.target)
        timeouts = self._tier.timeouts
        stopwatch = Stopwatch(self._clock_s, timeouts.total_s)
        note = HttpNote(
            call.headers, watched=provider.target.family is not Family.OTHER, key=self._tier.api_key
        )
        token = current_note.set(note)
        try:
            async with asyncio.timeout(min(timeouts.first_byte_s, timeouts.total_s)):
                if call.door.operation is Operation.EMBEDDINGS or not call.stream:
                    return await self._whole(provider.llm, call, arguments, note, stopwatch)
                return await self._streamed(provider.llm, call, arguments, note, stopwatch)
        except Exception as error:
            # The cause's text may quote the prompt, so it must not ride along into a log.
            raise fault_of(error, note, timeouts) from None
        finally:
            current_note.reset(token)

    async def _whole(
        self, llm: AnyLLM, call: OutboundCall, arguments: dict[str, Any], note: HttpNote, stopwatch: Stopwatch
    ) -> WholeAnswer:
        tally = Tally()
        if call.door.operation is Operation.EMBEDDINGS:
            embeddings = await llm.aembedding(model=call.model, **arguments)
            _refuse_odd_type(note, stream=False)
            # pydantic would warn of what an upstream sends beside the types, such as vectors in base64.
            answer = embeddings.model_dump(exclude_none=True, warnings=False)
            tally_embeddings(tally, answer)
        else:
            completion: Any = await llm.acompletion(model=call.model, **arguments)
            _refuse_odd_type(note, stream=False)
            answer = completion.model_dump(exclude_none=True, warnings=False)
            if not answer["choices"]:
                raise UpstreamFault(Fault.EMPTY, "answered 200 without a choice")
            if note.content is not None:
                answer["choices"][0]["message"]["content"] = note.content
                answer["choices"][0]["message"].pop("reasoning", None)
            tally_completion(tally, answer)
        translation = TRANSLATIONS[call.door]
        body = translation.whole(call, answer, self._wall_s(), stopwatch.timings())
        return WholeAnswer(body, translation.whole_type, tally)

    async def _streamed(
        self, llm: AnyLLM, call: OutboundCall, arguments: dict[str, Any], note: HttpNote, stopwatch: Stopwatch
    ) -> StreamedAnswer:
        chunks = await llm.acompletion(model=call.model, stream=True, **arguments)
        translation = TRANSLATIONS[call.door]
        assert translation.stream is not None
        answer = StreamedAnswer(
            chunks,
            translation.stream(call),
            translation.stream_type,
            note,
            timeouts=self._tier.timeouts,
            stopwatch=stopwatch,
            wall_s=self._wall_s,
        )
        try:
            await answer.start()
            _refuse_odd_type(note, stream=True)
        except BaseException:
            await answer.aclose()
            raise
        return answer

    async def aclose(self) -> None:
        """Close the pooled connections; what is still being made has none."""
        making, self._making = self._making, None
        if making is None or not making.done():
            return
        with contextlib.suppress(UpstreamFault):
            provider = making.result()
            if provider.target.family is not Family.OTHER:
                await provider.llm.client.close()  # type: ignore[attr-defined]

    async def _provider(self) -> _Provider:
        if self._making is None:
            self._making = in_own_thread(partial(_make_provider, self._tier))
        try:
            # Shielded: a caller who leaves must not spoil the instance for those who wait for it too.
            return await asyncio.shield(self._making)
        except UpstreamFault:
            self._making = None
            raise


def _refuse_odd_type(note: HttpNote, *, stream: bool) -> None:
    """Raises ``UpstreamFault`` for an answer that is no JSON, or no stream, by its own word."""
    content_type = note.response.headers.get("content-type") if note.response is not None else None
    if is_odd_type(content_type, stream=stream):
        raise UpstreamFault(Fault.GARBAGE, f"answered 200 with {plain_type(content_type)}")


class _Provider(msgspec.Struct, frozen=True):
    """any-llm's instance for a tier, and what the translation must know of it."""

    llm: AnyLLM
    target: Target


def _arguments(call: OutboundCall, target: Target) -> dict[str, Any]:
    """The call as any-llm takes it. Raises ``UpstreamFault``: unsupported, or rejected as malformed."""
    arguments_of = embedding_arguments if call.door.operation is Operation.EMBEDDINGS else chat_arguments
    try:
        return arguments_of(call, TRANSLATIONS[call.door].fields(call.fields), target)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UpstreamFault(
            Fault.REJECTED, f"the request is not shaped as {call.door.path} takes it", http_status=400
        ) from None


@cache
def _ssl_context() -> ssl.SSLContext:
    """One for all tiers: making it costs tens of milliseconds."""
    return ssl.create_default_context()


def _import_httpx_alone() -> None:
    """Import httpx without its command line, which loads what draws on terminals: 2 MB that nobody uses."""
    command_line = "httpx._main"
    if "httpx" in sys.modules:
        return
    # So the import of it fails, which httpx is prepared for.
    sys.modules[command_line] = None  # type: ignore[assignment]
    try:
        import httpx  # noqa: F401
    finally:
        sys.modules.pop(command_line, None)


def _make_provider(tier: TierSpec) -> _Provider:
    """Runs in a thread. The imports in here and below are the lazy loading that this module is about."""
    _import_httpx_alone()
    try:
        family = _family(tier)
        if family is Family.OTHER and not tier.off_box:
            raise UpstreamFault(
                Fault.UNSUPPORTED, f"any-llm's provider {tier.provider!r} cannot be kept on this machine"
            )
        llm = _MAKERS[family](tier)
    except UpstreamFault:
        raise
    except ImportError:
        raise UpstreamFault(
            Fault.UNSUPPORTED, f"the package that any-llm's provider {tier.provider!r} needs is not installed"
        ) from None
    except Exception as error:
        # Its text may hold the URL with its credentials.
        raise UpstreamFault(
            Fault.UNSUPPORTED, f"any-llm cannot make its provider {tier.provider!r}: {type(error).__name__}"
        ) from None
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    return _Provider(llm, Target(tier.provider, family, tier.default_max_tokens))


def _family(tier: TierSpec) -> Family:
    if tier.provider in ("ollama", "anthropic"):
        return Family(tier.provider)
    if tier.dialect is Dialect.OPENAI or _is_plain_openai(tier.provider):
        return Family.OPENAI
    return Family.OTHER


def _is_plain_openai(provider: str) -> bool:
    """Whether any-llm reaches it by the openai SDK with nothing of its own, so that ours can be put under."""
    from any_llm import AnyLLM
    from any_llm.providers.openai.base import BaseOpenAIProvider

    kind = AnyLLM.get_provider_class(provider)
    return issubclass(kind, BaseOpenAIProvider) and kind._init_client is BaseOpenAIProvider._init_client


def _confined(tier: TierSpec, key_header: str = "Authorization", scheme: str = "Bearer ") -> dict[str, Any]:
    """What httpx must be told so that a call goes to the tier's host, with its key, and nowhere else."""
    credential = (key_header, scheme + tier.api_key) if tier.api_key else None
    return {
        "verify": _ssl_context(),
        "follow_redirects": False,
        # Proxy variables must never carry a local call off the machine.
        "trust_env": tier.off_box,
        "event_hooks": HttpGuard(credential).hooks,
    }


def _make_openai(tier: TierSpec) -> AnyLLM:
    import openai
    from any_llm import AnyLLM

    # Waiting for the answer is timed by the lane, which knows the first byte from the later ones.
    timeout = openai.Timeout(None, connect=tier.timeouts.connect_s)
    http_client = openai.DefaultAsyncHttpxClient(timeout=timeout, **_confined(tier))
    # Some of the dialect's providers have an SDK of their own in any-llm; the dialect does without.
    make = AnyLLM.create if _is_plain_openai(tier.provider) else AnyLLM.create_openai_compatible
    return make(
        tier.provider,
        api_base=tier.base_url,
        api_key=_NO_KEY,
        unified_exceptions=True,
        # The SDK's own retries would bill again behind the ledger's back.
        max_retries=0,
        http_client=http_client,
    )


def _make_anthropic(tier: TierSpec) -> AnyLLM:
    import anthropic
    from any_llm import AnyLLM

    http_client = anthropic.DefaultAsyncHttpxClient(
        timeout=anthropic.Timeout(None, connect=tier.timeouts.connect_s), **_confined(tier, "x-api-key", "")
    )
    return AnyLLM.create(
        tier.provider,
        # The SDK adds it again.
        api_base=tier.base_url.rstrip("/").removesuffix("/v1"),
        api_key=_NO_KEY,
        unified_exceptions=True,
        max_retries=0,
        http_client=http_client,
    )


def _make_ollama(tier: TierSpec) -> AnyLLM:
    import httpx
    from any_llm import AnyLLM

    from sidecar.upstreams.exact_ollama import ExactOllamaClient

    llm = AnyLLM.create(tier.provider, api_base=tier.base_url, unified_exceptions=True, verify=_ssl_context())
    # The providers have a client, but their base class does not declare it.
    llm.client = ExactOllamaClient(  # type: ignore[attr-defined]
        tier.base_url,
        timeout=httpx.Timeout(None, connect=tier.timeouts.connect_s),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
        **_confined(tier),
    )
    return llm


def _make_other(tier: TierSpec) -> AnyLLM:
    """A provider with an SDK and an HTTP client of its own, of which only the retries can be told."""
    from any_llm import AnyLLM

    kind = AnyLLM.get_provider_class(tier.provider)
    retries = {} if kind.MAX_RETRIES_SUPPORT == "unsupported" else {"max_retries": 0}
    if tier.price is not None and not retries:
        # Also for one that ``UNTOLD_RETRIES`` does not know yet, in a newer any-llm.
        raise UpstreamFault(
            Fault.UNSUPPORTED, f"any-llm's provider {tier.provider!r} may send a call twice behind one hold"
        )
    return AnyLLM.create(
        tier.provider, api_base=tier.base_url, api_key=tier.api_key, unified_exceptions=True, **retries
    )


_MAKERS: dict[Family, Callable[[TierSpec], AnyLLM]] = {
    Family.OPENAI: _make_openai,
    Family.ANTHROPIC: _make_anthropic,
    Family.OLLAMA: _make_ollama,
    Family.OTHER: _make_other,
}
