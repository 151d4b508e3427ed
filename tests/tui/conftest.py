"""A relay, an agent on a drawn desk, and consoles: the real parts, in one process, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nexus_agent.agent import Agent
from nexus_agent.desks import Desk, open_desk
from nexus_agent.desks.synthetic import SyntheticDesk
from nexus_agent.permissions.operators import Operators
from nexus_agent.permissions.policy import Policy
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.identity import Identity
from nexus_protocol.messages import ActionReport, RequestClosed, RequestOpened, Result, Welcome
from nexus_protocol.settings import RelayToken
from nexus_protocol.vocabulary import Role
from nexus_tui.core.known_desks import UnknownDesk
from nexus_tui.core.membership import Membership
from nexus_tui.core.observer import SessionState
from nexus_tui.core.session import Session
from nexus_tui.core.stream import Picture
from relay.issuer import Issuer
from relay.server import RelayServer

DEADLINE = 20


class Witness:
    """An observer that keeps what it is told; `until` waits for what a test wants to see."""

    def __init__(self) -> None:
        self.states: list[tuple[SessionState, str]] = []
        self.welcomes: list[Welcome] = []
        self.sizes: list[tuple[int, int]] = []
        self.pictures: list[Picture] = []
        self.problems: list[str] = []
        self.reports: list[ActionReport] = []
        self.results: dict[str, Result] = {}
        self.requests: list[RequestOpened] = []
        self.closed: list[RequestClosed] = []
        self.desks: tuple[str, ...] = ()
        self.unknown: UnknownDesk | None = None
        self._news = asyncio.Event()

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not happened():
                self._news.clear()
                await self._news.wait()

    def on_state(self, state: SessionState, detail: str) -> None:
        self.states.append((state, detail))
        self._news.set()

    def on_held(self, reason: str) -> None:
        self.states.append((SessionState.REACHING, reason))
        self._news.set()

    def on_welcome(self, welcome: Welcome) -> None:
        self.welcomes.append(welcome)

    def on_desk_resized(self, width: int, height: int) -> None:
        self.sizes.append((width, height))
        self._news.set()

    def on_picture(self, picture: Picture) -> None:
        self.pictures.append(picture)
        self._news.set()

    def on_stream_problem(self, problem: str) -> None:
        self.problems.append(problem)
        self._news.set()

    def on_report(self, report: ActionReport) -> None:
        self.reports.append(report)
        self._news.set()

    def on_result(self, result: Result) -> None:
        self.results[result.id] = result
        self._news.set()

    def on_request(self, request: RequestOpened) -> None:
        self.requests.append(request)
        self._news.set()

    def on_request_closed(self, closed: RequestClosed) -> None:
        self.closed.append(closed)
        self._news.set()

    def on_desks(self, desks: tuple[str, ...]) -> None:
        self.desks = desks
        self._news.set()

    def on_unknown_desk(self, unknown: UnknownDesk) -> None:
        self.unknown = unknown
        self._news.set()


@dataclass
class World:
    """Everything but the console. Agents and the relay can be stopped and started again."""

    stack: AsyncExitStack
    folder: Path
    port: int = 0
    relay: RelayServer | None = None
    keys: dict[str, Identity] = field(default_factory=dict)
    desks: dict[str, SyntheticDesk] = field(default_factory=dict)
    _agents: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _stop_relay: Callable[[], Awaitable[object]] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def __post_init__(self) -> None:
        self.issuer = Issuer.create(self.place("relay"))

    def place(self, name: str) -> Path:
        """A state folder."""
        folder = self.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    async def start_relay(self) -> None:
        server = RelayServer(self.issuer, "127.0.0.1", self.port)
        inner = await self.stack.enter_async_context(AsyncExitStack())
        self.relay = await inner.enter_async_context(server)
        self.port = int(self.relay.addresses[0].rpartition(":")[2])
        self._stop_relay = inner.aclose

    async def stop_relay(self) -> None:
        assert self._stop_relay is not None
        await self._stop_relay()

    async def start_agent(self, name: str = "office", policy: str = "") -> SyntheticDesk:
        """Serve a drawn desk, which lets in everybody whose key this world has made; returns when it can be reached."""
        folder = self.place(f"agent-{name}")
        file = folder / "policy.toml"
        file.write_text(policy)
        desk: Desk = await open_desk(synthetic=True)
        assert isinstance(desk, SyntheticDesk)
        self.desks[name] = desk
        agent = Agent(desk, Policy.load_or_broken(file), operators=self.operators(name))
        token = RelayToken(self.issuer.mint(Role.AGENT, name, [name]))
        self._agents[name] = asyncio.create_task(agent.run(self.url, token, Identity.of(folder)))
        with_it = self.session(Role.OPERATOR, "usher")
        with_it.observer = witness = Witness()
        async with with_it.dialled():
            await witness.until(lambda: name in witness.desks)
        return desk

    async def stop_agent(self, name: str = "office") -> None:
        agent = self._agents.pop(name)
        agent.cancel()
        await asyncio.gather(agent, return_exceptions=True)
        await self.desks.pop(name).close()

    def operators(self, desk: str = "office") -> Operators:
        """Whom that desk lets in."""
        return Operators(self.place(f"agent-{desk}"))

    def fingerprint(self, desk: str = "office") -> Fingerprint:
        return Identity.of(self.place(f"agent-{desk}")).fingerprint

    def membership(self, role: Role = Role.OPERATOR, subject: str = "alice", *desks: str) -> Membership:
        """Somebody whom the desks let in, and who knows them."""
        folder = self.place(f"{role}-{subject}")
        token = RelayToken(self.issuer.mint(role, subject, ["*"]))
        member = Membership.of(folder, self.url, token)
        for desk in desks or ("office", "lab"):
            may_approve = role is Role.OPERATOR
            self.operators(desk).add(subject, role, member.identity.fingerprint, approver=may_approve, by="the test")
            member.known.pin(desk, self.fingerprint(desk), by="the test")
        return member

    def session(self, role: Role = Role.OPERATOR, subject: str = "alice", *, watch: bool = False) -> Session:
        return Session(self.membership(role, subject), watch=watch)

    async def enter(
        self, role: Role = Role.OPERATOR, subject: str = "alice", *, watch: bool = False
    ) -> tuple[Session, Witness]:
        """A session at the office, served, until the test ends."""
        session, witness = self.session(role, subject, watch=watch), Witness()
        session.observer = witness
        await self.stack.enter_async_context(session.dialled())
        await session.open("office")
        session.start()
        return session, witness


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        world = World(stack, tmp_path)
        await world.start_relay()
        yield world
        for name in list(world.desks):
            await world.stop_agent(name)
