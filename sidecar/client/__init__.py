"""The Python client: for apps that prefer a call to a base URL.

::

    from sidecar.client import LLMTask, TaskType, get_aegis_llm_proxy

    response = await get_aegis_llm_proxy().generate(
        LLMTask(task_type=TaskType.SUMMARIZATION, prompt="...", quality="high")
    )
    print(response.provider, response.cost_usd, response.content)

It speaks HTTP to a running sidecar, which stays the one place of decisions. It needs nothing installed but
``httpx``: ``pip install --no-deps aegis-sidecar httpx``.
"""

from sidecar.client.errors import (
    AegisError,
    BrokenOff,
    CallerError,
    CapabilityMissing,
    CrossSiteRequest,
    InvalidHint,
    InvalidTask,
    MethodNotAllowed,
    NotASidecar,
    NoTierAvailable,
    Overloaded,
    PolicyRefusal,
    Refused,
    RequestTooLarge,
    SensitiveAndLocalDown,
    ShuttingDown,
    SidecarTimeout,
    SidecarUnreachable,
    UpstreamFault,
)
from sidecar.client.proxy import AegisLLMProxy, get_aegis_llm_proxy
from sidecar.client.response import EmbeddingResponse, LLMResponse
from sidecar.client.streams import LLMStream, SyncLLMStream
from sidecar.client.task import LLMTask
from sidecar.core.hint_words import Complexity, DataClassification, TaskType
from sidecar.core.hint_words import Quality as QualityRequirement

__all__ = [
    "AegisError",
    "AegisLLMProxy",
    "BrokenOff",
    "CallerError",
    "CapabilityMissing",
    "Complexity",
    "CrossSiteRequest",
    "DataClassification",
    "EmbeddingResponse",
    "InvalidHint",
    "InvalidTask",
    "LLMResponse",
    "LLMStream",
    "LLMTask",
    "MethodNotAllowed",
    "NoTierAvailable",
    "NotASidecar",
    "Overloaded",
    "PolicyRefusal",
    "QualityRequirement",
    "Refused",
    "RequestTooLarge",
    "SensitiveAndLocalDown",
    "ShuttingDown",
    "SidecarTimeout",
    "SidecarUnreachable",
    "SyncLLMStream",
    "TaskType",
    "UpstreamFault",
    "get_aegis_llm_proxy",
]
