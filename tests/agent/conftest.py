"""An agent on the synthetic desk, and consoles that talk to it over links kept in memory."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import pytest
from structlog.testing import capture_logs

from nexus_agent.agent import Agent
from nexus_agent.cli import main
from nexus_agent.desks.synthetic import SyntheticDesk
from nexus_agent.permissions.operators import Operators
from nexus_agent.permissions.policy import Policy
from nexus_protocol.actions import Action
from nexus_protocol.errors import LinkClosed
from nexus_protocol.identity import Identity
from nexus_protocol.link import Link
from nexus_protocol.messages import (
    Act,
    Bye,
    Decide,
    FromAgent,
    Hello,
    Ping,
    Pong,
    RequestOpened,
    Result,
    StreamClock,
    ToAgent,
    Viewport,
    Welcome,
    from_agent,
    to_agent,
)
from nexus_protocol.tunnel import Tunnel
from nexus_protocol.vocabulary import Role

DEADLINE = 10.0
M = TypeVar("M")
DESK_KEY = Identity.new()

AgentLink = Link[ToAgent, FromAgent]
ConsoleLink = Link[FromAgent, ToAgent]
Lines = list[MutableMapping[str, Any]]
"""The log: one mapping for each line."""


class Wire:
    """Takes what a console says to the agent, sealed, in the relay's place; honest until a test says otherwise.

    ``carry`` is what arrives for one payload.
    """

    def __init__(self) -> None:
        self.carry: Callable[[bytes], Iterable[bytes]] = lambda payload: [payload]
        self.deliver: Callable[[bytes], None]

    def take(self, payload: bytes) -> None:
        for arriving in self.carry(payload):
            self.deliver(arriving)


def fragment(payload: bytes, first: int = 0x80) -> bytes:
    """What lanes would make of a message, and, with another ``first`` byte, what they would not."""
    return bytes((first,)) + len(payload).to_bytes(3, "big") + payload


def link_pair(
    peer: str, role: Role, key: Identity, wire: Wire, serve: Callable[[AgentLink], None]
) -> Link[FromAgent, ToAgent]:
    """The console's end of a sealed link, without a relay: what one side has to say is at the other at once.

    ``peer`` and ``role`` are what the relay says of whoever holds ``key``. ``serve`` is given the agent's end before
    anything is said.
    """
    other: dict[int, Link[Any, Any]] = {}

    def pump(link: Link[Any, Any]) -> None:
        take = wire.take if link is at_console else at_console.fed
        while (payload := link.outgoing()) is not None:
            take(payload)

    def hang_up(link: Link[Any, Any], code: str) -> None:
        pump(link)
        other[link.number].ended("closed", code)

    at_agent: AgentLink = Link(
        1, peer, role, tunnel=Tunnel(DESK_KEY, opens=False),
        incoming=to_agent, outgoing=from_agent, wake=pump, hang_up=hang_up,
    )  # fmt: skip
    at_console: ConsoleLink = Link(
        2, "office", Role.AGENT, tunnel=Tunnel(key, opens=True),
        incoming=from_agent, outgoing=to_agent, wake=pump, hang_up=hang_up,
    )  # fmt: skip
    other.update({1: at_console, 2: at_agent})
    wire.deliver = at_agent.fed
    at_console.admit()
    serve(at_agent)
    pump(at_console)
    return at_console


class Console:
    """One operator's end of a link, and the way from there. ``heard`` is everything received so far."""

    def __init__(self, link: ConsoleLink, wire: Wire, hosting: set[asyncio.Task[None]]) -> None:
        self.link = link
        self.wire = wire
        self._hosting = hosting
        self.heard: list[FromAgent] = []

    async def next(self, kind: type[M], where: Callable[[M], bool] = lambda message: True) -> M:
        """The next message of that kind that fits; what comes before it is only kept in ``heard``."""
        async with asyncio.timeout(DEADLINE):
            while True:
                message = await self.link.receive()
                self.heard.append(message)
                if isinstance(message, kind) and where(message):
                    return message

    async def end(self) -> LinkClosed:
        """How the link ends, after everything that is still received."""
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    self.heard.append(await self.link.receive())
                except LinkClosed as end:
                    return end

    async def left(self) -> None:
        """The agent is done with this link."""
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*self._hosting, return_exceptions=True)

    async def refusal(self, hello: Hello | None = None) -> Bye:
        """What the agent says instead of Welcome; nothing comes after it."""
        self.link.send(hello or Hello())
        bye = await self.next(Bye)
        await self.end()
        assert self.heard[-1] is bye
        assert not self.of(Welcome)
        return bye

    async def settle(self) -> None:
        """Whatever the agent had to say to what was sent so far is in ``heard``."""
        self.link.send(Ping(sent=1))
        await self.next(Pong)

    def of(self, kind: type[M]) -> list[M]:
        """What was heard of that kind."""
        return [message for message in self.heard if isinstance(message, kind)]

    def utter(self, plain: bytes) -> None:
        """Any bytes at all, properly sealed."""
        self.wire.take(self.link._tunnel.seal(plain))

    def act(self, id: str, action: Action) -> None:
        self.link.send(Act(id=id, action=action))

    async def result(self, id: str) -> Result:
        return await self.next(Result, lambda result: result.id == id)

    async def do(self, id: str, action: Action) -> Result:
        self.act(id, action)
        return await self.result(id)

    def decide(self, opened: RequestOpened, approve: bool, reason: str = "") -> None:
        self.link.send(Decide(request=opened.request, payload_hash=opened.payload_hash, approve=approve, reason=reason))


class NoStream:
    """Stands for the WebRTC stream: it remembers what it was told."""

    def __init__(self, on_clock: Callable[[StreamClock], None]) -> None:
        self.viewports: list[Viewport] = []
        self.closed = False

    def set_viewport(self, viewport: Viewport) -> None:
        self.viewports.append(viewport)

    def changed(self) -> None:
        pass

    async def answer(self, offer: str) -> str:
        return f"answer to {offer}"

    async def close(self) -> None:
        self.closed = True


class Office:
    """The agent of desk `office`, and the means to connect to it."""

    def __init__(self, policy: Policy, folder: Path, *, asks: bool = False) -> None:
        self.operators = Operators(folder)
        self.keys: dict[tuple[str, Role], Identity] = {}
        self.desk = SyntheticDesk()
        self.streams: list[NoStream] = []
        self.agent = Agent(
            self.desk, policy, operators=self.operators, name="office", asks=asks, stream_factory=self._stream
        )

    def _stream(self, on_clock: Callable[[StreamClock], None]) -> NoStream:
        self.streams.append(NoStream(on_clock))
        return self.streams[-1]

    def connect(self, who: str = "alice", role: Role = Role.OPERATOR) -> Console:
        """A link of somebody who may come, on which nothing was said yet."""
        return self.arrive(who, role, self.key(who, role))

    def key(self, who: str, role: Role) -> Identity:
        """The key of an operator of that name and role, who is let in."""
        if (key := self.keys.get((who, role))) is None:
            key = self.keys[who, role] = Identity.new()
            self.operators.add(who, role, key.fingerprint, approver=role is Role.OPERATOR, by="the test")
        return key

    def arrive(self, who: str, role: Role, key: Identity, wire: Wire | None = None) -> Console:
        """A link of whoever holds ``key``, with what the relay says of them."""
        wire, before = wire or Wire(), set(self.agent._guests)
        link = link_pair(who, role, key, wire, self.agent.serve)
        return Console(link, wire, self.agent._guests - before)

    async def welcome(self, who: str = "alice", role: Role = Role.OPERATOR) -> Console:
        """A link past its greeting."""
        console = self.connect(who, role)
        console.link.send(Hello())
        await console.next(Welcome)
        return console


class OpenOffice(Protocol):
    def __call__(self, policy: Policy, *, asks: bool = False) -> Office: ...


@pytest.fixture
async def open_office(tmp_path: Path) -> AsyncIterator[OpenOffice]:
    """Makes agents with a policy; ends them with the test."""
    offices: list[Office] = []

    def open_one(policy: Policy, *, asks: bool = False) -> Office:
        folder = tmp_path / f"office-{len(offices)}"
        folder.mkdir()
        offices.append(Office(policy, folder, asks=asks))
        return offices[-1]

    yield open_one
    for office in offices:
        await office.agent.close()
        await office.desk.close()


@pytest.fixture
async def office(open_office: OpenOffice) -> Office:
    """The agent with the built-in policy."""
    return open_office(Policy())


@pytest.fixture
def log() -> Iterator[Lines]:
    """What the agent logs while the test runs."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def policy_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a policy file."""

    def write(text: str) -> Path:
        path = tmp_path / "policy.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


class Done(NamedTuple):
    status: int
    out: str
    error: str


Run = Callable[..., Done]


def assert_failed(done: Done, status: int, said: str) -> None:
    """One line of standard error, and nothing else."""
    assert said in done.error
    assert (done.status, done.out, done.error.count("\n")) == (status, "", 1)
    assert done.error.startswith("nexus-agent: ")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The agent's state folder."""
    path = tmp_path / "state"
    path.mkdir()
    return path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process, with ``said`` on its standard input."""
    monkeypatch.setenv("NEXUS_STATE_DIR", str(folder))
    for name in ("NEXUS_TOKEN", "NEXUS_RELAY"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, said: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.StringIO(said))
        with pytest.raises(SystemExit) as exit:
            main(list(arguments))
        assert isinstance(exit.value.code, int)
        return Done(exit.value.code, *capsys.readouterr())

    return run
