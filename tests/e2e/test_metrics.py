"""What operators see, on Synapse's own metrics listener."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from synapse_withheld import __version__
from synapse_withheld.rules.decision import ALL
from tests.harness.clients.messages import ENCRYPTED, make_key, make_olm_lookalike
from tests.harness.homeservers.stage import Stage, Two, everything_tidied, two_on
from tests.harness.metrics.samples import DECISIONS, total
from tests.harness.reactor import in_reactor

if TYPE_CHECKING:
    from tests.harness.homeservers.homeserver import Homeserver

EVERY_RULE_ON = dict.fromkeys(
    ("withheld", "key_requests", "secret_requests", "verification_requests"), True
)

# The names and labels that dashboards and alerts are made from.
SERIES = {
    "synapse_withheld_messages_total": {"code", "source"},
    "synapse_withheld_decisions_total": {"decision", "queue", "reason", "rule"},
    "synapse_withheld_collapsed_bytes_total": {"queue"},
    "synapse_withheld_rearmed_total": {"direction"},
    "synapse_withheld_tidied_rows_total": {"queue"},
    "synapse_withheld_decision_seconds_bucket": {"le"},
    "synapse_withheld_decision_seconds_count": set(),
    "synapse_withheld_decision_seconds_sum": set(),
    "synapse_withheld_failures_total": {"stage"},
    "synapse_withheld_tracked_pairs": set(),
    "synapse_withheld_tracked_mailboxes": set(),
    "synapse_withheld_active": set(),
    "synapse_withheld_info": {"version", "mode", "repeat"},
}


@in_reactor
async def test_metrics_have_the_names_and_labels_of_the_table(two: Two) -> None:
    """A name or a label that changes would break dashboards."""
    await two.send(two.notice())
    await two.send(two.notice())
    olm = make_olm_lookalike(two.sender_key, make_key("recipient"))
    await two.send(olm, ENCRYPTED)
    found: dict[str, set[str]] = {}
    for series in await two.homeserver.metrics():
        name, _, labels = series.partition("{")
        if name in SERIES:
            names = set(re.findall(r'([a-z_]+)="', labels))
            assert found.setdefault(name, names) == names
    assert found == SERIES


def of_ours(metrics: dict[str, float]) -> set[str]:
    """Return which series of the module there are."""
    return {each for each in metrics if each.startswith("synapse_withheld_")}


@in_reactor
async def test_what_is_counted_is_there_before_it_is_counted(own_stage: Stage) -> None:
    """`rate` and `increase` do not see the first burst of what appears with it."""
    homeserver = await own_stage.start({"rules": EVERY_RULE_ON})
    before = await homeserver.metrics()
    assert total(before, DECISIONS) == 0
    two = await two_on(homeserver)
    for content in (
        *[two.notice()] * 3,
        two.notice(sender_key=make_key("new key")),
        *[two.notice(code="m.unverified")] * 2,
        two.notice(code="m.blacklisted"),
        two.notice(code="org.example.made.up"),
        {"code": 1},
    ):
        await two.send(content)
    olm = make_olm_lookalike(two.sender_key, make_key("recipient"))
    await two.send(olm, ENCRYPTED)
    await two.send(two.notice())
    await everything_tidied(homeserver)
    after = await homeserver.metrics()
    assert total(after, DECISIONS) > 0
    assert of_ours(after) == of_ours(before)


@in_reactor
async def test_a_rule_that_is_off_is_counted_nowhere(own_stage: Stage) -> None:
    """Nor is a queue in which nothing collapses, nor a sweep that is not on."""
    homeserver = await own_stage.start({"outbox": False})
    metrics = await homeserver.metrics()
    decisions = [each for each in metrics if each.startswith(DECISIONS)]
    assert len(decisions) == len(ALL)
    assert all('rule="no_olm"' in each for each in decisions)
    assert all('queue="inbox"' in each for each in decisions)
    assert not any("sweep_" in each for each in of_ours(metrics))


@in_reactor
async def test_no_label_names_anybody(two: Two) -> None:
    """Neither users nor devices nor rooms are told to who may read metrics."""
    await two.send(two.notice(room_id="!secret:withheld.test"))
    for series in await two.homeserver.metrics():
        if series.startswith("synapse_withheld"):
            for name in ("sender", "recipient", "AWAY", "!secret", two.sender_key):
                assert name not in series.replace("to_sender", "").replace(
                    "to_recipient", ""
                ).replace("spoofed_sender", "")


@in_reactor
async def test_gauges_tell_the_state(homeserver: Homeserver, two: Two) -> None:
    """The module acts, says its version and mode, and counts what it remembers."""
    before = await homeserver.metrics()
    await two.send(two.notice())
    await two.send(two.notice(from_device="OTHERDEV"))
    after = await homeserver.metrics()
    assert total(after, "synapse_withheld_active") == 1
    labels = {"version": __version__, "mode": "enforce", "repeat": "queued"}
    assert total(after, "synapse_withheld_info", **labels) == 1
    pairs, mailboxes = (
        total(after, name) - total(before, name)
        for name in (
            "synapse_withheld_tracked_pairs",
            "synapse_withheld_tracked_mailboxes",
        )
    )
    assert (pairs, mailboxes) == (2, 1)


@in_reactor
async def test_collapsed_bytes_are_those_of_the_row(two: Two) -> None:
    """A collapsed notice counts as many bytes as its row would have had."""
    name = "synapse_withheld_collapsed_bytes_total"
    await two.send(two.notice(reason="ü" * 10))
    (text,) = [
        text
        for (text,) in two.homeserver.query(
            "SELECT message_json FROM device_inbox WHERE user_id = ?",
            (two.recipient.user_id,),
        )
    ]
    before = total(await two.homeserver.metrics(), name)
    await two.send(two.notice(reason="ü" * 10))
    after = total(await two.homeserver.metrics(), name)
    assert after - before == len(text.encode())


@in_reactor
async def test_no_failures_after_all_of_this(homeserver: Homeserver) -> None:
    """Nothing of the above was a failure of the module."""
    await everything_tidied(homeserver)
    metrics = await homeserver.metrics()
    stages = [each for each in metrics if each.startswith("synapse_withheld_failures")]
    assert {stage: metrics[stage] for stage in stages if metrics[stage]} == {}
    assert len([each for each in stages if "_total" in each]) > 0


@in_reactor
async def test_mailbox_helper_sees_what_a_sync_gives(two: Two) -> None:
    """What the tests read from the database is what the recipient would get."""
    await two.send(two.notice())
    queued = two.mailbox()
    assert (await two.recipient.sync())["to_device"]["events"] == queued
