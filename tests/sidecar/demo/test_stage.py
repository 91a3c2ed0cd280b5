"""The demo's configuration is valid, and its stage finds Ollama or says what to do."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml

from sidecar.demo.stage import LocalTier, OllamaMissing, Stage, find_ollama, ollama_host
from sidecar.settings import run_check
from tests.rig.upstream import RefusedPort, StartUpstream


async def test_the_configuration_is_valid_and_warns_of_nothing(
    tmp_path: Path, scripted_upstream: StartUpstream
) -> None:
    ollama = await scripted_upstream(models="llama3.2")
    async with Stage(data_dir=tmp_path / "data", port=0, ollama_host=ollama.url) as stage:
        file = tmp_path / "demo.yaml"
        file.write_text(yaml.safe_dump(stage.configuration()))
        said, errors = io.StringIO(), io.StringIO()
        assert run_check(file, {}, said, errors) == 0, errors.getvalue()
    assert "Warnings\n  none" in said.getvalue()


async def test_ollama_gives_its_first_models(scripted_upstream: StartUpstream) -> None:
    ollama = await scripted_upstream(models="nomic-embed-text,llama3.2,qwen3")
    assert await find_ollama(ollama.url) == LocalTier(
        "ollama", ollama.url, "llama3.2:latest", "nomic-embed-text:latest"
    )


async def test_ollama_without_an_embedding_model_embeds_with_the_other(
    scripted_upstream: StartUpstream,
) -> None:
    ollama = await scripted_upstream(models="llama3.2")
    assert (await find_ollama(ollama.url)).embedding_model == "llama3.2:latest"


async def test_no_ollama_names_the_cure(refused_port: RefusedPort, scripted_upstream: StartUpstream) -> None:
    with pytest.raises(OllamaMissing, match="leave out --ollama"):
        await find_ollama(refused_port.url)
    empty = await scripted_upstream(models="nomic-embed-text")
    with pytest.raises(OllamaMissing, match="ollama pull"):
        await find_ollama(empty.url)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://127.0.0.1:11434"),
        ({"OLLAMA_HOST": "127.0.0.1:9000"}, "http://127.0.0.1:9000"),
        ({"OLLAMA_HOST": "127.0.0.1:9000", "OLLAMA_BASE_URL": "http://[::1]:9001/"}, "http://[::1]:9001"),
    ],
)
def test_ollama_is_looked_for_where_its_variables_say(environ: dict[str, str], url: str) -> None:
    assert ollama_host(environ) == url
