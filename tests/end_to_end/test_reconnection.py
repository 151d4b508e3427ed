"""What happens when a part goes away: everything that is left says so, waits, and is back by itself."""

from __future__ import annotations

import itertools
import os
import signal
import socket
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from nexus_protocol.relay_messages import PATH, VERSION_HEADER
from nexus_protocol.vocabulary import VERSION, Role

from .harness import Person, Relay
from .processes import DEADLINE, Program
from .terminal import Box, Terminal
from .xdisplay import Canvas, server_of

ANNEX = "annex"
ORANGE = (220, 120, 30)

NOISE = (os.urandom(4096), b"\0" * 100, b"GET / HTTP/1.1\r\n" + b"x" * 100_000, b"\x16\x03\x01\x02\x00\x01")
"""What no WebSocket begins with."""
NONSENSE = (
    "not json", '{"type":"open","ref":-1}', '{"type":"welcome","subject":"x","role":"agent"}', "[" * 5_000,
    b"", b"\0", b"\xff\xff\xff\xff to a link that is not there",
)  # fmt: skip
"""What no program says to its relay."""


@pytest.fixture(scope="module")
def spare_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with Relay(tmp_path_factory.mktemp("reconnection") / "relay") as relay:
        yield relay


@pytest.fixture
def own_relay(spare_relay: Relay) -> Relay:
    """A relay that a test may stop; it runs when the test begins."""
    if spare_relay.program.process.poll() is not None:
        spare_relay.start()
    return spare_relay


@pytest.fixture
def operator(own_relay: Relay) -> Person:
    return own_relay.person("ada", Role.OPERATOR)


@pytest.fixture
def agent(own_relay: Relay, display: str) -> Iterator[Program]:
    with own_relay.agent(ANNEX, "--display", display) as agent:
        yield agent


@pytest.fixture
def console(operator: Person, agent: Program, canvas: Canvas) -> Iterator[Terminal]:
    canvas.paint(ORANGE)
    with operator.console(ANNEX) as terminal:
        picture(terminal)
        yield terminal


def picture(console: Terminal) -> Box:
    return console.wait(
        lambda screen: screen.shows(f"{ANNEX}  live")
        and (box := screen.area_of([ORANGE])) is not None and box.columns == 74 and box.rows >= 22 and box,
        "a live orange desk",
    )  # fmt: skip


def assert_click_works(console: Terminal, canvas: Canvas) -> None:
    canvas.forget()
    console.click(30, 18)
    canvas.wait_event("release", 1)
    assert len(canvas.clicks()) == 1


def test_all_come_back_when_the_relay_is_started_again(
    own_relay: Relay, agent: Program, console: Terminal, canvas: Canvas
) -> None:
    """Console and agent say what they wait for, dial again by themselves, and the picture and the mouse work."""
    own_relay.stop()
    console.wait_text("Reaching the desk", "cannot reach the relay")
    assert agent.line(lambda line: "dialling again" in line, "error").startswith("nexus-agent: ")
    own_relay.start()
    assert agent.line(lambda line: "connected again" in line, "error")
    picture(console)
    assert_click_works(console, canvas)
    assert agent.process.poll() is None


def test_the_console_finds_an_agent_that_was_started_again(
    own_relay: Relay, agent: Program, console: Terminal, canvas: Canvas, display: str
) -> None:
    """The desk goes away in order, the console says so and waits; a new agent serves it, and the mouse works."""
    done = agent.stop()
    assert (done.status, done.error) == (0, "")
    console.wait_text("Reaching the desk")
    with own_relay.agent(ANNEX, "--display", display):
        picture(console)
        assert_click_works(console, canvas)


def test_the_console_finds_an_agent_that_was_killed(
    own_relay: Relay, agent: Program, console: Terminal, canvas: Canvas, display: str
) -> None:
    """An agent that goes without a word is missed at once, and found again."""
    agent.stop(signal.SIGKILL)
    console.wait_text("Reaching the desk")
    with own_relay.agent(ANNEX, "--display", display):
        picture(console)
        assert_click_works(console, canvas)


def test_a_waiting_console_can_be_left(own_relay: Relay, agent: Program, console: Terminal) -> None:
    """While there is nothing to show, Ctrl+Q works as ever."""
    agent.stop()
    console.wait_text("Reaching the desk")
    console.send("\x11")
    assert console.ended() == 0


def test_a_desk_whose_display_ends_says_so(own_relay: Relay, operator: Person) -> None:
    """The X server dies: the agent says what happened and exits 1; the console tells, and waits for the desk."""
    agent = own_relay.agent(
        "doomed", "--virtual", "320x200", "--", "sh", "-c", "xsetroot -solid '#dc781e'",
        policy='[defaults]\nexecute = "allow"\n',
    )  # fmt: skip
    with agent, operator.console("doomed") as console:
        console.wait(lambda screen: screen.area_of([ORANGE]), "an orange desk")
        display = operator.act("doomed", "exec", "--", "sh", "-c", "echo $DISPLAY").out.strip()
        os.kill(server_of(display), signal.SIGKILL)
        done = agent.ended()
        assert (done.status, done.error.count("\n")) == (1, 1), done
        console.wait_text("Reaching the desk")


def test_garbage_on_the_relays_socket_disturbs_nobody(
    own_relay: Relay, operator: Person, console: Terminal, canvas: Canvas
) -> None:
    """Noise, a broken request, and nonsense from somebody with a good token: each is cut, and all others go on."""
    host, port = own_relay.url.removeprefix("ws://").split(":")
    for noise in NOISE:
        with socket.create_connection((host, int(port)), DEADLINE) as raw:
            try:
                raw.sendall(noise)
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(4096):
                    pass
            except OSError:
                pass  # it has hung up while we spoke
    stranger = own_relay.person("mallory", Role.OPERATOR)
    for nonsense in NONSENSE:
        headers = {"Authorization": f"Bearer {stranger.token.read_text().strip()}", VERSION_HEADER: str(VERSION)}
        with connect(own_relay.url + PATH, additional_headers=headers, open_timeout=DEADLINE) as peer:
            peer.recv(DEADLINE)
            peer.send(nonsense)
            with pytest.raises(ConnectionClosed) as end:
                deque((peer.recv(DEADLINE) for _ in itertools.count()), maxlen=0)
            assert end.value.rcvd is not None, nonsense
            assert end.value.rcvd.code in (1002, 1007, 1009, 4004), (nonsense, end.value)
    assert console.look(lambda screen: screen.shows(f"{ANNEX}  live"))
    assert_click_works(console, canvas)
    assert operator.act(ANNEX, "move", "1", "1").status == 0
    assert own_relay.program.process.poll() is None


def test_an_action_whose_agent_was_killed_is_not_run_again(
    own_relay: Relay, operator: Person, display: str, tmp_path: Path
) -> None:
    """A new agent cannot know what the old one did: the script is told so, and nothing happens twice."""
    runs, policy = tmp_path / "runs", '[defaults]\nexecute = "allow"\n'
    os.mkfifo(runs)
    agent = own_relay.agent("mortal", "--display", display, policy=policy)
    with operator.acting("mortal", "exec", "--", "sh", "-c", f"echo ran > {runs}; exec sleep 60") as script:
        assert runs.read_text() == "ran\n"
        agent.stop(signal.SIGKILL)
        with own_relay.agent("mortal", "--display", display, policy=policy):
            done = script.ended()
        assert (done.status, "not known" in done.error) == (4, True), done


def test_an_agent_that_does_not_answer_any_more_is_said_to_be_away(
    own_relay: Relay, agent: Program, console: Terminal, canvas: Canvas
) -> None:
    """Its connection stands, but it is stopped: the console does not go on calling that live."""
    agent.process.send_signal(signal.SIGSTOP)
    try:
        console.wait_text("has not answered")
    finally:
        agent.process.send_signal(signal.SIGCONT)
    picture(console)
    assert_click_works(console, canvas)
