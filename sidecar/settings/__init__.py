"""The settings: YAML and the environment in, frozen ``Settings`` out, or a refusal that names the key.

This is the front door; behind it, in the order in which a file passes through:

``yaml_tree`` text to a tree that knows its lines, ``${VAR}`` filled in
``schema``    what may be written, as frozen Structs with their defaults
``decode``    the tree to those Structs, gathering every problem (``problems``)
``checks``    what concerns several keys: refused, or warned of
``load``      all of that in one call
``report``    what is in force, in words
``watch``     the file again, when it has changed
``shares``    a worker's part of what bounds all of them
"""

from __future__ import annotations

from sidecar.settings.load import config_path, load_settings, parse_settings
from sidecar.settings.problems import Problem, SettingsError
from sidecar.settings.report import describe, run_check
from sidecar.settings.schema import Settings, policy_id
from sidecar.settings.watch import ReloadRefusal, SettingsSource

__all__ = [
    "Problem",
    "ReloadRefusal",
    "Settings",
    "SettingsError",
    "SettingsSource",
    "config_path",
    "describe",
    "load_settings",
    "parse_settings",
    "policy_id",
    "run_check",
]
