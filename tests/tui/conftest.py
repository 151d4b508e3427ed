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
from nexus_agent.permissions.policy import Policy
from nexus_protocol.messages import ActionReport, RequestClosed, RequestOpened, Result, Welcome
from nexus_protocol.vocabulary import Role
from nexus_tui.core.observer import SessionState
from nexus_tui.core.session import Session
from nexus_tui.core.stream import Picture
from relay import tokens
from relay.server import RelayServer

DEADLINE = 20
KEY = bytes(range(32))


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
        self._news = asyncio.Event()

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not happened():
                self._news.clear()
                await self._news.wait()

    def on_state(self, state: SessionState, detail: str) -> None:
        self.states.append((state, detail))
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


@dataclass
class World:
    """Everything but the console. Agents and the relay can be stopped and started again."""

    stack: AsyncExitStack
    folder: Path
    port: int = 0
    relay: RelayServer | None = None
    desks: dict[str, SyntheticDesk] = field(default_factory=dict)
    _agents: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _stop_relay: Callable[[], Awaitable[object]] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start_relay(self) -> None:
        server = RelayServer(KEY, "127.0.0.1", self.port)
        inner = await self.stack.enter_async_context(AsyncExitStack())
        self.relay = await inner.enter_async_context(server)
        self.port = int(self.relay.addresses[0].rpartition(":")[2])
        self._stop_relay = inner.aclose

    async def stop_relay(self) -> None:
        assert self._stop_relay is not None
        await self._stop_relay()

    async def start_agent(self, name: str = "office", policy: str = "") -> SyntheticDesk:
        """Serve a drawn desk; returns when consoles can reach it."""
        file = self.folder / f"{name}.toml"
        file.write_text(policy)
        desk: Desk = await open_desk(synthetic=True)
        assert isinstance(desk, SyntheticDesk)
        self.desks[name] = desk
        agent = Agent(desk, Policy.load_or_broken(file))
        token = tokens.mint(KEY, Role.AGENT, name, [name])
        self._agents[name] = asyncio.create_task(agent.run(self.url, token))
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

    def session(self, role: Role = Role.OPERATOR, subject: str = "alice", *, watch: bool = False) -> Session:
        return Session(self.url, tokens.mint(KEY, role, subject, ["*"]), watch=watch)

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
