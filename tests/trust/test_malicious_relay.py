"""Whoever owns the relay gets nothing: neither a word through that was not said, nor one that was said, twice."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from nexus_agent.agent import Agent
from nexus_agent.desks.synthetic import SyntheticDesk
from nexus_agent.permissions.operators import Operators
from nexus_agent.permissions.policy import Policy
from nexus_protocol.actions import Click
from nexus_protocol.dialer import RelayClient, Status, dial
from nexus_protocol.errors import LinkClosed, Unreachable
from nexus_protocol.identity import Identity
from nexus_protocol.link import Link
from nexus_protocol.messages import (
    Act,
    ActionReport,
    FromAgent,
    Hello,
    Ping,
    Pong,
    Result,
    ToAgent,
    Welcome,
    from_agent,
    to_agent,
)
from nexus_protocol.settings import RelayToken
from nexus_protocol.vocabulary import Button, Role
from nexus_tui.core.known_desks import ChangedKey, KnownDesks

from .mallory import DESK, TAMPERINGS, TURNS, Mallory

ATTACKS = 1_900
"""For each of the SEEDS: a part that is done in a quarter of the time a test may take, and on any core."""
SEEDS = (20, 21, 22, 23, 24)
SWAPS = 500
DEADLINE = 50


class Visit:
    """One link: hello, two clicks, a ping. Whatever is heard on it has to be what the agent said, in its order."""

    def __init__(self, link: Link[FromAgent, ToAgent], number: int) -> None:
        self.link = link
        self.number = number
        self.heard: list[FromAgent] = []
        self.answered = asyncio.Event()

    async def talk(self, known: KnownDesks) -> None:
        """Each word after the answer to the one before, until the link ends. Raises ChangedKey."""
        with contextlib.suppress(LinkClosed):
            known.check(DESK, await self.link.secured())
            self.link.admit()
            await self._ask(Hello(), Welcome)
            for click in (1, 2):
                wanted = Act(id=f"link-{self.number}-{click}", action=Click(x=self.number % 1280, y=click))
                await self._ask(wanted, Result)
            await self._ask(Ping(sent=1.0), Pong)
            self.answered.set()
            while True:
                self.heard.append(await self.link.receive())

    async def _ask(self, question: ToAgent, answer: type[Welcome | Result | Pong]) -> None:
        self.link.send(question)
        answered = False
        while not answered:
            self.heard.append(await self.link.receive())
            answered = isinstance(self.heard[-1], answer)

    def check(self) -> None:
        """What was heard is the beginning of what the agent said."""
        said = [message for message in self.heard if not isinstance(message, ActionReport)]
        assert all(isinstance(message, Welcome) and message.desk == DESK for message in said[:1])
        results = [f"link-{self.number}-1", f"link-{self.number}-2"]
        told = [message.id for message in said[1:3] if isinstance(message, Result)]
        assert told == results[: len(told)]
        rest = said[1 + len(told) :]
        assert len(told) == 2 or not rest
        assert all(isinstance(message, Pong) and message.sent == at for at, message in enumerate(rest, 1))


class Operator:
    """Somebody who opens link after link through that relay."""

    def __init__(self, client: RelayClient[FromAgent, ToAgent], known: KnownDesks, mallory: Mallory) -> None:
        self._client = client
        self._known = known
        self._mallory = mallory
        self.links = 0
        self.refused = 0

    async def visit(self) -> None:
        link = await self._client.open(DESK)
        self.links += 1
        visit = Visit(link, self.links)
        talking = asyncio.create_task(visit.talk(self._known))
        waiting = [asyncio.create_task(event.wait()) for event in (visit.answered, self._mallory.tampered)]
        await asyncio.wait([talking, *waiting], return_when=asyncio.FIRST_COMPLETED)
        if self._mallory.tampered.is_set():
            await self._find_out(link)
        for task in waiting:
            task.cancel()
        link.close()
        try:
            await talking
        except ChangedKey:
            self.refused += 1
        visit.check()

    async def _find_out(self, link: Link[FromAgent, ToAgent]) -> None:
        """What is missing is missed with the next frame, so two more go each way."""
        for ping in (2.0, 3.0):
            for _ in range(3):
                if link.closed:
                    return
                await self._arrived()
            if link.admitted and not link.closed:
                link.send(Ping(sent=ping))

    async def _arrived(self) -> None:
        """Returns when the relay has answered: everything that it sent before has been taken in by then."""
        with pytest.raises(Unreachable):
            await self._client.open("nowhere")


class Nothing:
    """A listener that does not care."""

    def on_status(self, status: Status) -> None:
        pass

    def on_presence(self, desks: tuple[str, ...]) -> None:
        pass

    def on_link(self, link: Link[Any, Any]) -> None:
        raise AssertionError("a link to a console")


class Scene:
    def __init__(self, mallory: Mallory, desk: SyntheticDesk, operator: Operator, agent: Agent) -> None:
        self.mallory, self.desk, self.operator, self.agent = mallory, desk, operator, agent


@pytest.fixture
async def scene(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """A real agent and a real operator, who know each other's keys, and between them Mallory."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # one line a link else
    async with Mallory(seed=getattr(request, "param", SEEDS[0])) as mallory:
        desk, desks_key, mine = SyntheticDesk(), Identity.new(), Identity.new()
        operators, known = Operators(tmp_path), KnownDesks(tmp_path, mallory.url)
        agent = Agent(desk, Policy(), operators=operators)
        operators.add("alice", Role.OPERATOR, mine.fingerprint, approver=True, by="the test")
        known.pin(DESK, desks_key.fingerprint, by="the test")
        serving = asyncio.create_task(agent.run(mallory.url, RelayToken("agent"), desks_key))
        await mallory.agent()
        client: RelayClient[FromAgent, ToAgent] = RelayClient(
            mallory.url, RelayToken("operator"), mine, Nothing(), incoming=from_agent, outgoing=to_agent
        )
        async with dial(client, redial=False):
            yield Scene(mallory, desk, Operator(client, known, mallory), agent)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await desk.close()


@pytest.mark.parametrize("scene", SEEDS, indirect=True)
async def test_nothing_tampered_with_is_accepted(scene: Scene) -> None:
    """Frames flipped, cut, padded, dropped, repeated, moved, mixed up or made up, nearly ten thousand: none is taken.

    Every link ends at the first of them. What the desk did is what was asked for, once, in its order.
    """
    mallory, operator = scene.mallory, scene.operator
    while sum(mallory.tally.values()) < ATTACKS:
        await operator.visit()
    assert set(mallory.tally) == {tampering.__name__ for tampering in TAMPERINGS}
    assert set(mallory.places) == {(way, turn) for way, turns in TURNS.items() for turn in turns}
    assert min(mallory.places.values()) > ATTACKS / 50
    done = [(x, y) for x, y, button in scene.desk.clicks if button is Button.LEFT]
    assert len(done) == len(scene.desk.clicks)
    asked = iter((number % 1280, click) for number in range(1, operator.links + 1) for click in (1, 2))
    assert all(click in asked for click in done)  # a subsequence: in order, none twice, none that was not asked for


async def test_certificates_that_are_swapped_are_refused_by_both(scene: Scene) -> None:
    """With a key of its own for each side the relay hears nothing from the operator, and does nothing at the desk."""
    scene.mallory.in_the_middle = True
    for _ in range(SWAPS):
        await scene.operator.visit()
    assert (scene.operator.refused, scene.mallory.tally["certificates swapped"]) == (SWAPS, SWAPS)
    assert [middle.heard for middle in scene.mallory.middles] == [b""] * SWAPS
    assert scene.desk.clicks == []
