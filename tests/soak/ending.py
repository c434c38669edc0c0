"""What is left when the life is over, beside what devices read by themselves."""

from __future__ import annotations

from tests.harness.client import Client
from tests.harness.messages import make_message
from tests.harness.waiting import pause
from tests.soak.history import END, History
from tests.soak.lane import Lane
from tests.soak.patience import TRY_AGAIN_S, TRY_FOR_S
from tests.soak.people import OTHER_SERVER, Device, User, number_of


async def finish(lane: Lane, people: list[User]) -> None:
    """Let all that waits for the other server and for services arrive."""
    lane.other.refuses = False
    for _ in range(int(TRY_FOR_S / TRY_AGAIN_S)):
        if lane.rows("device_federation_outbox") == 0:
            break
        # Synapse takes notice of who is back once it hears of them.
        herald = lane.other.user("herald")
        await lane.other.send_edu(lane.homeserver, herald, "m.dummy", {})
        await pause(TRY_AGAIN_S)
    else:
        lane.patience.failed.append("EDUs wait for the other server")
    for user in people:
        if not user.is_here and not user.is_abroad:
            _read_for_service(lane, user.devices[0])
    _read_abroad(lane)


def _read_for_service(lane: Lane, device: Device) -> None:
    """Put together what an application service was given and what is left.

    A Synapse that is killed may lose what it has read for the service.
    """
    client = Client("", device.user.user_id, device.device_id, "")
    messages = [*lane.as_in_life(lane.bridge.received(client)), *lane.waiting(device)]
    messages.sort(key=number_of)
    history = lane.histories.setdefault(device.place, History(0))
    history.read(END, messages, again=True)


def _read_abroad(lane: Lane) -> None:
    """Give devices on the other server what came for them, each EDU once."""
    seen = set()
    for came, edu in zip(lane.other.came, lane.other.received):
        content = edu["content"]
        if edu["edu_type"] != "m.direct_to_device" or content["message_id"] in seen:
            continue
        seen.add(content["message_id"])
        for user_id, by_device in content["messages"].items():
            for device_id, said in by_device.items():
                name = user_id.replace(lane.other.server_name, OTHER_SERVER)
                history = lane.histories.setdefault((name, device_id, 0), History(0))
                message = make_message(content["sender"], said, content["type"])
                history.read(END, [message], again=False)
                history.came.setdefault(number_of(message), came)
