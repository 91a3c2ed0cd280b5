"""LangChain's models over both dialects, blocking and asynchronous, in both arms and on every tier."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import openai
import pydantic
import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from tests.clients.conftest import LineOf
from tests.clients.ways import EMBEDDING_MODEL, OLLAMA_WAYS, OPENAI_WAYS, Line, Way, echo

QUESTION = "How long may a tool be lent?"


@tool
def loan_days(item: str) -> int:
    """How long something may be lent."""
    return len(item)


class Loan(pydantic.BaseModel):
    """A loan."""

    item: str
    days: int


class Library:
    """One of LangChain's two packages on one way, called in one of two manners.

    LangChain never closes its HTTP clients, so that ours are closed here, and Ollama's keep nothing open.
    """

    def __init__(self, package: str, line: Line, *, blocking: bool) -> None:
        self.package = package
        self.line = line
        self.blocking = blocking
        self.finish_key = "finish_reason" if package == "openai" else "done_reason"
        self._http = openai.DefaultHttpxClient(verify=False)
        self._async_http = openai.DefaultAsyncHttpxClient(verify=False)

    async def aclose(self) -> None:
        self._http.close()
        await self._async_http.aclose()

    def _openai(self) -> dict[str, Any]:
        return {
            "base_url": self.line.sidecar.openai_base,
            "api_key": "any",
            "default_headers": self.line.way.headers,
            "max_retries": 0,
            "http_client": self._http,
            "http_async_client": self._async_http,
        }

    def _ollama(self) -> dict[str, Any]:
        limits = httpx.Limits(max_keepalive_connections=0)
        return {
            "base_url": self.line.sidecar.base,
            "client_kwargs": {
                "headers": self.line.way.headers,
                "trust_env": False,
                "verify": False,
                "limits": limits,
            },
        }

    def chat(self, **options: Any) -> BaseChatModel:
        if self.package == "openai":
            return ChatOpenAI(model=self.line.way.model, **self._openai(), **options)
        return ChatOllama(model=self.line.way.model, **self._ollama(), **options)

    def embeddings(self) -> Embeddings:
        if self.package == "openai":
            # As it must be wherever the model is not one of OpenAI's own: text goes out, not token ids.
            return OpenAIEmbeddings(model=EMBEDDING_MODEL, check_embedding_ctx_length=False, **self._openai())
        return OllamaEmbeddings(model=EMBEDDING_MODEL, **self._ollama())

    async def invoke(self, model: Any, messages: Any) -> Any:
        return model.invoke(messages) if self.blocking else await model.ainvoke(messages)

    async def stream(self, model: Any, messages: Any) -> list[AIMessageChunk]:
        if self.blocking:
            return list(model.stream(messages))
        return [chunk async for chunk in model.astream(messages)]


_LINES = [("openai", way) for way in OPENAI_WAYS] + [("ollama", way) for way in OLLAMA_WAYS]


@pytest.fixture(params=_LINES, ids=lambda line: f"{line[0]} {line[1].name}")
def package_and_way(request: pytest.FixtureRequest) -> tuple[str, Way]:
    chosen: tuple[str, Way] = request.param
    return chosen


@pytest.fixture(params=[True, False], ids=["sync", "async"])
async def library(
    request: pytest.FixtureRequest, package_and_way: tuple[str, Way], line_of: LineOf
) -> AsyncIterator[Library]:
    package, way = package_and_way
    library = Library(package, await line_of(way), blocking=request.param)
    yield library
    await library.aclose()


async def test_plain(library: Library) -> None:
    answer = await library.invoke(library.chat(), QUESTION)
    assert isinstance(answer, AIMessage)
    assert answer.text == echo(QUESTION)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0
    assert answer.response_metadata[library.finish_key] == "stop"
    (asked,) = await library.line.asked()
    assert answer.response_metadata["model_name"] == asked["model"]


async def test_streaming(library: Library) -> None:
    chunks = await library.stream(library.chat(), QUESTION)
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.text == echo(QUESTION)
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) > 5
    # Nobody has asked for usage in OpenAI's dialect; in Ollama's it always comes.
    assert (whole.usage_metadata is None) is (library.package == "openai")
    assert whole.response_metadata[library.finish_key] == "stop"


async def test_streaming_with_usage(library: Library) -> None:
    options = {"stream_usage": True} if library.package == "openai" else {}
    chunks = await library.stream(library.chat(**options), QUESTION)
    told = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert len(told) == 1
    assert told[0]["output_tokens"] > 0


async def test_a_tool_round_trip(library: Library) -> None:
    model = library.chat().bind_tools([loan_days])
    messages: list[BaseMessage] = [HumanMessage(QUESTION)]
    first = await library.invoke(model, messages)
    (call,) = first.tool_calls
    assert (call["name"], call["args"]) == ("loan_days", {"item": "scripted"})
    told = loan_days.invoke(call)
    assert isinstance(told, ToolMessage)
    last = await library.invoke(model, [*messages, first, told])
    assert not last.tool_calls
    assert last.text in (echo(QUESTION), echo("8"))
    sent: Sequence[dict[str, Any]] = (await library.line.asked())[1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[2]["content"] == "8"


async def test_a_tool_call_in_a_stream(library: Library) -> None:
    chunks = await library.stream(library.chat().bind_tools([loan_days]), QUESTION)
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    (call,) = whole.tool_calls
    assert (call["name"], call["args"]) == ("loan_days", {"item": "scripted"})


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_structured_output(library: Library, method: str) -> None:
    schema: Any = None if method == "json_mode" else Loan
    answer = await library.invoke(
        library.chat().with_structured_output(schema, method=method), f"{QUESTION} Answer in JSON."
    )
    assert isinstance(answer, dict) if schema is None else answer == Loan(item=answer.item, days=1)


async def test_embeddings(library: Library) -> None:
    model = library.embeddings()
    if library.blocking:
        many, one = model.embed_documents(["one", "two"]), model.embed_query("one")
    else:
        many, one = await model.aembed_documents(["one", "two"]), await model.aembed_query("one")
    assert [len(vector) for vector in many] == [256, 256]
    assert one == pytest.approx(many[0])
    assert all(asked["model"] == EMBEDDING_MODEL for asked in await library.line.asked())
