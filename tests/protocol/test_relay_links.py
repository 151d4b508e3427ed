"""Links over one connection: opening, ending, and who goes first."""

from __future__ import annotations

import asyncio

import pytest

from nexus_protocol import dialer
from nexus_protocol.dialer import ConnectionState
from nexus_protocol.errors import ProtocolError, Unreachable, UsageError
from nexus_protocol.lanes import MAX_FRAGMENT
from nexus_protocol.messages import Ping, Pong, Result, from_agent, to_agent
from nexus_protocol.relay_messages import (
    Close,
    CloseCode,
    Closed,
    NotOpened,
    Open,
    Opened,
    pack_frame,
    to_relay,
)
from nexus_protocol.vocabulary import ActionState, Role

from .conftest import (
    DEADLINE,
    AgentLink,
    FarEnd,
    Heard,
    Peer,
    Relay,
    connected,
    end_of,
    new_link,
    sealed_link,
)

CONNECTING, CONNECTED, WAITING, CLOSED = ConnectionState


async def test_opening_a_link(relay: Relay, heard: Heard) -> None:
    """Asked for by name; answered with a number that its frames carry both ways."""
    async with connected(relay, heard) as (client, peer):
        opening = asyncio.create_task(client.open("office"))
        asked = await peer.hear()
        assert isinstance(asked, Open)
        assert asked.desk == "office"
        await peer.say(Opened(ref=asked.ref, link=77, desk="office"))
        link = await opening
        assert (link.number, link.peer, link.role) == (77, "office", Role.AGENT)
        desk = FarEnd(peer, 77, opens=False)
        await desk.secure()
        assert await asyncio.wait_for(link.secured(), DEADLINE) == desk.key.fingerprint
        link.admit()
        link.send(Pong(sent=1.0, agent_time=2.0))
        await desk.say(to_agent.encode(Ping(sent=3.0)))
        assert await desk.hear() == from_agent.encode(Pong(sent=1.0, agent_time=2.0))
        assert await asyncio.wait_for(link.receive(), DEADLINE) == Ping(sent=3.0)


async def test_two_links_opened_at_once(relay: Relay, heard: Heard) -> None:
    """Each answer goes to whoever asked, though the other is still waiting."""
    async with connected(relay, heard) as (client, peer):
        first = asyncio.create_task(client.open("office"))
        second = asyncio.create_task(client.open("lab"))
        for number, opening in enumerate((first, second)):
            asked = await peer.hear()
            assert isinstance(asked, Open)
            await peer.say(Opened(ref=asked.ref, link=number, desk=asked.desk))
            link = await asyncio.wait_for(opening, DEADLINE)
            assert (link.number, link.peer) == (number, asked.desk)


async def test_a_link_that_is_not_opened(relay: Relay, heard: Heard) -> None:
    """The relay's reason is the error."""
    async with connected(relay, heard) as (client, peer):
        opening = asyncio.create_task(client.open("attic"))
        asked = await peer.hear()
        assert isinstance(asked, Open)
        await peer.say(NotOpened(ref=asked.ref, code="unknown-desk", reason="attic is not there; did you mean office?"))
        with pytest.raises(Unreachable, match="did you mean office"):
            await opening


@pytest.mark.parametrize("desk", ["", "two words", "-x", "a\n", "x" * 65, "\udcff"])
async def test_a_name_no_desk_can_have_is_not_sent(relay: Relay, heard: Heard, desk: str) -> None:
    """The relay would end the connection over it: a slip of the finger must not."""
    async with connected(relay, heard) as (client, _):
        with pytest.raises((UsageError, ProtocolError)):
            await client.open(desk)
        assert heard.states == [CONNECTING, CONNECTED]


async def test_an_opening_ends_with_the_connection(relay: Relay, heard: Heard) -> None:
    """Whoever waits for a link is told that there will be none."""
    async with connected(relay, heard) as (client, peer):
        opening = asyncio.create_task(client.open("office"))
        await peer.hear()
        await peer.socket.close(CloseCode.GOING_AWAY, "maintenance")
        with pytest.raises(Unreachable, match="maintenance"):
            await opening


async def test_a_link_nobody_waits_for_any_more_is_closed(relay: Relay, heard: Heard) -> None:
    """Opening was given up; the relay's late answer is answered with a close, and nothing leaks."""
    async with connected(relay, heard) as (client, peer):
        opening = asyncio.create_task(client.open("office"))
        asked = await peer.hear()
        assert isinstance(asked, Open)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await peer.say(Opened(ref=asked.ref, link=9, desk="office"))
        closing = await peer.hear()
        assert isinstance(closing, Close)
        assert closing.link == 9


async def test_a_link_opened_and_given_up_in_the_same_moment_is_closed(relay: Relay, heard: Heard) -> None:
    """The answer has come and the asker is cancelled before it sees it: the link is not left open."""
    async with connected(relay, heard) as (client, peer):
        opening = asyncio.create_task(client.open("office"))
        asked = await peer.hear()
        assert isinstance(asked, Open)
        client._on_message(Opened(ref=asked.ref, link=9, desk="office"))
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        closing = await peer.hear()
        assert isinstance(closing, Close)
        assert closing.link == 9


async def test_the_relay_does_not_answer_an_open(relay: Relay, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening ends at a deadline."""
    async with connected(relay, heard) as (client, _):
        monkeypatch.setattr(dialer, "OPEN_TIMEOUT", 0.05)
        with pytest.raises(Unreachable, match="did not answer"):
            await client.open("office")


async def test_a_link_closed_by_the_relay(relay: Relay, heard: Heard) -> None:
    """Only that link ends, with its code and reason; its late frames are dropped."""
    async with connected(relay, heard) as (_, peer):
        one, two = await sealed_link(peer, heard, 1), await sealed_link(peer, heard, 2)
        await peer.say(Closed(link=1, code="closed", reason="anna has left"))
        end = await end_of(one[0])
        assert (end.code, str(end)) == ("closed", "the relay has ended this link: anna has left")
        await one[1].say(b"late")
        assert await answers(two)


async def test_what_was_said_before_the_close_goes_out_before_it(relay: Relay, heard: Heard) -> None:
    """The last words of a link arrive, and that they were the last; of why, the relay hears one word."""
    async with connected(relay, heard) as (_, peer):
        link, far = await sealed_link(peer, heard)
        link.send(Pong(sent=1.0, agent_time=2.0))
        link.close("shutdown", "good night")
        assert await far.hear() == from_agent.encode(Pong(sent=1.0, agent_time=2.0))
        assert await peer.carry() == (1, b"")
        assert far.tunnel.finished
        assert await peer.hear() == Close(link=1, reason="shutdown")


async def test_garbage_on_a_link_ends_that_link_only(relay: Relay, heard: Heard) -> None:
    """The relay is told one word, the other link goes on: garbage sealed, unsealed, or instead of a handshake."""
    async with connected(relay, heard) as (_, peer):
        good = await sealed_link(peer, heard, 1)
        link, far = await sealed_link(peer, heard, 2)
        await far.send_sealed(b"\x7f\0\0\0")
        assert await refused(peer, link) == "malformed"
        link, far = await sealed_link(peer, heard, 3)
        await far.send(b"\x7f\0\0\0\0\0")
        assert await refused(peer, link) == "tampered"
        link = await new_link(peer, heard, 4)
        await peer.socket.send(pack_frame(4, b"\x80\0\0\0\0"))
        assert await refused(peer, link) == "handshake"
        assert await answers(good)


async def test_a_link_that_nobody_answers_can_be_closed(relay: Relay, heard: Heard) -> None:
    """No handshake, no goodbye: the relay alone is told."""
    async with connected(relay, heard) as (_, peer):
        link = await new_link(peer, heard)
        link.send(Pong(sent=1.0, agent_time=2.0))
        link.close("shutdown", "good night")
        assert await peer.frame() == to_relay.encode(Close(link=1, reason="shutdown")).decode()


async def test_a_small_message_is_not_stuck_behind_another_links_file(relay: Relay, heard: Heard) -> None:
    """Links take turns by the fragment: one of a file goes before the other link's key press, not the whole file."""
    async with connected(relay, heard) as (_, peer):
        links = [await sealed_link(peer, heard, number) for number in (1, 2)]
        links[0][0].send(Result(id="1", state=ActionState.DONE, data=bytes(200_000)))
        links[1][0].send(Pong(sent=1.0, agent_time=2.0))
        order = await fragments(peer, 3)
        assert [number for number, _ in order] == [1, 2, 1]
        assert len(order[0][1]) == MAX_FRAGMENT + 4


async def test_a_closed_links_last_bytes_take_turns_too(relay: Relay, heard: Heard) -> None:
    """A link that ends with much to say does not stand before the others either."""
    async with connected(relay, heard) as (_, peer):
        links = [await sealed_link(peer, heard, number) for number in (1, 2)]
        links[0][0].send(Result(id="1", state=ActionState.DONE, data=bytes(100_000)))
        links[0][0].close()
        links[1][0].send(Pong(sent=1.0, agent_time=2.0))
        assert [number for number, _ in await fragments(peer, 3)] == [1, 2, 1]


async def fragments(peer: Peer, count: int) -> list[tuple[int, bytes]]:
    """The next fragments with their links' numbers, as they come; not what the tunnels say to each other."""
    came: list[tuple[int, bytes]] = []
    while len(came) < count:
        number, plain = await peer.carry()
        if plain:
            came.append((number, plain))
    return came


async def answers(end: tuple[AgentLink, FarEnd]) -> bool:
    """Whether a link still carries a message each way."""
    link, far = end
    await far.say(to_agent.encode(Ping(sent=3.0)))
    assert await asyncio.wait_for(link.receive(), DEADLINE) == Ping(sent=3.0)
    link.send(Pong(sent=3.0, agent_time=2.0))
    return await far.hear() == from_agent.encode(Pong(sent=3.0, agent_time=2.0))


async def refused(peer: Peer, link: AgentLink) -> str:
    """The code of a link's end, after the relay was told the same."""
    end = await end_of(link)
    assert await peer.hear() == Close(link=link.number, reason=end.code)
    return end.code
