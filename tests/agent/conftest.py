"""An agent on the synthetic desk, and consoles that talk to it over links kept in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from nexus_agent.agent import Agent
from nexus_agent.desks.synthetic import SyntheticDesk
from nexus_agent.permissions.policy import Policy
from nexus_protocol.actions import Action
from nexus_protocol.link import Link
from nexus_protocol.messages import (
    Act,
    Decide,
    FromAgent,
    Hello,
    RequestOpened,
    Result,
    StreamClock,
    ToAgent,
    Viewport,
    Welcome,
    from_agent,
    to_agent,
)
from nexus_protocol.vocabulary import Role

DEADLINE = 10.0
M = TypeVar("M")


def link_pair(peer: str, role: Role) -> tuple[Link[ToAgent, FromAgent], Link[FromAgent, ToAgent]]:
    """The two ends of one link, without a relay: what one side has to say is at the other at once."""
    other: dict[int, Link[Any, Any]] = {}

    def pump(link: Link[Any, Any]) -> None:
        while (payload := link.outgoing()) is not None:
            other[link.number].fed(payload)

    def hang_up(link: Link[Any, Any], reason: str) -> None:
        pump(link)
        other[link.number].ended("closed", reason)

    at_agent: Link[ToAgent, FromAgent] = Link(
        1, peer, role, incoming=to_agent, outgoing=from_agent, wake=pump, hang_up=hang_up
    )
    at_console: Link[FromAgent, ToAgent] = Link(
        2, "office", Role.AGENT, incoming=from_agent, outgoing=to_agent, wake=pump, hang_up=hang_up
    )
    other.update({1: at_console, 2: at_agent})
    return at_agent, at_console


class Console:
    """One operator's end of a link. ``heard`` is everything received so far."""

    def __init__(self, link: Link[FromAgent, ToAgent]) -> None:
        self.link = link
        self.heard: list[FromAgent] = []

    async def next(self, kind: type[M], where: Callable[[M], bool] = lambda message: True) -> M:
        """The next message of that kind that fits; what comes before it is only kept in ``heard``."""
        async with asyncio.timeout(DEADLINE):
            while True:
                message = await self.link.receive()
                self.heard.append(message)
                if isinstance(message, kind) and where(message):
                    return message

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

    def __init__(self, policy: Policy) -> None:
        self.desk = SyntheticDesk()
        self.streams: list[NoStream] = []
        self.agent = Agent(self.desk, policy, name="office", stream_factory=self._stream)

    def _stream(self, on_clock: Callable[[StreamClock], None]) -> NoStream:
        self.streams.append(NoStream(on_clock))
        return self.streams[-1]

    def connect(self, who: str = "alice", role: Role = Role.OPERATOR) -> Console:
        """A link on which nothing was said yet."""
        at_agent, at_console = link_pair(who, role)
        self.agent.serve(at_agent)
        return Console(at_console)

    async def welcome(self, who: str = "alice", role: Role = Role.OPERATOR) -> Console:
        """A link past its greeting."""
        console = self.connect(who, role)
        console.link.send(Hello())
        await console.next(Welcome)
        return console


@pytest.fixture
async def open_office() -> AsyncIterator[Callable[[Policy], Office]]:
    """Makes agents with a policy; ends them with the test."""
    offices: list[Office] = []

    def open_one(policy: Policy) -> Office:
        offices.append(Office(policy))
        return offices[-1]

    yield open_one
    for office in offices:
        await office.agent.close()
        await office.desk.close()


@pytest.fixture
async def office(open_office: Callable[[Policy], Office]) -> Office:
    """The agent with the built-in policy."""
    return open_office(Policy())


@pytest.fixture
def policy_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a policy file."""

    def write(text: str) -> Path:
        path = tmp_path / "policy.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
