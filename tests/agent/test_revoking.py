"""Rights that are taken back while somebody uses them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from nexus_protocol.actions import Execute, Key, Press, Type
from nexus_protocol.messages import ActionReport, Bye, RequestClosed, RequestOpened
from nexus_protocol.vocabulary import ActionState, RequestState, Role

from .conftest import Lines, Office


def change(office: Office, who: str, role: Role, *, name: str = "", approver: bool = True) -> None:
    """Have the list say something else of an operator's key from now on."""
    key = office.key(who, Role.OPERATOR).fingerprint
    office.operators.add(name or who, role, key, approver=approver, by="the test")


@pytest.mark.parametrize(
    "take_back",
    [
        lambda office: office.operators.remove("bob"),
        lambda office: office.operators.remove(str(office.key("bob", Role.OPERATOR).fingerprint)),
        lambda office: change(office, "bob", Role.VIEWER),
        lambda office: change(office, "bob", Role.OPERATOR, approver=False),
        lambda office: change(office, "bob", Role.OPERATOR, name="robert"),
    ],
    ids=["name", "key", "role", "approver", "renamed"],
)
async def test_who_may_no_longer_what_it_came_with_is_sent_away(
    office: Office, take_back: Callable[[Office], object]
) -> None:
    """On all links, with a reason; everybody else stays."""
    alice, bob, again = await office.welcome(), await office.welcome("bob"), await office.welcome("bob")
    office.key("carol", Role.OPERATOR)  # a list that has changed is no reason by itself
    take_back(office)
    for console in (bob, again):
        bye = await console.next(Bye)
        assert bye.code == "forbidden"
        assert re.search("was taken back|was changed", bye.reason)
        await console.end()
    assert (await alice.do("action-1", Key(chord="a"))).state is ActionState.DONE


async def test_who_was_sent_away_comes_back_as_what_the_list_says_now(office: Office) -> None:
    """Or not at all."""
    bob = await office.welcome("bob")
    change(office, "bob", Role.VIEWER)
    await bob.next(Bye)
    viewer = await office.welcome("bob")
    assert (await viewer.do("action-1", Key(chord="a"))).state is ActionState.DENIED
    office.operators.remove("bob")
    await viewer.next(Bye)
    assert (await office.connect("bob").refusal()).code == "unknown"


async def test_a_list_that_becomes_unusable_sends_everybody_away(office: Office, log: Lines) -> None:
    """Nobody's right to be here can be told any more; the log says what is wrong with the list."""
    everybody = [await office.welcome(), await office.welcome("eve", Role.VIEWER)]
    office.operators._known.path.chmod(0o622)
    for console in everybody:
        assert (await console.next(Bye)).code == "unready"
    assert any("chmod 600" in line["reason"] for line in log if line["log_level"] == "error")


async def test_what_a_revoked_operator_held_and_waited_for_ends_with_its_rights(office: Office) -> None:
    """Buttons are up, its requests are withdrawn: nobody can approve them any more."""
    alice, bob, ci = await office.welcome(), await office.welcome("bob"), await office.welcome("ci", Role.AUTOMATION)
    await bob.do("action-1", Press(x=9, y=9))
    ci.act("action-2", Type(text="x"))
    opened = await alice.next(RequestOpened)
    office.operators.remove("ci")
    office.operators.remove("bob")
    assert (await ci.result("action-2")).state is ActionState.CANCELLED
    assert (await alice.next(RequestClosed)).state is RequestState.WITHDRAWN
    alice.decide(opened, approve=True)
    await bob.left()
    await alice.do("action-3", Type(text="y"))
    assert (office.desk.text, office.desk._drawing.held) == ("y", [])


async def test_who_was_revoked_while_away_gets_nothing_done(office: Office) -> None:
    """What still waits for the lost connection can be approved, and is refused in the step that would have done it."""
    alice, ci = await office.welcome(), await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", Type(text="x"))
    opened = await alice.next(RequestOpened)
    ci.link.close()
    await ci.left()
    office.operators.remove("ci")
    alice.decide(opened, approve=True)
    ended = await alice.next(ActionReport, lambda report: report.who == "ci" and report.state.ended)
    assert (ended.state, "taken back" in ended.message) == (ActionState.DENIED, True)
    assert office.desk.text == ""


async def test_each_action_is_held_against_the_list_as_it_is(office: Office) -> None:
    """Also before anybody has noticed that the list is another one: nothing is done, nothing is decided."""
    alice, bob, ci = await office.welcome(), await office.welcome("bob"), await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", Type(text="x"))
    opened = await bob.next(RequestOpened)
    office.operators.remove("bob")  # nothing of the loop runs between this and what bob says
    bob.decide(opened, approve=True)
    bob.act("action-2", Type(text="y"))
    assert (await bob.result("action-2")).state is ActionState.DENIED
    alice.decide(await alice.next(RequestOpened), approve=True)
    assert (await ci.result("action-1")).state is ActionState.DONE
    assert office.desk.text == "x"


async def test_a_program_of_a_revoked_operator_is_stopped(office: Office) -> None:
    """As if it had been cancelled."""
    alice, bob = await office.welcome(), await office.welcome("bob")
    bob.act("action-1", Execute(argv=("sleep", "600")))
    alice.decide(await alice.next(RequestOpened), approve=True)
    await bob.next(ActionReport, lambda report: report.state is ActionState.RUNNING)
    office.operators.remove("bob")
    ended = await alice.next(ActionReport, lambda report: report.state.ended)
    assert (ended.state, ended.who) == (ActionState.CANCELLED, "bob")


async def test_a_program_of_somebody_who_left_and_was_revoked_is_stopped(office: Office) -> None:
    """What was asked for goes on without its session, and not without the right to it."""
    alice, bob = await office.welcome(), await office.welcome("bob")
    bob.act("action-1", Execute(argv=("sleep", "600")))
    alice.decide(await alice.next(RequestOpened), approve=True)
    await bob.next(ActionReport, lambda report: report.state is ActionState.RUNNING)
    bob.link.close()
    await bob.left()
    office.operators.remove("bob")
    ended = await alice.next(ActionReport, lambda report: report.state.ended)
    assert (ended.state, ended.who) == (ActionState.CANCELLED, "bob")


async def test_the_list_is_watched_also_for_those_who_come_after_everybody_had_left(office: Office) -> None:
    """Looking at it stops when nobody is there, and starts again."""
    for _ in range(2):
        bob = await office.welcome("bob")
        change(office, "bob", Role.VIEWER)
        assert (await bob.next(Bye)).code == "forbidden"
        await bob.left()
        assert office.agent._watch is not None
        await office.agent._watch
        change(office, "bob", Role.OPERATOR)
