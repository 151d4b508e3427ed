"""An operator's conversation with the agent, over a link: greeting, actions, decisions, the stream, the end."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nexus_agent import session
from nexus_agent.capture import DeskLost as Gone
from nexus_agent.permissions.policy import Policy
from nexus_protocol.actions import (
    Action,
    Click,
    Drag,
    Execute,
    FileRead,
    FileWrite,
    Key,
    Move,
    Press,
    Region,
    Release,
    Screenshot,
    Scroll,
    Type,
)
from nexus_protocol.errors import LinkClosed
from nexus_protocol.messages import (
    ActionReport,
    Answer,
    Bye,
    Cancel,
    Decide,
    DeskLost,
    DeskResized,
    Hello,
    Offer,
    Ping,
    Pong,
    RequestClosed,
    RequestOpened,
    Result,
    SetViewport,
    Viewport,
    Welcome,
)
from nexus_protocol.vocabulary import ActionState, Button, Effect, Permission, RequestState, Role

from .conftest import Office

OpenOffice = Callable[[Policy], Office]


@pytest.fixture
def real_tmp_path(tmp_path: Path) -> Path:
    """A folder whose path has no link in it."""
    return tmp_path.resolve()


LINE = "import sys; sys.stdout.write('ran')"
RUN = Execute(argv=(sys.executable, "-c", LINE))


# -- greeting


async def test_welcome_says_what_this_operator_may_do(office: Office) -> None:
    """The first message holds the desk's size, the role's effects and whether it may decide."""
    console = office.connect("ci", Role.AUTOMATION)
    console.link.send(Hello())
    welcome = await console.next(Welcome)
    assert (welcome.desk, welcome.width, welcome.height) == ("office", 1280, 800)
    assert (welcome.subject, welcome.role, welcome.may_decide) == ("ci", Role.AUTOMATION, False)
    assert welcome.effects[Permission.CLICK] is Effect.ASK
    assert welcome.warning == ""


@pytest.mark.parametrize(("version", "old"), [(0, "upgrade nexus-tui"), (99, "upgrade nexus-agent")])
async def test_another_version_is_told_which_side_to_upgrade(office: Office, version: int, old: str) -> None:
    """Bye, and the link ends."""
    console = office.connect()
    console.link.send(Hello(version=version))
    bye = await console.next(Bye)
    assert bye.code == "version"
    assert old in bye.reason
    with pytest.raises(LinkClosed):
        await console.next(Welcome)


async def test_who_says_something_else_first_is_refused(office: Office) -> None:
    """A session starts with hello."""
    console = office.connect()
    console.act("action-1", Click(x=1, y=1))
    assert (await console.next(Bye)).code == "protocol"
    assert office.desk.clicks == []


async def test_silence_instead_of_a_greeting_ends_the_link(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the deadline; nobody occupies a session by saying nothing."""
    monkeypatch.setattr(session, "HELLO_TIMEOUT", 0.01)
    assert "nothing was said" in (await office.connect().next(Bye)).reason


async def test_garbage_ends_only_its_own_link(office: Office) -> None:
    """Another session goes on as if nothing had happened."""
    alice, mallory = await office.welcome(), await office.welcome("mallory")
    next(iter(s for s in office.agent._sessions if s.actor.subject == "mallory"))._link.fed(b"\xff" * 64)
    with pytest.raises(LinkClosed):
        await mallory.next(Bye)
    assert (await alice.do("action-1", Click(x=5, y=6))).state is ActionState.DONE


async def test_a_broken_policy_is_said_and_denies(open_office: OpenOffice) -> None:
    """Everything but view is denied, with the reason in the greeting and in each denial."""
    console = (office := open_office(Policy.broken("policy.toml, line 3: bad"))).connect()
    console.link.send(Hello())
    assert "line 3: bad" in (await console.next(Welcome)).warning
    result = await console.do("action-1", Click(x=1, y=1))
    assert result.state is ActionState.DENIED
    assert "line 3: bad" in result.message
    console.link.send(Offer(sdp="v=0"))
    assert (await console.next(Answer)).problem == ""
    assert office.desk.clicks == []


# -- actions


async def test_input_reaches_the_desk_in_order(office: Office) -> None:
    """Instant actions, a drag and a long text keep the order they were asked for."""
    console = await office.welcome()
    notes = office.desk.place_of("notes")
    actions: list[Action] = [
        Click(x=notes[0], y=notes[1]),
        Type(text="a"),
        Type(text="é" * 600),
        Key(chord="b"),
        Drag(x=10, y=10, to_x=20, to_y=20),
        Type(text="c"),
        Move(x=700, y=300),
        Move(x=701, y=301),
        Scroll(x=702, y=302, dy=1),
    ]
    for number, action in enumerate(actions):
        console.act(f"action-{number}", action)
    await console.result("action-8")
    assert office.desk.text == "a" + "é" * 600 + "bc"
    assert office.desk.pointer == (702, 302)
    results = [message.id for message in console.heard if isinstance(message, Result)]
    assert sorted(results) == sorted(f"action-{number}" for number in range(len(actions)))


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (Click(x=5000, y=1), "x=5000 lies off the desk, which is 1280×800 pixels"),
        (Drag(x=1, y=800, to_x=1, to_y=1), "y=800 lies off the desk"),
        (Drag(x=1, y=1, to_x=1280, to_y=1), "x=1280 lies off the desk"),
        (Screenshot(region=Region(x=1000, y=0, width=300, height=10)), "x=1299 lies off the desk"),
        (Key(chord="ctrl+entr"), "did you mean enter"),
        (Type(text="a\x03"), "cannot be typed"),
    ],
)
async def test_what_cannot_be_done_fails_before_anybody_is_asked(office: Office, action: Action, said: str) -> None:
    """Off the desk, no such key, no such character."""
    result = await (await office.welcome("ci", Role.AUTOMATION)).do("action-1", action)
    assert result.state is ActionState.FAILED
    assert said in result.message
    assert office.agent.runner.pending() == []


async def test_screenshot_is_the_desk_to_the_pixel(office: Office) -> None:
    """The PNG of a region holds exactly what a grab of it holds."""
    region = Region(x=100, y=50, width=301, height=203)
    result = await (await office.welcome()).do("action-1", Screenshot(region=region))
    shown = np.asarray(Image.open(io.BytesIO(result.data)).convert("RGB"))
    assert np.array_equal(shown, office.desk.capture.grab(region)[:, :, 2::-1])


async def test_every_watcher_reads_one_line_for_a_held_button(office: Office) -> None:
    """Press and release on one spot are a click, apart they are a drag; moves are no news."""
    alice, bob = await office.welcome(), await office.welcome("bob", Role.VIEWER)
    steps: list[Action] = [Press(x=9, y=9), Move(x=10, y=9), Release(x=10, y=9), Press(x=9, y=9), Release(x=60, y=70)]
    for number, step in enumerate(steps):
        await alice.do(f"action-{number}", step)
    await alice.do("action-9", Key(chord="x"))
    await bob.next(ActionReport, lambda report: report.kind == "key")
    lines = [(r.kind, r.summary, r.who, r.place) for r in bob.heard if isinstance(r, ActionReport)]
    assert lines == [
        ("click", "left at 9,9", "alice", (9, 9)),
        ("drag", "left 9,9 → 60,70", "alice", (60, 70)),
        ("key", "x", "alice", None),
    ]


async def test_a_button_held_is_released_when_the_link_ends(office: Office) -> None:
    """Nobody's lost connection leaves the desk dragging."""
    alice, bob = await office.welcome(), await office.welcome("bob")
    await alice.do("action-1", Press(x=9, y=9))
    await bob.do("action-2", Press(x=9, y=9, button=Button.RIGHT))
    drawing = office.desk._drawing
    assert drawing.held == [Button.LEFT, Button.RIGHT]
    session_of_alice = next(task for s, task in office.agent._sessions.items() if s.actor.subject == "alice")
    alice.link.close()
    await session_of_alice
    assert drawing.held == [Button.RIGHT]


async def test_a_viewer_only_watches(office: Office) -> None:
    """It is denied what it tries, is asked nothing, and decides nothing."""
    viewer, ci = await office.welcome("eve", Role.VIEWER), await office.welcome("ci", Role.AUTOMATION)
    assert (await viewer.do("action-1", Click(x=1, y=1))).state is ActionState.DENIED
    ci.act("action-2", RUN)
    await viewer.next(ActionReport, lambda report: report.state is ActionState.WAITING)
    (opened,) = office.agent.runner.pending()
    viewer.decide(opened, approve=True)
    viewer.link.send(Ping(sent=1.5))
    assert (await viewer.next(Pong)).sent == 1.5
    assert len(office.agent.runner.pending()) == 1
    assert not [message for message in viewer.heard if isinstance(message, RequestOpened)]


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


async def test_what_waits_is_shown_to_an_approver_who_comes_later(office: Office) -> None:
    """With the seconds that are left."""
    ci = await office.welcome("ci", Role.AUTOMATION)
    ci.act("action-1", RUN)
    await ci.next(ActionReport)
    opened = await (await office.welcome()).next(RequestOpened)
    assert opened.action == RUN
    assert 50 < opened.seconds <= 60


# -- the stream, the desk, the end


async def test_the_stream_follows_the_view_permission(
    open_office: OpenOffice, policy_file: Callable[[str], Path]
) -> None:
    """Denied, there is no stream and it is said why; allowed, it follows the viewport and ends with the link."""
    rule = '[[rule]]\npermission = "view"\nwho = "eve"\neffect = "deny"\n'
    office = open_office(Policy.load(policy_file(rule)))
    eve, alice = await office.welcome("eve"), await office.welcome()
    eve.link.send(Offer(sdp="x"))
    assert "rule 1: view by eve" in (await eve.next(Answer)).problem
    viewport = Viewport(width=320, height=200)
    alice.link.send(SetViewport(viewport=viewport))
    alice.link.send(Offer(sdp="x"))
    assert (await alice.next(Answer)).sdp == "answer to x"
    (stream,) = office.streams
    assert stream.viewports == [viewport]
    await alice.do("action-1", Key(chord="a"))
    eve.link.send(Ping(sent=1))
    await eve.next(Pong)
    assert not [message for message in eve.heard if isinstance(message, ActionReport)]
    session_of_alice = next(task for s, task in office.agent._sessions.items() if s.actor.subject == "alice")
    alice.link.close()
    await session_of_alice
    assert stream.closed


async def test_everyone_hears_of_the_desk(office: Office) -> None:
    """Its new size, and its end."""
    console = await office.welcome()
    assert office.desk.capture.on_resize is not None
    assert office.desk.capture.on_lost is not None
    office.desk.capture.on_resize(800, 600)
    assert await console.next(DeskResized) == DeskResized(width=800, height=600)
    office.desk.capture.on_lost(Gone("the X server went away"))
    assert (await console.next(DeskLost)).reason == "the X server went away"


async def test_closing_says_goodbye_and_leaves_nothing_pressed(office: Office) -> None:
    """What waited is cancelled, everyone gets Bye, buttons are up."""
    alice, ci = await office.welcome(), await office.welcome("ci", Role.AUTOMATION)
    await alice.do("action-1", Press(x=9, y=9))
    ci.act("action-2", RUN)
    await alice.next(RequestOpened)
    await office.agent.close()
    assert (await ci.result("action-2")).state is ActionState.CANCELLED
    assert (await ci.next(Bye)).code == "shutdown"
    assert (await alice.next(Bye)).code == "shutdown"
    assert office.desk._drawing.held == []


async def test_sessions_are_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than there may be is told so."""
    monkeypatch.setattr("nexus_agent.agent.MAX_SESSIONS", 1)
    first = await office.welcome()
    assert (await office.connect("bob").next(Bye)).code == "forbidden"
    assert (await first.do("action-1", Key(chord="a"))).state is ActionState.DONE
