"""Let the module's own code decide about messages, and put down what it decided."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

from twisted.internet.defer import ensureDeferred

from synapse_withheld.cli.arguments import CannotSayError
from synapse_withheld.cli.explaining.mailboxes import Mailboxes
from synapse_withheld.cli.explaining.messages import (
    hours_passed,
    mailbox_of,
    message_of,
)
from synapse_withheld.cli.tables import printable
from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import Edus, LocalMessages
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.operators.wording import WHY
from synapse_withheld.rules.content import OLM_TYPE, WITHHELD_TYPES, read_olm
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import WILDCARD, MailboxKey
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.wiring import wire

PASS = "pass"  # noqa: S105 what is no notice is passed on
HAPPENS = "-"

SHOWN_OF_KEY = 6  # characters


class Explanation(NamedTuple):
    """What became of a line.

    Attributes:
        reason: As metrics name it; of a `pass` its kind.
        pair: A number for each pair of sender device and mailbox; `None` where the
            line is no notice, or one for several mailboxes.
        key: The beginning of the sender's key; of a rule that is not about keys, of
            what equal contents have in common.
        earlier: The line of the newest notice of the pair that the module remembered;
            `None` if none.
    """

    line: int
    decision: str
    reason: str
    why: str
    rule: str = ""
    pair: int | None = None
    key: str = ""
    earlier: int | None = None


class _Recorder(Metrics):
    """Keeps what the module counts while it handles one message."""

    def forget(self) -> None:
        self.decisions: list[Decision] = []
        self.code = self.failed_at = ""
        self.pairs_rearmed = 0

    def message(self, code: str, *_: Any, **__: Any) -> None:
        self.code = code

    def decision(
        self,
        rule: str,  # noqa: ARG002
        queue: str,  # noqa: ARG002
        decision: Decision,
        times: int = 1,
    ) -> None:
        self.decisions += [decision] * times

    def rearmed(self, direction: str, pairs: int) -> None:  # noqa: ARG002
        self.pairs_rearmed += pairs

    def failure(self, stage: str) -> None:
        self.failed_at = stage


class Explainer:
    """The module with mailboxes of its own, which messages go to one by one."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rules = Ruleset.of(config)
        self._mailboxes = Mailboxes()
        self._recorder = _Recorder("explain")
        self._pairs: dict[tuple[MailboxKey, str, Pair], int] = {}
        self._line_of: dict[int, int] = {}
        self._load()

    @property
    def left(self) -> int:
        return self._mailboxes.count()

    def explain(self, number: int, line: Any) -> list[Explanation]:
        """Let a line happen; a message to `*` has an explanation for each device."""
        mailbox = mailbox_of(line)
        happened = self._happen(mailbox, line)
        if happened:
            return [Explanation(number, HAPPENS, *happened)]
        message = message_of(line)
        notice = self._rules.recognise(message)
        earlier = self._earlier(mailbox, notice)
        self._send(number, mailbox, message)
        if not self._recorder.decisions or notice is None:
            return [Explanation(number, PASS, *self._passed(message))]
        key = printable(notice.key[:SHOWN_OF_KEY])
        about = (notice.rule.name, self._pair(mailbox, notice), key)
        return [
            Explanation(number, each.action, each.reason, WHY[each], *about, earlier)
            for each in self._recorder.decisions
        ]

    def _load(self) -> None:
        self._recorder.forget()
        tally = Tally(self._mailboxes.runtime().seconds)
        self._traffic = wire(self._config, self._mailboxes, self._recorder, tally)

    def _happen(
        self, mailbox: MailboxKey, line: Mapping[str, Any]
    ) -> tuple[str, str] | None:
        """Let happen what a line says, unless it is a message; return it, in words."""
        if line.get("acknowledged") is True:
            self._traffic.note_read(*mailbox, self._mailboxes.stream_token())
            read = _counted(self._mailboxes.acknowledge(mailbox), "message")
            return "acknowledged", f"the device read what was queued: {read}"
        if line.get("restarted") is True:
            self._load()
            return "restarted", "Synapse restarted: the module remembers nothing"
        if line.get("device_changed") is True:
            self._mailboxes.change_device(mailbox)
            why = "the recipient's device changed in the device list"
            return "device_changed", why
        hours = hours_passed(line)
        if hours is None:
            return None
        self._mailboxes.let_pass(hours * 3600)
        return "hours_passed", "time passes"

    def _send(self, number: int, mailbox: MailboxKey, message: Any) -> None:
        self._recorder.forget()
        self._mailboxes.add_device(mailbox)

        async def write(kept: LocalMessages, _: Edus) -> None:
            # Of nothing Synapse's code for writing is not entered.
            if kept:
                await self._mailboxes.store(kept)
                self._line_of[self._mailboxes.stream_token()] = number

        user_id, device_id = mailbox
        batch = {user_id: {device_id: message}}
        failures: list[Any] = []
        stored = ensureDeferred(self._traffic.store(batch, {}, write))
        stored.addErrback(failures.append)
        self._mailboxes.come_to_rest()
        for failure in failures:
            failure.raiseException()
        if self._recorder.failed_at:
            # What was decided then says nothing about the rule.
            stage = self._recorder.failed_at
            raise CannotSayError(f"The module failed at stage '{stage}'.")

    def _earlier(self, key: MailboxKey, notice: Notice | None) -> int | None:
        mailbox = self._traffic.inbox.memory.get(key)
        of_pair = mailbox.of_pair(notice) if mailbox and notice else []
        return self._line_of.get(of_pair[-1].stream_id) if of_pair else None

    def _pair(self, mailbox: MailboxKey, notice: Notice) -> int | None:
        if mailbox[1] == WILDCARD:
            return None
        key = (mailbox, notice.rule.name, notice.pair)
        return self._pairs.setdefault(key, len(self._pairs) + 1)

    def _passed(self, message: Mapping[str, Any]) -> tuple[str, str]:
        """Return the kind of what is no notice, and the same in words."""
        message_type, content = message["type"], message["content"]
        if message_type in WITHHELD_TYPES:
            why = "a withheld message that no rule names, or not a well-formed one"
            return self._recorder.code, why
        if message_type == OLM_TYPE and read_olm(content):
            rearmed = _counted(self._recorder.pairs_rearmed, "pair")
            return "olm", f"an Olm message: re-arms {rearmed}"
        return "other_type", "no rule names its type"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
