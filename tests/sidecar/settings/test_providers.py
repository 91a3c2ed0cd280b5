"""The list of providers is any-llm's, and reading it does not import any-llm."""

from __future__ import annotations

import subprocess
import sys

from any_llm.constants import LLMProvider

from sidecar.core.tiers import PROVIDER_DIALECTS
from sidecar.settings.providers import PROVIDERS


def test_the_list_is_what_the_installed_any_llm_has() -> None:
    assert {provider.value for provider in LLMProvider} == PROVIDERS
    assert PROVIDER_DIALECTS.keys() <= PROVIDERS


def test_checking_a_configuration_does_not_import_any_llm() -> None:
    program = (
        "import io, os, sys; from sidecar.settings import run_check; "
        "code = run_check(None, {}, io.StringIO(), io.StringIO()); sys.exit(code or 'any_llm' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
