"""A request with very many messages is stored without a look."""

from __future__ import annotations

from tests.model.play import ENCRYPTED, NEW_KEY, NOTICE, OLM, Play

INVENTED = [f"invented {number}" for number in range(1000)]


def test_what_nobody_looked_at_is_stored_as_it_came() -> None:
    """Though it repeats what is queued: the next notice or a sweep finds that."""
    play = Play()
    play.is_tidy = False
    play.send(NOTICE)
    play.send(NOTICE, [*INVENTED, "R"])

    assert [NOTICE, NOTICE] == play.contents()


def test_nothing_older_is_believed_after_what_nobody_looked_at() -> None:
    """It may say something else; the next notice finds all that is redundant."""
    play = Play()
    play.send(NOTICE)
    play.send(NEW_KEY, [*INVENTED, "R"])
    play.send(NOTICE)

    assert [NOTICE] == play.contents()
    assert 3 in play.hs.stored["@r:here", "R"]


def test_what_was_settled_meanwhile_is_not_believed_either() -> None:
    """It may have been stored before what nobody looked at."""
    play = Play()
    play.begin(NEW_KEY, [*INVENTED, "R"])
    play.hs.steps[0].hangs = True
    play.send(NOTICE)
    play.hs.steps[0].hangs = False
    play.hs.come_to_rest()

    assert not play.send(NOTICE).left_out


def test_of_others_everything_collapses_as_before() -> None:
    """Whom a large request is for is nobody else's business."""
    play = Play()
    play.send(NOTICE, sender="@other:here")
    play.send(NEW_KEY, [*INVENTED, "R"])

    assert play.send(NOTICE, sender="@other:here").left_out


def test_a_wildcard_that_nobody_looked_at_is_for_all_devices() -> None:
    """Nothing older is believed in any of them."""
    play = Play()
    play.send(NOTICE)
    contents = {("@r:here", device): NEW_KEY for device in [*INVENTED, "*"]}
    play.begin_all(contents)
    play.hs.come_to_rest()

    assert not play.send(NOTICE).left_out
    assert play.knows()


def test_ordinary_messages_have_no_such_limit() -> None:
    """An Olm message re-arms, wherever it stands."""
    play = Play()
    play.send(NOTICE)
    play.send(OLM, [*INVENTED, "R"], message_type=ENCRYPTED)

    assert not play.send(NOTICE).left_out
