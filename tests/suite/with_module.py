"""Added to Synapse's own tests: whatever they configure has the module too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY
from synapse.config.modules import ModulesConfig
from synapse.module_api import ModuleApi

from synapse_withheld import WithheldModule
from synapse_withheld.config import Config

RULES = ("withheld", "key_requests", "secret_requests", "verification_requests")
CONFIG = WithheldModule.parse_config({"rules": dict.fromkeys(RULES, True)})

_read_config = ModulesConfig.read_config


class CountedModule(WithheldModule):
    """Writes down whether it acts, so that a run in which none does is seen."""

    def __init__(self, config: Config, api: ModuleApi) -> None:
        super().__init__(config, api)
        labels = {"server_name": api.server_name}
        acts = REGISTRY.get_sample_value("synapse_withheld_active", labels)
        with Path(os.environ["HOMESERVERS"]).open("a") as file:
            file.write(f"{acts:.0f}")


def read_config(self: Any, config: Any, **more: Any) -> None:
    _read_config(self, config, **more)
    self.loaded_modules.append((CountedModule, CONFIG))


ModulesConfig.read_config = read_config  # type: ignore[method-assign]
