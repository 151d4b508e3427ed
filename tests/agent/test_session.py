"""An operator's conversation with the agent, over a link: greeting, actions, decisions, the stream, the end."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nexus_agent import door
from nexus_agent.capture import DeskLost as Gone
from nexus_agent.permissions.policy import Policy
from nexus_protocol.actions import (
    Action,
    Click,
    Drag,
    Execute,
    Key,
    Move,
    Press,
    Region,
    Release,
    Screenshot,
    Scroll,
    Type,
)
from nexus_protocol.messages import (
    ActionReport,
    Answer,
    Bye,
    DeskLost,
    DeskResized,
    Hello,
    Offer,
    Ping,
    Pong,
    RequestOpened,
    Result,
    SetViewport,
    Viewport,
    Welcome,
)
from nexus_protocol.vocabulary import ActionState, Button, Effect, Permission, Role

from .conftest import Office, OpenOffice

RUN = Execute(argv=("true",))


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


async def test_an_agent_that_was_started_anew_says_so(open_office: OpenOffice) -> None:
    """All sessions of one agent read the same instance; another agent has another."""
    first, second = open_office(Policy()), open_office(Policy())
    instances = []
    for office, who in ((first, "alice"), (first, "bob"), (second, "alice")):
        console = office.connect(who)
        console.link.send(Hello())
        instances.append((await console.next(Welcome)).instance)
    assert instances[0] == instances[1] != instances[2]
    assert all(instances)


@pytest.mark.parametrize(("version", "old"), [(0, "upgrade nexus-tui"), (99, "upgrade nexus-agent")])
async def test_another_version_is_told_which_side_to_upgrade(office: Office, version: int, old: str) -> None:
    """Bye, and the link ends."""
    bye = await office.connect().refusal(Hello(version=version))
    assert bye.code == "version"
    assert old in bye.reason


async def test_who_says_something_else_first_is_refused(office: Office) -> None:
    """A session starts with hello, also with somebody who may come."""
    console = office.connect()
    console.act("action-1", Click(x=1, y=1))
    assert str(await console.end()) == "malformed"
    assert (console.heard, office.desk.clicks) == ([], [])


async def test_silence_instead_of_a_greeting_ends_the_link(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the deadline; nobody occupies a session by saying nothing."""
    monkeypatch.setattr(door, "HELLO_TIMEOUT", 0.01)
    assert "nothing was said" in (await office.connect().next(Bye)).reason


async def test_garbage_ends_only_its_own_link(office: Office) -> None:
    """Another session goes on as if nothing had happened."""
    alice, mallory = await office.welcome(), await office.welcome("mallory")
    mallory.wire.deliver(b"\xff" * 64)
    await mallory.end()
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


async def test_a_bug_in_the_input_ends_that_action_only(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone or in the queue behind others; the session and what comes after go on."""

    def stumble(chord: object) -> None:
        raise ZeroDivisionError

    alice = await office.welcome()
    with monkeypatch.context() as broken:
        broken.setattr(office.desk.input, "chord", stumble)
        result = await alice.do("action-1", Key(chord="a"))
        assert (result.state, result.message) == (
            ActionState.FAILED, "the agent met an error of its own; see its log"
        )  # fmt: skip
        alice.act("action-2", Type(text="é" * 10))
        alice.act("action-3", Key(chord="b"))
        assert (await alice.result("action-3")).state is ActionState.FAILED
    assert (await alice.do("action-4", Type(text="c"))).state is ActionState.DONE
    assert office.desk.text == "é" * 10 + "c"


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
    alice.link.close()
    await alice.left()
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
    alice.link.close()
    await alice.left()
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


async def test_strangers_who_wait_keep_nobody_out(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound the one that has said nothing for longest goes; who has something to say comes in."""
    monkeypatch.setattr("nexus_agent.agent.MAX_STRANGERS", 2)
    silent = [office.connect(f"silent-{number}") for number in range(2)]
    alice = await office.welcome()
    await silent[0].end()
    assert not silent[1].link.closed
    assert (await alice.do("action-1", Key(chord="a"))).state is ActionState.DONE


async def test_one_name_crowds_out_only_itself(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody chooses the name in their token: a flood of one finds its own end, and others their place."""
    monkeypatch.setattr("nexus_agent.agent.MAX_STRANGERS_EACH", 2)
    waiting = office.connect("alice")
    flood = [office.connect("mallory") for _ in range(5)]
    for console in flood[:3]:
        await console.end()
    assert not waiting.link.closed
    waiting.link.send(Hello())
    await waiting.next(Welcome)


async def test_one_key_has_a_few_sessions_and_not_the_desk(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told so; whoever else comes is let in."""
    monkeypatch.setattr("nexus_agent.agent.MAX_SESSIONS_EACH", 2)
    for _ in range(2):
        await office.welcome("guest", Role.VIEWER)
    bye = await office.connect("guest", Role.VIEWER).refusal()
    assert (bye.code, "of your key" in bye.reason) == ("full", True)
    await office.welcome()


async def test_sessions_are_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than there may be is told so, and costs not even a handshake."""
    monkeypatch.setattr("nexus_agent.agent.MAX_SESSIONS", 1)
    first = await office.welcome()
    bob = office.connect("bob")
    assert str(await bob.end()) == "full"
    assert bob.link._tunnel.peer is None
    assert (await first.do("action-1", Key(chord="a"))).state is ActionState.DONE
