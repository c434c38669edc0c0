"""What the tests wait, count and play with does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from signedjson.key import decode_verify_key_bytes
from signedjson.sign import SignatureVerifyException, verify_signed_json
from unpaddedbase64 import decode_base64

from tests.harness import polling
from tests.harness.clients.messages import make_key, make_notice
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.metrics.samples import decisions, total
from tests.harness.modules.faults import Faults
from tests.harness.processes.commands import Example, examples
from tests.harness.reactor import in_reactor


@in_reactor
async def test_eventually_waits_until_it_is_seen() -> None:
    """What becomes true is waited for."""
    numbers = iter(range(10))
    await polling.eventually(lambda: next(numbers), 3)
    assert next(numbers) == 4


@in_reactor
async def test_eventually_fails_when_patience_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What never becomes true is a failure that shows what was seen."""
    monkeypatch.setattr(polling, "PATIENCE_S", 0.1)
    with pytest.raises(AssertionError):
        await polling.eventually(lambda: 1, 2)


@in_reactor
async def test_until_returns_what_was_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives back what it saw, or fails with what it saw last."""
    numbers = iter(range(10))

    async def look() -> int:
        return next(numbers)

    assert await polling.until(look, lambda seen: seen == 3) == 3
    monkeypatch.setattr(polling, "PATIENCE_S", 0.1)
    with pytest.raises(AssertionError, match="5"):
        await polling.until(look, lambda _: False)


def test_total_adds_up_what_matches() -> None:
    """Labels that are not given are added up; other metrics are left out."""
    name = "synapse_withheld_decisions_total"
    metrics = {
        f'{name}{{decision="collapse",queue="inbox",reason="a"}}': 1.0,
        f'{name}{{decision="collapse",queue="inbox",reason="b"}}': 2.0,
        f'{name}{{decision="collapse",queue="outbox",reason="a"}}': 4.0,
        f'{name}{{decision="deliver",queue="inbox",reason="a"}}': 8.0,
        f"{name}_created": 16.0,
        "synapse_withheld_active": 32.0,
    }
    assert total(metrics, name) == 15
    assert total(metrics, name, reason="a", queue="inbox") == 9
    assert total(metrics, "synapse_withheld_active") == 32
    assert decisions(metrics) == {"deliver": 8, "collapse": 3, "supersede": 0}


def test_faults_are_for_the_statements_named(tmp_path: Path) -> None:
    """A fault holds until it is cleared, for statements that begin so."""
    faults = Faults(tmp_path / "faults.json")
    assert faults.of("withheld_read") is None
    faults.set("hang", only="withheld_read", seconds=1.5)
    expected = {"fault": "hang", "only": "withheld_read", "seconds": 1.5}
    assert faults.of("withheld_read_queued") == expected
    assert faults.of("withheld_delete") is None
    faults.clear()
    faults.clear()
    assert faults.of("withheld_read_queued") is None


def test_remote_signs_with_the_key_it_tells() -> None:
    """What it signs can be verified with its key, and with no other's."""
    remote, other = RemoteServer(), RemoteServer()
    remote.server_name = other.server_name = "127.0.0.1:1"
    signed = remote.sign({"a": 1})
    for server in (remote, other):
        ((key_id, told),) = server.keys()["verify_keys"].items()
        key = decode_verify_key_bytes(key_id, decode_base64(told["key"]))
        if server is remote:
            verify_signed_json(signed, remote.server_name, key)
        else:
            with pytest.raises(SignatureVerifyException):
                verify_signed_json(signed, remote.server_name, key)


def test_keys_have_the_form_of_real_ones() -> None:
    """The same seed gives the same key, unpadded base64 of 32 bytes."""
    assert make_key("a") == make_key("a") != make_key("b")
    assert len(make_key("a")) == 43
    assert len(decode_base64(make_key("a"))) == 32


def test_notices_name_a_device_or_not() -> None:
    """Without a device the key is left out, as older clients do."""
    assert "from_device" not in make_notice("key", None)
    assert make_notice("key", "D")["from_device"] == "D"


def test_the_examples_of_a_page_are_its_commands_with_their_output() -> None:
    """Of the console blocks alone."""
    page = (
        "```console\n$ a b\n1\n2\n$ c\n```\n```sh\n$ d\n```\n```console\n$ e\n5\n```\n"
    )
    expected = [Example("a b", "1\n2\n"), Example("c", ""), Example("e", "5\n")]
    assert expected == examples(page)
