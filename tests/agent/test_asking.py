"""Asking, deciding, cancelling and coming back, over a link to a drawn desk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_agent.permissions.policy import Policy
from nexus_protocol.actions import (
    Click,
    Execute,
    FileRead,
    FileWrite,
    Key,
    Press,
    Type,
)
from nexus_protocol.messages import (
    ActionReport,
    Cancel,
    Decide,
    Ping,
    Pong,
    RequestClosed,
    RequestOpened,
    Result,
)
from nexus_protocol.vocabulary import ActionState, Permission, RequestState, Role

from .conftest import Office, OpenOffice


@pytest.fixture
def real_tmp_path(tmp_path: Path) -> Path:
    """A folder whose path has no link in it."""
    return tmp_path.resolve()


LINE = "import sys; sys.stdout.write('ran')"
RUN = Execute(argv=(sys.executable, "-c", LINE))


# -- asking and deciding


async def test_an_asked_action_waits_and_runs_once_when_approved(office: Office, tmp_path: Path) -> None:
    """Also when it is approved twice and asked for twice."""
    alice, ci = await office.welcome(), await office.welcome("ci", Role.AUTOMATION)
    proof = tmp_path / "proof"
    action = Execute(argv=(sys.executable, "-c", f"open({str(proof)!r}, 'a').write('x')"))
    ci.act("action-1", action)
    opened = await alice.next(RequestOpened)
    assert (opened.who, opened.role, opened.permission) == ("ci", Role.AUTOMATION, Permission.EXECUTE)
    assert opened.why == "default for automation"
    assert not proof.exists()
    ci.act("action-1", action)
    alice.decide(opened, approve=True)
    alice.decide(opened, approve=True)
    assert (await ci.result("action-1")).state is ActionState.DONE
    ci.act("action-1", action)
    assert (await ci.result("action-1")).state is ActionState.DONE
    assert proof.read_text() == "x"
    closed = await alice.next(RequestClosed)
    assert (closed.state, closed.by) == (RequestState.APPROVED, "alice")


async def test_a_denied_action_never_runs(office: Office) -> None:
    """And whoever asked reads who said no, and why."""
    alice, ci = await office.welcome(), await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", Type(text="x"))
    opened = await alice.next(RequestOpened)
    alice.decide(opened, approve=False, reason="not now")
    alice.decide(opened, approve=True)
    result = await ci.result("action-1")
    assert (result.state, result.message) == (ActionState.DENIED, "by alice: not now")
    await alice.do("action-2", Type(text="y"))
    assert office.desk.text == "y"


async def test_nobody_answers_and_the_action_expires(open_office: OpenOffice) -> None:
    """The time in the policy is how long a request waits."""
    ci = await open_office(Policy(timeout=0.02)).welcome("ci", Role.AUTOMATION)
    result = await ci.do("action-1", Click(x=1, y=1))
    assert result.state is ActionState.EXPIRED
    states = [message.state for message in ci.heard if isinstance(message, ActionReport)]
    assert states == [ActionState.WAITING, ActionState.EXPIRED]


async def test_a_decision_on_something_else_changes_nothing(office: Office) -> None:
    """A wrong hash is answered with what is really asked."""
    alice, ci = await office.welcome(), await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", Type(text="x"))
    opened = await alice.next(RequestOpened)
    alice.link.send(Decide(request=opened.request, payload_hash=bytes(32), approve=True))
    assert (await alice.next(RequestOpened)).payload_hash == opened.payload_hash
    assert office.desk.text == ""


async def test_the_path_that_is_asked_about_is_the_real_one(office: Office, real_tmp_path: Path) -> None:
    """An approver sees where a link leads, and that file is read."""
    tmp_path = real_tmp_path
    (tmp_path / "harmless").symlink_to("secret")
    (tmp_path / "secret").write_bytes(b"s3")
    alice = await office.welcome()
    alice.act("action-1", FileRead(path=str(tmp_path / "x" / ".." / "harmless")))
    opened = await alice.next(RequestOpened)
    assert opened.action == FileRead(path=str(tmp_path / "secret"))
    alice.decide(opened, approve=True)
    assert (await alice.result("action-1")).data == b"s3"


async def test_a_written_file_is_there_when_the_result_comes(office: Office, tmp_path: Path) -> None:
    """And read back it is the same."""
    alice = await office.welcome()
    alice.act("action-1", FileWrite(path=str(tmp_path / "new"), data=b"\0\xff"))
    alice.decide(await alice.next(RequestOpened), approve=True)
    assert (await alice.result("action-1")).state is ActionState.DONE
    assert (tmp_path / "new").read_bytes() == b"\0\xff"


async def test_steps_of_a_gesture_are_not_asked_for_one_by_one(office: Office) -> None:
    """Automation is pointed to the actions that can be approved whole."""
    result = await (await office.welcome("ci", Role.AUTOMATION)).do("action-1", Press(x=1, y=1))
    assert result.state is ActionState.DENIED
    assert "use click or drag" in result.message


async def test_a_policy_that_changes_while_a_request_waits_is_obeyed(office: Office) -> None:
    """The permission is checked again in the step that acts: an approval does not outlive it."""
    alice, ci = await office.welcome(), await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", Type(text="x"))
    opened = await alice.next(RequestOpened)
    office.agent.runner.policy = Policy.broken("gone")
    alice.decide(opened, approve=True)
    assert (await ci.result("action-1")).state is ActionState.DENIED
    assert office.desk.text == ""


# -- cancelling, coming back


async def test_cancel_withdraws_what_waits(office: Office) -> None:
    """Nobody is asked any longer."""
    alice, ci = await office.welcome(), await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", RUN)
    opened = await alice.next(RequestOpened)
    ci.link.send(Cancel(id="action-1"))
    assert (await ci.result("action-1")).state is ActionState.CANCELLED
    assert (await alice.next(RequestClosed)).state is RequestState.WITHDRAWN
    alice.decide(opened, approve=True)
    assert (await alice.do("action-2", Key(chord="a"))).state is ActionState.DONE
    assert office.agent.runner.pending() == []


async def test_cancel_stops_a_running_program(open_office: OpenOffice, policy_file: Callable[[str], Path]) -> None:
    """And its end is cancelled, not failed."""
    policy = Policy.load(policy_file('[defaults]\nexecute = "allow"\n'))
    alice = await open_office(policy).welcome()
    alice.act("action-1", Execute(argv=("sleep", "600")))
    await alice.next(ActionReport, lambda report: report.state is ActionState.RUNNING)
    alice.link.send(Cancel(id="action-1"))
    assert (await alice.result("action-1")).state is ActionState.CANCELLED


async def test_cancel_stops_a_long_text_and_says_how_far_it_came(office: Office) -> None:
    """What is behind it in the queue is typed all the same."""
    alice = await office.welcome()
    alice.act("action-1", Type(text="x" * 100_000))
    alice.act("action-2", Key(chord="b"))
    await alice.next(ActionReport, lambda report: report.state is ActionState.RUNNING)
    alice.link.send(Cancel(id="action-1"))
    result = await alice.result("action-1")
    assert result.state is ActionState.CANCELLED
    typed = int(result.message.split()[2].replace(",", ""))
    assert result.message == f"stopped after {typed:,} of 100,000 characters"
    assert (await alice.result("action-2")).state is ActionState.DONE
    assert office.desk.text[-4_000:] == ("x" * typed + "b")[-4_000:]


async def test_an_action_survives_its_link_and_still_runs_once(office: Office) -> None:
    """After a reconnect the same id gets the result of the one run; another action under that id is refused."""
    alice, ci = await office.welcome(), await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", Type(text="once"))
    opened = await alice.next(RequestOpened)
    ci.link.close()
    again = await office.welcome("ci", Role.AUTOMATION)
    again.act("action-1", Type(text="once"))
    alice.decide(opened, approve=True)
    assert (await again.result("action-1")).state is ActionState.DONE
    assert (await again.do("action-1", Type(text="once"))).state is ActionState.DONE
    assert "used for another action" in (await again.do("action-1", Type(text="twice"))).message
    assert office.desk.text == "once"


async def test_a_result_reaches_the_operator_on_a_new_link_unasked(office: Office) -> None:
    """The link that asked is gone when the end comes."""
    alice, ci = await office.welcome(), await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", Type(text="x"))
    opened = await alice.next(RequestOpened)
    ci.link.close()
    again, stranger = await office.welcome("ci", Role.AUTOMATION), await office.welcome("ci", Role.VIEWER)
    alice.decide(opened, approve=True)
    assert (await again.result("action-1")).state is ActionState.DONE
    stranger.link.send(Ping(sent=1))
    await stranger.next(Pong)
    assert not [message for message in stranger.heard if isinstance(message, Result)]


async def test_what_somebody_asked_who_has_gone_is_withdrawn(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time to come back; approving it later does nothing."""
    monkeypatch.setattr("nexus_agent.actions.runner.GRACE", 0.0)
    alice, ci = await office.welcome(), await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", Type(text="x"))
    opened = await alice.next(RequestOpened)
    ci.link.close()
    assert (await alice.next(RequestClosed)).state is RequestState.WITHDRAWN
    alice.decide(opened, approve=True)
    again = await office.welcome("ci", Role.AUTOMATION)
    assert (await again.do("action-1", Type(text="x"))).state is ActionState.CANCELLED
    assert office.desk.text == ""


async def test_what_somebody_asked_who_is_there_still_waits(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another session of the same operator, opened before."""
    monkeypatch.setattr("nexus_agent.actions.runner.GRACE", 0.0)
    alice, ci = await office.welcome(), await office.welcome("ci", Role.AUTOMATION)
    await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", Type(text="x"))
    opened = await alice.next(RequestOpened)
    ci.link.close()
    await ci.left()
    bob = await office.welcome("bob", Role.AUTOMATION)  # takes turns of the loop that a timer of no seconds needs
    bob.link.send(Ping(sent=1))
    await bob.next(Pong)
    alice.decide(opened, approve=True)
    assert (await alice.next(RequestClosed)).state is RequestState.APPROVED
    assert office.desk.text == "x"


async def test_a_chord_is_one_chord_however_it_is_written(
    open_office: OpenOffice, policy_file: Callable[[str], Path]
) -> None:
    """A rule on it holds for its aliases, and everybody reads the usual spelling."""
    rule = '[[rule]]\npermission = "type"\nmatch = "ctrl+alt+enter"\neffect = "deny"\n'
    alice = await open_office(Policy.load(policy_file(rule))).welcome()
    for number, chord in enumerate(("ctrl+alt+enter", "alt+ctrl+enter", "Control+Option+Return")):
        assert (await alice.do(f"action-{number}", Key(chord=chord))).state is ActionState.DENIED
    lines = [message.summary for message in alice.heard if isinstance(message, ActionReport)]
    assert lines == ["ctrl+alt+enter"] * 3


async def test_what_waits_is_shown_to_an_approver_who_comes_later(office: Office) -> None:
    """With the seconds that are left."""
    ci = await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", RUN)
    await ci.next(ActionReport)
    opened = await (await office.welcome()).next(RequestOpened)
    assert opened.action == RUN
    assert 50 < opened.seconds <= 60
