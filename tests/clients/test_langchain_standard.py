"""LangChain's own standard suites for chat models and embeddings, through the sidecar.

Both packages run them on both lanes: in the legacy arm, where the bytes are relayed to an upstream of the
package's own dialect, and in the routed arm, where a tier of the other dialect answers. What cannot pass
stands in ``cannot_pass`` with its error and its reason, and must go on failing so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import msgspec
import openai
import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests

from tests.clients.conftest import LineOf
from tests.clients.ways import EMBEDDING_MODEL, Line, Way
from tests.rig.real_model import RealModel
from tests.rig.serving import Serve
from tests.rig.world import CRITICAL, PUBLIC

LEGACY_OPENAI = Way("legacy to openai", "legacy", "openai", PUBLIC, "gpt-4o", legacy_tier="openai")
LEGACY_OLLAMA = Way("legacy to ollama", "legacy", "local_ollama", PUBLIC, "scripted-small")
ROUTED_TO_LOCAL = Way("routed to local", "routed", "local_ollama", PUBLIC, "auto")
ROUTED_TO_OPENAI = Way("routed to openai", "routed", "openai", CRITICAL, "auto")

pytestmark = [
    # LangChain keeps a parsed object in a field that is typed as none.
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
    # The suites hand over a model of pydantic 1 and a document without a name on purpose.
    pytest.mark.filterwarnings("ignore:OpenAI may require a filename"),
    pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema"),
]


@pytest.fixture
def blocking() -> Iterator[Any]:
    """OpenAI's HTTP client for blocking calls; LangChain closes none of its own."""
    with openai.DefaultHttpxClient(verify=False) as client:
        yield client


@pytest.fixture
async def awaiting() -> AsyncIterator[Any]:
    """The same for awaited calls."""
    async with openai.DefaultAsyncHttpxClient(verify=False) as client:
        yield client


_TIER_CHOOSES = (
    AssertionError,
    "In the routed arm a bare model name leaves the choice to the policy; <tier>/<model> pins.",
)
_UNBOUNDED = (
    openai.BadRequestError,
    "A priced tier takes nothing whose cost has no bound, and Ollama's dialect has no place for it.",
)
_OLLAMA_CANNOT = (openai.BadRequestError, "Ollama's dialect has no place for it.")
_LANGCHAIN_OLLAMA_CANNOT = (ValueError, "langchain-ollama itself sends only text and inline images.")
_OVERRIDES = [f"test_{manner}_with_model_override" for manner in ("invoke", "ainvoke", "stream", "astream")]


class OnALine:
    """What the suites of both kinds need: a sidecar to call, and how each package calls it."""

    way: ClassVar[Way]
    #: Standard tests that fail here, each with what is raised and why.
    cannot_pass: ClassVar[dict[str, tuple[type[Exception], str]]] = {}

    @pytest.fixture(autouse=True)
    async def _on_a_line(
        self,
        request: pytest.FixtureRequest,
        line_of: LineOf,
        blocking: Any,
        awaiting: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if failing := self.cannot_pass.get(request.node.originalname):
            error, reason = failing
            request.node.add_marker(pytest.mark.xfail(raises=error, reason=reason, strict=True))
        self.line: Line = await line_of(self.way)
        self._blocking, self._awaiting = blocking, awaiting
        # The suites fetch a picture, a recording and a document from the internet to send them on.
        monkeypatch.setattr(httpx, "get", lambda url, **_: httpx.Response(200, content=b"some bytes"))
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "none is needed")

    def openai_params(self) -> dict[str, Any]:
        return {
            "model": self.way.model,
            "base_url": self.line.sidecar.openai_base,
            "api_key": "any",
            "default_headers": self.way.headers,
            "max_retries": 0,
            "http_client": self._blocking,
            "http_async_client": self._awaiting,
        }

    def ollama_params(self) -> dict[str, Any]:
        limits = httpx.Limits(max_keepalive_connections=0)
        return {
            "model": self.way.model,
            "base_url": self.line.sidecar.base,
            "client_kwargs": {
                "headers": self.way.headers,
                "trust_env": False,
                "verify": False,
                "limits": limits,
            },
        }


class ChatSuite(OnALine, ChatModelIntegrationTests):
    """LangChain's suite for chat models with everything on that it can ask for."""

    supports_json_mode = True
    supports_image_inputs = True
    #: A link's cost has no bound, and Ollama takes none: sent inline, the same picture passes.
    supports_image_urls = False
    supports_image_tool_message = True
    supports_pdf_inputs = True
    supports_pdf_tool_message = True
    supports_audio_inputs = True
    supports_anthropic_inputs = True
    supports_model_override = True
    enable_vcr_tests = True

    @pytest.fixture
    def vcr(self) -> SimpleNamespace:
        """Nothing is recorded: the suite's stream is read from the sidecar."""
        return SimpleNamespace(responses=[])

    @pytest.fixture
    def benchmark(self) -> None:
        """Nothing is measured."""


class OpenAIChatSuite(ChatSuite):
    model_override_value = "gpt-4o-mini"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**self.openai_params(), "stream_usage": True}


class OllamaChatSuite(ChatSuite):
    model_override_value = "scripted-large"
    cannot_pass: ClassVar = {
        "test_pdf_inputs": _LANGCHAIN_OLLAMA_CANNOT,
        "test_pdf_tool_message": _LANGCHAIN_OLLAMA_CANNOT,
        "test_audio_inputs": _LANGCHAIN_OLLAMA_CANNOT,
        "test_anthropic_inputs": _LANGCHAIN_OLLAMA_CANNOT,
    }

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOllama

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return self.ollama_params()


class TestChatOpenAIRelayed(OpenAIChatSuite):
    way = LEGACY_OPENAI
    cannot_pass: ClassVar = {
        "test_pdf_inputs": _UNBOUNDED,
        "test_pdf_tool_message": _UNBOUNDED,
        "test_audio_inputs": _UNBOUNDED,
    }


class TestChatOpenAITranslated(OpenAIChatSuite):
    way = ROUTED_TO_LOCAL
    cannot_pass: ClassVar = {
        **dict.fromkeys(_OVERRIDES, _TIER_CHOOSES),
        "test_pdf_inputs": _OLLAMA_CANNOT,
        "test_pdf_tool_message": _OLLAMA_CANNOT,
        "test_audio_inputs": _OLLAMA_CANNOT,
        "test_image_tool_message": _OLLAMA_CANNOT,
    }


class TestChatOllamaRelayed(OllamaChatSuite):
    way = LEGACY_OLLAMA


class TestChatOllamaTranslated(OllamaChatSuite):
    way = ROUTED_TO_OPENAI
    cannot_pass: ClassVar = {**OllamaChatSuite.cannot_pass, **dict.fromkeys(_OVERRIDES, _TIER_CHOOSES)}


class TestOpenAIEmbeddings(OnALine, EmbeddingsIntegrationTests):
    way = ROUTED_TO_LOCAL

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {**self.openai_params(), "model": EMBEDDING_MODEL, "check_embedding_ctx_length": False}


class TestOllamaEmbeddings(OnALine, EmbeddingsIntegrationTests):
    way = LEGACY_OLLAMA

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OllamaEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {**self.ollama_params(), "model": EMBEDDING_MODEL}


#: What a model of any wisdom must pass, for it is about the protocol.
PROTOCOL = (
    "test_invoke",
    "test_stream",
    "test_batch",
    "test_conversation",
    "test_double_messages_conversation",
    "test_usage_metadata",
    "test_usage_metadata_streaming",
    "test_stream_events_v3",
)


class RealModelSuite(OnALine):
    """The protocol's part of the suites against a small real model, which speaks OpenAI's dialect."""

    way = ROUTED_TO_LOCAL

    @pytest.fixture(autouse=True)
    def _at_the_real_model(self, _on_a_line: None, serve: Serve, real_model: RealModel) -> None:
        tier = {"provider": "llamacpp", "base_url": real_model.openai_url}
        models = {"default": real_model.model, "embedding": real_model.model}
        sidecar = serve("real-model", {"tiers": {"local_ollama": {**tier, "models": models}}})
        self.line = msgspec.structs.replace(self.line, sidecar=sidecar)


class TestRealModel(RealModelSuite):
    @pytest.mark.parametrize("name", PROTOCOL)
    def test_relayed(self, name: str) -> None:
        model = ChatOpenAI(**self.openai_params(), stream_usage=True, max_completion_tokens=8, temperature=0)
        getattr(TestChatOpenAIRelayed(), name)(model)

    @pytest.mark.parametrize("name", PROTOCOL)
    def test_translated(self, name: str) -> None:
        model = ChatOllama(**self.ollama_params(), num_predict=8, temperature=0)
        getattr(TestChatOllamaRelayed(), name)(model)

    @pytest.mark.parametrize("name", ["test_embed_query", "test_embed_documents"])
    def test_embeddings(self, name: str, real_model: RealModel) -> None:
        params = {**self.openai_params(), "model": real_model.model}
        getattr(TestOpenAIEmbeddings(), name)(OpenAIEmbeddings(**params, check_embedding_ctx_length=False))
        getattr(TestOllamaEmbeddings(), name)(
            OllamaEmbeddings(**{**self.ollama_params(), "model": real_model.model})
        )
