"""The providers that a tier may name: any-llm's, written down here, as importing it takes seconds.

A test compares them with what the installed any-llm has.
"""

from __future__ import annotations

from typing import Final

PROVIDERS: Final = frozenset(
    {
        "anthropic", "atlascloud", "azure", "azureanthropic", "azureopenai", "bedrock", "cascadia",
        "cerebras", "cohere", "dashscope", "databricks", "deepinfra", "deepseek", "edenai", "fireworks",
        "gemini", "github", "gmi", "groq", "huggingface", "inception", "kenari", "liner", "llama",
        "llamacpp", "llamafile", "lmstudio", "meta", "minimax", "mistral", "moonshot", "mzai", "nebius",
        "neosantara", "ollama", "openai", "openrouter", "otari", "perplexity", "portkey", "qiniu",
        "requesty", "sagemaker", "sambanova", "telnyx", "together", "typesafe", "vertexai",
        "vertexaianthropic", "vllm", "voyage", "watsonx", "xai", "zai",
    }
)  # fmt: skip
