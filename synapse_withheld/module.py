"""The module as Synapse loads it: reads the config, says where it acts."""

from __future__ import annotations

import logging
from typing import Any

from synapse.module_api import ModuleApi
from synapse.module_api.errors import ConfigError

from synapse_withheld import config as configuration
from synapse_withheld.config import Config, InvalidConfigError
from synapse_withheld.delivery.runtime import now_ts
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.pages.answers import Answers
from synapse_withheld.operators.pages.asking import PATH
from synapse_withheld.operators.pages.resource import Pages
from synapse_withheld.operators.series import ACTIVE
from synapse_withheld.operators.tally import Tally
from synapse_withheld.sweep import background
from synapse_withheld.synapse_internals import (
    SynapseInternals,
    UnknownSynapseError,
    synapse_version,
)
from synapse_withheld.version import VERSION
from synapse_withheld.wiring import wire

logger = logging.getLogger(__name__)


class WithheldModule:
    """Keeps mailboxes free of duplicate withheld notices, where it is the writer."""

    def __init__(self, config: Config, api: ModuleApi) -> None:
        """Begin to intercept, if this process writes to-device messages.

        Raises:
            ConfigError: The module is loaded twice, or this Synapse's internals
                are unknown and the operator asked to refuse such a Synapse.
        """
        metrics = Metrics(api.server_name)
        # To set it would do nothing where another instance was read.
        metrics.watch(ACTIVE, lambda: 0)
        metrics.info(VERSION, config.mode, config.repeat)
        try:
            synapse = SynapseInternals(api)
        except UnknownSynapseError as error:
            _stay_out(config, error)
            return
        sweeps = bool(config.sweep_every_ms) and api.should_run_background_tasks()
        if synapse.process_name not in synapse.writers:
            if sweeps:
                background.start(config, synapse, metrics)
            logger.info(
                "synapse_withheld does not act in this process: it is %s, and "
                "to-device messages are written by %s",
                synapse.process_name,
                ", ".join(synapse.writers),
            )
            return
        _say_what_stays(config, sees_reads=synapse.sees_reads)
        tally = Tally(synapse.runtime().seconds)
        traffic = wire(config, synapse, metrics, tally)
        if sweeps:
            background.start(config, synapse, metrics, traffic.settler.housekeeper.turn)
        if config.pages:
            about = (api.server_name, synapse.process_name, synapse_version())
            answers = Answers(*about, now_ts(), now_ts, config, metrics, tally, sweeps)
            _serve_pages(api, synapse, answers)
        synapse.intercept(traffic)
        logger.info(
            "synapse_withheld %s %s (mode: %s, Synapse %s)",
            VERSION,
            "acts on to-device messages"
            if config.enforces
            else "watches to-device messages and counts what it would have done",
            config.mode,
            synapse_version(),
        )

    @staticmethod
    def parse_config(config: Any) -> Config:
        """Read the `config:` mapping, or say in a `ConfigError` what is wrong."""
        try:
            return configuration.parse(config)
        except InvalidConfigError as error:
            # Synapse puts its own path before ours, and prints every cause.
            raise ConfigError(str(error), error.path) from None


def _say_what_stays(config: Config, *, sees_reads: bool) -> None:
    for name in [] if sees_reads else config.rules.vanishing:
        logger.warning(
            "synapse_withheld: 'rules.%s: vanish' works as 'true' here: with workers, "
            "no process sees all that devices are handed",
            name,
        )


def _serve_pages(api: ModuleApi, synapse: SynapseInternals, answers: Answers) -> None:
    try:
        api.register_web_resource(PATH, Pages(api, synapse.is_admin(), answers))
    except UnknownSynapseError as error:
        logger.error(  # noqa: TRY400 no traceback: it says all
            "synapse_withheld serves no pages, but acts: it does not know how this "
            "Synapse tells server admins from others (%s)",
            error,
        )
    except Exception:
        # They are not worth a message.
        logger.exception("synapse_withheld cannot serve its pages; it acts without")


def _stay_out(config: Config, error: UnknownSynapseError) -> None:
    message = (
        f"synapse_withheld does not know the internals of Synapse "
        f"{synapse_version()} ({error})"
    )
    if config.on_unknown_synapse == "refuse":
        raise ConfigError(
            f"{message}; with 'on_unknown_synapse: deliver' Synapse starts and the "
            f"module does not act"
        ) from None
    logger.error("%s; it does not act and every message is stored as usual", message)
