"""What operators see, on Synapse's own metrics listener."""

from __future__ import annotations

from tests.harness.clients.messages import ENCRYPTED, make_key, make_olm_lookalike
from tests.harness.databases.mailbox import rows_of
from tests.harness.homeservers.stage import Stage, Two, everything_tidied, two_on
from tests.harness.metrics.samples import DECISIONS, failures, total
from tests.harness.reactor import in_reactor

EVERY_RULE_ON = dict.fromkeys(
    ("withheld", "key_requests", "secret_requests", "verification_requests"), True
)


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
        *(two.notice(code=code) for code in ("m.blacklisted", "org.example.made.up")),
        {"code": 1},
    ):
        await two.send(content)
    olm = make_olm_lookalike(two.sender_key, make_key("recipient"))
    await two.send(olm, ENCRYPTED)
    await two.send(two.notice())
    await everything_tidied(homeserver)
    after = await homeserver.metrics()
    assert total(after, DECISIONS) > 0
    ours = [
        {each for each in metrics if each.startswith("synapse_withheld_")}
        for metrics in (before, after)
    ]
    assert ours[0] == ours[1]


@in_reactor
async def test_collapsed_bytes_are_those_of_the_row(two: Two) -> None:
    """And nothing that was done so far was a failure."""
    name = "synapse_withheld_collapsed_bytes_total"
    await two.send(two.notice(reason="ü" * 10))
    (text,) = rows_of(two.homeserver, two.recipient)
    before = total(await two.homeserver.metrics(), name)
    await two.send(two.notice(reason="ü" * 10))
    after = total(await two.homeserver.metrics(), name)
    assert after - before == len(text.encode())
    assert await failures(two.homeserver) == 0
