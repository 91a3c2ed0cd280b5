"""Plays the workload through a running sidecar with the official ``openai`` client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from itertools import cycle

import aiohttp
import msgspec
import openai

from sidecar.core.vocabulary import Arm
from sidecar.demo.workload import Ask, rewriting, workload

#: Sessions are opened until both arms have some; with more than half of all routed, these are enough.
SESSIONS_MIN, SESSIONS_MAX = 6, 24
ROUTED_SESSIONS_MIN, LEGACY_SESSIONS_MIN = 2, 1
CALLS_AT_ONCE = 3
CALL_TIMEOUT_S = 60.0
#: Decisions are written in batches; the newest may take this long to be found.
RECORDS_TIMEOUT_S = 10.0


class Played(msgspec.Struct):
    """One call and what came of it. Costs are dollars."""

    ask: Ask
    session: str
    request_id: str = ""
    arm: str = ""
    tier: str = ""
    model: str = ""
    reason: str = ""
    fallback: str = ""
    text: str = ""
    error: str = ""
    cost_usd: float = 0.0
    duration_ms: float = 0.0


class Player:
    """Sends the calls of the workload, some at once, and collects what came of them."""

    def __init__(
        self,
        base_url: str,
        chat_model: str,
        embedding_model: str,
        tell: Callable[[Played], None],
    ) -> None:
        self._client = openai.AsyncOpenAI(
            base_url=f"{base_url}/v1",
            api_key="the-sidecar-needs-none",
            max_retries=0,
            timeout=CALL_TIMEOUT_S,
            # Proxies of the environment are not for loopback.
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
        )
        self._chat_model = chat_model
        self._embedding_model = embedding_model
        self._tell = tell
        self._lanes = asyncio.Semaphore(CALLS_AT_ONCE)

    async def play(self) -> list[Played]:
        """The whole workload: first a call for each session, which shows its arm, then all others."""
        async with self._client:
            opening = await self._gather([(rewriting(n), f"demo-{n}") for n in range(SESSIONS_MIN)])
            while not _enough(opening) and len(opening) < SESSIONS_MAX:
                number = len(opening)
                opening += await self._gather([(rewriting(number), f"demo-{number}")])
            everyone = [played.session for played in opening]
            sessions = {
                arm: cycle([played.session for played in opening if played.arm == arm] or everyone)
                for arm in Arm
            }
            anyone = cycle(everyone)
            return opening + await self._gather(
                [(ask, next(sessions[ask.arm] if ask.arm else anyone)) for ask in workload()]
            )

    async def _gather(self, calls: list[tuple[Ask, str]]) -> list[Played]:
        return list(await asyncio.gather(*(self._call(ask, session) for ask, session in calls)))

    async def _call(self, ask: Ask, session: str) -> Played:
        played = Played(ask, session)
        async with self._lanes:
            started = time.perf_counter()
            try:
                if ask.inputs:
                    await self._embed(played)
                elif ask.stream:
                    await self._stream(played)
                else:
                    await self._chat(played)
            except openai.APIStatusError as error:
                played.error = error.message
                _read_headers(played, error.response.headers)
            except openai.APIError as error:
                played.error = str(error)
            played.duration_ms = (time.perf_counter() - started) * 1000
        self._tell(played)
        return played

    async def _embed(self, played: Played) -> None:
        raw = await self._client.embeddings.with_raw_response.create(
            model=self._embedding_model, input=list(played.ask.inputs), extra_headers=_hints(played)
        )
        _read_headers(played, raw.headers)
        vectors = raw.parse().data
        played.text = f"{len(vectors)} × {len(vectors[0].embedding)} numbers"

    async def _chat(self, played: Played) -> None:
        raw = await self._client.chat.completions.with_raw_response.create(
            model=self._chat_model,
            messages=_messages(played.ask),
            max_tokens=played.ask.max_tokens,
            extra_headers=_hints(played),
        )
        _read_headers(played, raw.headers)
        played.text = raw.parse().choices[0].message.content or ""

    async def _stream(self, played: Played) -> None:
        raw = await self._client.chat.completions.with_raw_response.create(
            model=self._chat_model,
            messages=_messages(played.ask),
            max_tokens=played.ask.max_tokens,
            stream=True,
            extra_headers=_hints(played),
        )
        _read_headers(played, raw.headers)
        async for chunk in raw.parse():
            played.text += "".join(choice.delta.content or "" for choice in chunk.choices)


def _enough(opening: list[Played]) -> bool:
    routed = sum(played.arm == Arm.ROUTED for played in opening)
    return routed >= ROUTED_SESSIONS_MIN and len(opening) - routed >= LEGACY_SESSIONS_MIN


def _messages(ask: Ask) -> list[openai.types.chat.ChatCompletionMessageParam]:
    question: openai.types.chat.ChatCompletionMessageParam = {"role": "user", "content": ask.question}
    if not ask.instructions:
        return [question]
    return [{"role": "system", "content": ask.instructions}, question]


def _hints(played: Played) -> dict[str, str]:
    ask = played.ask
    hints = {
        "x-sidecar-session": played.session,
        "x-sidecar-app": "demo",
        "x-sidecar-task-type": ask.task_type,
        "x-sidecar-quality": ask.quality,
        "x-sidecar-complexity": ask.complexity,
        "x-sidecar-batch-size": str(ask.batch_size),
    }
    if ask.classification is not None:
        hints["x-sidecar-data-classification"] = ask.classification
    return hints


def _read_headers(played: Played, headers: Mapping[str, str]) -> None:
    """What the sidecar says of the call; the cost of a stream comes from its record instead."""
    played.request_id = headers.get("x-sidecar-request-id", "")
    played.arm = headers.get("x-sidecar-arm", "")
    played.tier = headers.get("x-sidecar-tier", "")
    played.model = headers.get("x-sidecar-model", "")
    played.reason = headers.get("x-sidecar-reason", "")
    played.fallback = headers.get("x-sidecar-fallback", "")


class RecordsMissing(Exception):
    """The sidecar does not show the records of the calls it answered."""


class _Decision(msgspec.Struct):
    request_id: str
    cost_nano_usd: int


class _Decisions(msgspec.Struct):
    decisions: list[_Decision]


async def read_costs(base_url: str, admin_token: str, played: list[Played]) -> None:
    """Fill in what each call cost, from the sidecar's own records. Raises ``RecordsMissing``."""
    wanted = {each.request_id: each for each in played if each.request_id}
    headers = {"Authorization": f"Bearer {admin_token}"}
    url = f"{base_url}/admin/decisions?limit=200"
    try:
        async with asyncio.timeout(RECORDS_TIMEOUT_S), aiohttp.ClientSession(headers=headers) as session:
            found: dict[str, int] = {}
            while not wanted.keys() <= found.keys():
                async with session.get(url, raise_for_status=True) as response:
                    page = msgspec.json.decode(await response.read(), type=_Decisions)
                found = {decision.request_id: decision.cost_nano_usd for decision in page.decisions}
                await asyncio.sleep(0.1)
    except (TimeoutError, aiohttp.ClientError) as error:
        raise RecordsMissing(f"the records of the calls are missing ({error or 'too late'})") from error
    for request_id, each in wanted.items():
        each.cost_usd = found[request_id] / 1e9
