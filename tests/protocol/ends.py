"""Both ends of a sealed conversation in one place, and the way between them, which a test may tamper with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nexus_protocol.identity import Identity
from nexus_protocol.link import Link
from nexus_protocol.messages import FromAgent, ToAgent, from_agent, to_agent
from nexus_protocol.tunnel import Tunnel
from nexus_protocol.vocabulary import Role

ANNA, OFFICE = Identity.new(), Identity.new()
Console = Link[FromAgent, ToAgent]
Agent = Link[ToAgent, FromAgent]


def says(tunnel: Tunnel) -> Iterator[bytes]:
    """What a tunnel has to send by itself."""
    while (payload := tunnel.outgoing()) is not None:
        yield payload


def shake_hands(opener: Tunnel, other: Tunnel) -> list[bytes]:
    """Carry the handshake; returns what the relay saw of it."""
    seen: list[bytes] = []
    while moved := [*((other, data) for data in says(opener)), *((opener, data) for data in says(other))]:
        for receiver, data in moved:
            seen.append(data)
            assert receiver.receive(data) == b""
    return seen


def sealed() -> tuple[Tunnel, Tunnel]:
    """Anna's tunnel to the office and the office's to her, the handshake over."""
    anna, office = Tunnel(ANNA, opens=True), Tunnel(OFFICE, opens=False)
    shake_hands(anna, office)
    return anna, office


class Pair:
    """A console's link and an agent's, and the dialers' part of both: `pump` carries what they have to say."""

    def __init__(self, *, shaken: bool = True, admitted: bool = True) -> None:
        self.hung_up: list[tuple[Link[Any, Any], str]] = []
        self.woken: set[Link[Any, Any]] = set()
        self.tunnel_of_console = Tunnel(ANNA, opens=True)
        self.tunnel_of_agent = Tunnel(OFFICE, opens=False)
        self.console: Console = Link(
            1, "office", Role.AGENT, tunnel=self.tunnel_of_console,
            incoming=from_agent, outgoing=to_agent, wake=self.woken.add, hang_up=self._hang_up,
        )  # fmt: skip
        self.agent: Agent = Link(
            1, "anna", Role.OPERATOR, tunnel=self.tunnel_of_agent,
            incoming=to_agent, outgoing=from_agent, wake=self.woken.add, hang_up=self._hang_up,
        )  # fmt: skip
        if shaken:
            self.pump()
        if admitted:
            self.console.admit()
            self.agent.admit()

    def _hang_up(self, link: Link[Any, Any], code: str) -> None:
        self.hung_up.append((link, code))

    def console_says(self, plain: bytes) -> None:
        """The agent gets bytes that the console has sealed, whatever they are."""
        self.agent.fed(self.tunnel_of_console.seal(plain))

    def pump(self) -> None:
        """Carry everything; then tell the other side of an end, as the relay does."""
        moved = True
        while moved:
            moved = False
            for link, other in ((self.console, self.agent), (self.agent, self.console)):
                while (payload := link.outgoing()) is not None:
                    other.fed(payload)
                    moved = True
        for link, code in self.hung_up:
            other = self.agent if link is self.console else self.console
            other.ended("closed", f"the relay has ended this link: {code}")
