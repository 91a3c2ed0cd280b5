"""The files that deploy the sidecar: well formed, true to one another, and as closed as they say."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from sidecar import __version__
from sidecar.core.tiers import is_loopback
from sidecar.settings import Settings, load_settings, run_check
from sidecar.settings.load import parse_settings

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).parent / "schemas"

CONTAINERFILE = (ROOT / "Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "config/kubernetes.yaml").read_text()))

IMAGE_ENVIRONMENT = {"SIDECAR_DATA_DIR": "/data"}
KEYS = {"OPENAI_API_KEY": "key", "OLLAMA_CLOUD_API_KEY": "key"}


def resource(kind: str, name: str) -> dict[str, Any]:
    (found,) = (it for it in KUBERNETES if it["kind"] == kind and it["metadata"]["name"] == name)
    return found


POD: dict[str, Any] = resource("Deployment", "rag-app")["spec"]["template"]
CONTAINERS: dict[str, dict[str, Any]] = {
    container["name"]: container for container in POD["spec"]["initContainers"] + POD["spec"]["containers"]
}


def instruction(name: str) -> list[str]:
    """What follows each ``name`` in the Containerfile, its continued lines joined."""
    joined = CONTAINERFILE.replace("\\\n", " ")
    return [line.removeprefix(name).strip() for line in joined.splitlines() if line.startswith(name + " ")]


class TestContainerConfiguration:
    def test_check_accepts_it(self) -> None:
        said, refused = io.StringIO(), io.StringIO()
        code = run_check(ROOT / "config/container.yaml", IMAGE_ENVIRONMENT, said, refused)
        assert (code, refused.getvalue()) == (0, "")
        assert "at http://0.0.0.0:4000, data in /data" in said.getvalue()

    def test_it_differs_from_the_default_only_in_where_it_listens_and_where_ollama_is(self) -> None:
        default = load_settings(None, IMAGE_ENVIRONMENT | KEYS)
        container = load_settings(ROOT / "config/container.yaml", IMAGE_ENVIRONMENT | KEYS)
        local = container.tiers["local_ollama"]
        assert container.listen.host == "0.0.0.0"
        assert local.base_url == "http://ollama:11434"
        assert local.trusted_hosts == ("ollama", "host.docker.internal")
        moved = msgspec.structs.replace(
            default.tiers["local_ollama"], base_url=local.base_url, trusted_hosts=local.trusted_hosts
        )
        assert container == msgspec.structs.replace(
            default,
            listen=container.listen,
            tiers=default.tiers | {"local_ollama": moved},
            warnings=container.warnings,
        )
        assert [warning.partition(":")[0] for warning in container.warnings] == ["listen.host"]


class TestImage:
    def test_every_stage_stands_on_a_pinned_base(self) -> None:
        (base,) = (value for value in instruction("ARG") if value.startswith("BASE="))
        assert re.fullmatch(r"BASE=docker\.io/library/python:3\.\d+-slim-\w+", base)
        assert instruction("FROM") == ["${BASE} AS build", "${BASE}"]

    def test_it_runs_as_nobody_and_keeps_its_data_in_one_place(self) -> None:
        assert instruction("USER") == ["10001:10001"]
        assert instruction("VOLUME") == [IMAGE_ENVIRONMENT["SIDECAR_DATA_DIR"]]
        assert "SIDECAR_DATA_DIR=/data" in CONTAINERFILE

    def test_either_transport_of_telemetry_and_the_price_catalog_are_in_it(self) -> None:
        installs = [run for run in instruction("RUN") if "uv sync" in run]
        assert len(installs) == 2
        for run in installs:
            assert set(re.findall(r"--extra (\w+)", run)) == {"catalog", "grpc"}

    def test_it_serves_the_container_configuration(self) -> None:
        (copied,) = (it.split()[1] for it in instruction("COPY") if it.startswith("config/container.yaml "))
        (entry_point,), (arguments,) = instruction("ENTRYPOINT"), instruction("CMD")
        assert json.loads(entry_point) == ["sidecar", "serve"]
        assert json.loads(arguments) == ["--config", copied]

    def test_only_what_is_copied_can_enter_the_build(self) -> None:
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        assert "*" in ignored
        allowed = {line[1:] for line in ignored if line.startswith("!")}
        sources = {
            source.split("/")[0]
            for copy in instruction("COPY")
            if not copy.startswith("--from")
            for source in copy.split()[:-1]
        }
        assert sources == allowed
        assert all((ROOT / source).exists() for source in sources)

    def test_package_lists_stay_out_of_the_layers(self) -> None:
        for run in instruction("RUN"):
            assert ("apt-get" in run) == ("rm -rf /var/lib/apt/lists/*" in run)

    def test_the_version_is_the_same_everywhere(self) -> None:
        assert f"VERSION={__version__}" in instruction("ARG")
        assert COMPOSE["services"]["sidecar"]["image"] == f"aegis-sidecar:{__version__}"
        assert CONTAINERS["sidecar"]["image"].endswith(f"/aegis-sidecar:{__version__}")


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server on loopback that answers ``status`` to everything; gives its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


PROBES: dict[str, list[str]] = {
    "image": json.loads(instruction("HEALTHCHECK")[0].partition("CMD ")[2]),
    "compose": COMPOSE["services"]["sidecar"]["healthcheck"]["test"][1:],
} | {
    name: CONTAINERS["sidecar"][name]["exec"]["command"]
    for name in ("startupProbe", "readinessProbe", "livenessProbe")
}


@pytest.mark.parametrize("command", PROBES.values(), ids=PROBES)
class TestProbes:
    @pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
    def test_a_probe_tells_well_from_ill(self, command: list[str], status: int, healthy: bool) -> None:
        with answering(status) as port:
            assert self.passes(command, port) is healthy

    def test_nobody_there_is_ill(self, command: list[str]) -> None:
        with answering(200) as port:
            pass
        assert not self.passes(command, port)

    def passes(self, command: list[str], port: int) -> bool:
        assert command[0] == "python"
        assert " 4000," in command[-1]
        here = [sys.executable, *command[1:-1], command[-1].replace(" 4000,", f" {port},")]
        return subprocess.run(here, check=False, capture_output=True, timeout=30).returncode == 0


class TestCompose:
    def test_it_keeps_to_the_compose_specification(self) -> None:
        schema = json.loads((SCHEMAS / "compose-spec.json").read_text())
        jsonschema_rs.validate(schema, COMPOSE)

    def test_the_schema_refuses_a_misspelt_key(self) -> None:
        schema = json.loads((SCHEMAS / "compose-spec.json").read_text())
        wrong = {"services": {"sidecar": COMPOSE["services"]["sidecar"] | {"read-only": True}}}
        assert not jsonschema_rs.is_valid(schema, wrong)

    def test_ports_are_open_on_this_machine_only(self) -> None:
        ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
        assert sorted(ports) == ["127.0.0.1:16686:16686", "127.0.0.1:4000:4000", "127.0.0.1:4318:4318"]

    @pytest.mark.parametrize("name", COMPOSE["services"])
    def test_images_are_pinned(self, name: str) -> None:
        assert re.search(r":\d+\.\d+\.\d+$", COMPOSE["services"][name]["image"])

    def test_the_sidecar_is_confined(self) -> None:
        sidecar = COMPOSE["services"]["sidecar"]
        assert sidecar["read_only"] is True
        assert sidecar["cap_drop"] == ["ALL"]
        assert sidecar["volumes"] == ["sidecar-data:/data"]

    def test_keys_come_from_a_file_that_git_does_not_see(self) -> None:
        sidecar = COMPOSE["services"]["sidecar"]
        assert sidecar["env_file"] == [{"path": ".env", "required": False}]
        assert not [name for name in sidecar["environment"] if "KEY" in name]
        assert ".env" in (ROOT / ".gitignore").read_text().splitlines()

    def test_the_models_fetched_are_those_asked_for(self) -> None:
        tier = load_settings(ROOT / "config/container.yaml", {}).tiers["local_ollama"]
        script = COMPOSE["services"]["models"]["entrypoint"][-1]
        assert set(re.findall(r"ollama pull (\S+)", script)) == set(tier.models.values())

    def test_the_sidecar_finds_the_services_by_name(self) -> None:
        tier = load_settings(ROOT / "config/container.yaml", {}).tiers["local_ollama"]
        assert tier.base_url == "http://ollama:11434"
        assert COMPOSE["services"]["sidecar"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == (
            "http://jaeger:4318"
        )
        assert {"ollama", "jaeger"} <= set(COMPOSE["services"])


class TestKubernetes:
    @pytest.mark.parametrize("it", KUBERNETES, ids=lambda it: f"{it['kind']}-{it['metadata']['name']}")
    def test_every_resource_keeps_to_the_schema_of_its_kind(self, it: dict[str, Any]) -> None:
        schema = json.loads((SCHEMAS / "kubernetes.json").read_text())
        kind = schema["kinds"][f"{it['apiVersion']} {it['kind']}"]
        jsonschema_rs.validate(kind | {"$defs": schema["$defs"]}, it)

    def test_the_schema_refuses_a_misspelt_key(self) -> None:
        schema = json.loads((SCHEMAS / "kubernetes.json").read_text())
        wrong = CONTAINERS["sidecar"] | {"restartpolicy": "Always"}
        container = {"$ref": "#/$defs/io.k8s.api.core.v1.Container", "$defs": schema["$defs"]}
        assert jsonschema_rs.is_valid(container, CONTAINERS["sidecar"])
        assert not jsonschema_rs.is_valid(container, wrong)

    def test_ollama_and_the_sidecar_run_before_and_after_the_app(self) -> None:
        policies = [(it["name"], it.get("restartPolicy")) for it in POD["spec"]["initContainers"]]
        assert policies == [("ollama", "Always"), ("models", None), ("sidecar", "Always")]
        assert "startupProbe" in CONTAINERS["sidecar"]

    def test_every_container_is_confined(self) -> None:
        pod = POD["spec"]["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == instruction("USER")[0]
        for container in CONTAINERS.values():
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            assert re.search(r":\d+\.\d+\.\d+$", container["image"])

    def test_only_the_sidecar_has_the_keys(self) -> None:
        assert [name for name, container in CONTAINERS.items() if "envFrom" in container] == ["sidecar"]
        assert not [it for it in KUBERNETES if it["kind"] == "Secret"], "keys do not belong in this file"

    def test_the_ledger_outlives_the_pod(self) -> None:
        (mount,) = (it for it in CONTAINERS["sidecar"]["volumeMounts"] if it["mountPath"] == "/data")
        (volume,) = (it for it in POD["spec"]["volumes"] if it["name"] == mount["name"])
        claim = resource("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
        assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
        deployment = resource("Deployment", "rag-app")["spec"]
        assert (deployment["replicas"], deployment["strategy"]["type"]) == (1, "Recreate")

    def test_the_configuration_stays_within_the_pod_and_routes_as_the_default_does(self) -> None:
        settings = self.settings()
        assert settings.warnings == ()
        assert is_loopback(settings.listen.host)
        on_box = [tier.base_url for tier in settings.tiers.values() if not tier.off_box]
        assert on_box == ["http://127.0.0.1:11434"]
        default = load_settings(None, KEYS)
        assert settings.policy() == default.policy()
        assert settings.budgets == default.budgets
        assert settings.rollout == default.rollout

    def test_the_configuration_is_where_the_image_looks_for_it(self) -> None:
        (served,) = (it.split()[1] for it in instruction("COPY") if it.startswith("config/container.yaml "))
        (mount,) = (it for it in CONTAINERS["sidecar"]["volumeMounts"] if it["name"] == "sidecar-config")
        (name,) = resource("ConfigMap", "sidecar-config")["data"]
        assert f"{mount['mountPath']}/{name}" == served

    def test_the_models_fetched_are_those_asked_for(self) -> None:
        models = self.settings().tiers["local_ollama"].models.values()
        script = CONTAINERS["models"]["command"][-1]
        assert set(re.findall(r"ollama pull (\S+)", script)) == set(models)

    def test_nobody_but_the_pod_leaves_and_it_by_https_to_public_addresses_only(self) -> None:
        everybody, pod = (
            resource("NetworkPolicy", "nobody-leaves")["spec"],
            resource("NetworkPolicy", "rag-app")["spec"],
        )
        assert everybody["podSelector"] == {}
        assert [port["port"] for rule in everybody["egress"] for port in rule["ports"]] == [53, 53]
        assert pod["podSelector"]["matchLabels"] == POD["metadata"]["labels"]
        outside = [rule for rule in pod["egress"] if any("ipBlock" in peer for peer in rule["to"])]
        assert [rule["ports"] for rule in outside] == [[{"protocol": "TCP", "port": 443}]]
        blocks = [peer["ipBlock"] for rule in outside for peer in rule["to"]]
        assert reaches(blocks, "104.18.6.192")
        assert reaches(blocks, "2606:4700::6812:7c0")
        for inside in ("10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "127.0.0.1", "fd00::1"):
            assert not reaches(blocks, inside), inside

    def settings(self) -> Settings:
        content = resource("ConfigMap", "sidecar-config")["data"]["sidecar.yaml"]
        return parse_settings(content.encode(), "sidecar.yaml", IMAGE_ENVIRONMENT | KEYS)


def reaches(blocks: list[dict[str, Any]], address: str) -> bool:
    """Whether one of a policy's address ``blocks`` has ``address`` in it and not among its exceptions."""
    wanted = ip_address(address)
    return any(
        wanted in ip_network(block["cidr"])
        and not any(wanted in ip_network(exception) for exception in block["except"])
        for block in blocks
    )
