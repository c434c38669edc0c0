"""Run Synapse's own tests, stock and with the module: `python -m tests.suite`.

They are those of its source distribution. Prints each test whose outcome differs.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from synapse_withheld.synapse_internals import synapse_version
from tests.compat.environments import shown
from tests.harness.servers.postgres import PostgresServer

HERE = Path(__file__).parent
# What has to do with to-device messages, and with those who carry or read them.
SUITES = """
appservice federation module_api replication
handlers.test_appservice handlers.test_device handlers.test_e2e_keys
handlers.test_federation handlers.test_federation_event handlers.test_presence
handlers.test_sliding_sync handlers.test_sync handlers.test_typing
rest.admin.test_device rest.client.sliding_sync rest.client.test_devices
rest.client.test_keys rest.client.test_sendtodevice rest.client.test_sync
storage.databases.main.test_deviceinbox storage.test_appservice storage.test_devices
storage.test_end_to_end_keys
"""


def distribution(directory: Path) -> Path:
    """Download and unpack the source of the Synapse that is installed."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--no-binary", "matrix-synapse"]
    command += ["--dest", str(directory), f"matrix-synapse=={synapse_version()}"]
    # Beside it lies what pip takes for maturin.
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(HERE)})  # noqa: S603 pip
    (archive,) = directory.glob("*.tar.gz")
    shutil.unpack_archive(archive, directory)
    (source,) = directory.glob("matrix_synapse-*/")
    return source


def outcomes(tests: Path) -> dict[str, str]:
    command = [sys.executable, "-u", "-m", "twisted.trial", "--reporter=bwverbose"]
    command += ["--jobs=2", *(f"tests.{name}" for name in SUITES.split())]
    _, printed = shown(*command, directory=tests.parent)
    pattern = r"^(tests\.\S+) \.\.\..*?\[([A-Z]+)\]$"
    return dict(re.findall(pattern, printed, re.MULTILINE | re.DOTALL))


def compare(directory: Path) -> int:
    source, acted = distribution(directory), directory / "homeservers"
    acted.touch()
    os.environ["HOMESERVERS"] = str(acted)
    found = []
    for kind in ("stock", "module"):
        tests = directory / kind / "tests"
        shutil.copytree(source / "tests", tests)
        if kind == "module":
            shutil.copy(HERE / "with_module.py", tests)
            with (tests / "__init__.py").open("a") as file:
                file.write("\nimport tests.with_module\n")
        found.append(outcomes(tests))
        counts = dict(Counter(found[-1].values()))
        print(f"{kind}: {len(found[-1])} tests, {counts}", flush=True)  # noqa: T201 data
    acting = acted.read_text().count("1")
    print(f"homeservers in which the module acted: {acting}")  # noqa: T201 data
    stock, module = found
    differing = sorted(dict(stock.items() ^ module.items()))
    for name in differing:
        was, became = stock.get(name), module.get(name)
        print(f"{name}: {was}, with the module {became}")  # noqa: T201 data
    return int(bool(differing) or not stock or not acting)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.suite", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--postgres", action="store_true", help="not on SQLite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="suite-") as name, ExitStack() as stack:
        directory = Path(name)
        # The user that PostgreSQL runs as has to reach its files.
        directory.chmod(0o755)
        if given.postgres:
            # Each test makes a database and drops it, and nobody keeps any.
            server = PostgresServer(directory / "postgres", durable=False)
            stack.callback(server.stop)
            about = server.arguments("postgres")
            os.environ["SYNAPSE_POSTGRES"] = "1"
            os.environ["SYNAPSE_POSTGRES_HOST"] = about["host"]
            os.environ["SYNAPSE_POSTGRES_USER"] = about["user"]
        code = compare(directory)
    sys.exit(code)
