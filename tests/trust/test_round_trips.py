"""A sealed link costs one round trip more than one that is not: hello goes with the last word of the handshake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nexus_protocol.identity import Identity
from nexus_protocol.link import Link
from nexus_protocol.messages import Bye, Hello, from_agent, greeting, to_agent
from nexus_protocol.tunnel import Tunnel
from nexus_protocol.vocabulary import Role


def nothing(*_: object) -> None:
    """Nobody is to be told."""


def link(name: str, *, opens: bool) -> Link[Any, Any]:
    incoming, outgoing = (from_agent, to_agent) if opens else (to_agent, from_agent)
    return Link(
        1, name, Role.OPERATOR, tunnel=Tunnel(Identity.new(), opens=opens),
        incoming=incoming, outgoing=outgoing, wake=nothing, hang_up=nothing,
    )  # fmt: skip


def carry(source: Link[Any, Any], sink: Link[Any, Any]) -> None:
    """Everything that one has to say, on one way."""
    while (payload := source.outgoing()) is not None:
        sink.fed(payload)


async def test_the_first_answer_comes_with_the_second_round_trip() -> None:
    """Without a handshake hello would go at once, and be answered with the first."""
    console, agent = link("office", opens=True), link("alice", opens=False)
    trips: list[Callable[[], None]] = [lambda: carry(console, agent), lambda: carry(agent, console)]
    for trip in trips:
        trip()
    await console.secured()
    console.admit()
    console.send(Hello())
    trips[0]()
    await agent.secured()
    hello = await agent.greeting(greeting)
    assert hello == Hello()
    agent.send(Bye(code="shutdown", reason="that is all"))
    trips[1]()
    assert isinstance(await console.receive(), Bye)
