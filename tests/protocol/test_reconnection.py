"""Staying connected: restarts, final ends, garbage from the relay, and leaving."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from nexus_protocol import dialer, relay_socket
from nexus_protocol.dialer import FIRST_DELAY, LONGEST_DELAY, ConnectionState, delays, dial
from nexus_protocol.errors import Unreachable
from nexus_protocol.messages import Ping, Pong, Result, to_agent
from nexus_protocol.relay_messages import (
    CloseCode,
    Incoming,
    Presence,
    Renewed,
)
from nexus_protocol.vocabulary import ActionState, Role

from .conftest import DEADLINE, Heard, Relay, client_of, connected, end_of, new_link, sealed_link

CONNECTING, CONNECTED, WAITING, CLOSED = ConnectionState


async def test_a_restarted_relay_is_dialled_again(heard: Heard) -> None:
    """WAITING with the relay's reason and the delay, then CONNECTED again; links of before end with that reason."""
    async with Relay() as first:
        client = client_of(first.url, heard)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(dial(client, redial=True))
            link = await new_link(await first.peer(), heard)
            await first.__aexit__()
            await heard.until(lambda: WAITING in heard.states)
            assert "the relay is going away" in heard.statuses[2].detail
            end = await end_of(link)
            assert (end.code, "the relay is going away" in str(end)) == ("gone", True)
            async with Relay(first.port) as second:
                peer = await second.peer()
                await heard.until(lambda: heard.states[-1] is CONNECTED)
                assert (await new_link(peer, heard)).peer == "anna"
                await stack.aclose()
    assert heard.states[:3] == [CONNECTING, CONNECTED, WAITING]
    assert heard.states[-1] is CLOSED
    assert set(heard.states[3:-2]) <= {CONNECTING, WAITING}


async def test_a_connection_that_breaks_is_dialled_again(relay: Relay, heard: Heard) -> None:
    """A cable pulled: no close code, no reason, and all the same a second connection."""
    async with connected(relay, heard, redial=True) as (_, peer):
        link = await new_link(peer, heard)
        peer.socket.transport.abort()
        assert "the connection to the relay was lost" in str(await end_of(link))
        await relay.peer()
        await heard.until(lambda: heard.states[-1] is CONNECTED)
    assert heard.states == [CONNECTING, CONNECTED, WAITING, CONNECTING, CONNECTED, CLOSED]


@pytest.mark.parametrize("code", sorted(CloseCode.FINAL))
async def test_a_final_code_is_not_dialled_again(relay: Relay, heard: Heard, code: int) -> None:
    """Replaced by another agent, or the token revoked: CLOSED with the reason, and one request in all."""
    async with connected(relay, heard, redial=True) as (client, peer):
        link = await new_link(peer, heard)
        await peer.socket.close(code, "another agent serves office now")
        await heard.until(lambda: CLOSED in heard.states)
        assert "another agent serves office now" in str(await end_of(link))
        with pytest.raises(Unreachable):
            await client.open("office")
    assert heard.states == [CONNECTING, CONNECTED, CLOSED]
    assert "another agent serves office now" in heard.statuses[-1].detail
    assert len(relay.requests) == 1


async def test_refused_at_a_later_dial(relay: Relay, heard: Heard) -> None:
    """A token that expired meanwhile ends the dialling, with the relay's sentence."""
    async with connected(relay, heard, redial=True) as (_, peer):
        relay.answer = (401, "the token has expired", "text/plain")
        peer.socket.transport.abort()
        await heard.until(lambda: CLOSED in heard.states)
    assert "the token has expired" in heard.statuses[-1].detail
    assert len(relay.requests) == 2


async def test_a_renewed_token_is_shown_at_the_next_dial(relay: Relay, heard: Heard) -> None:
    """The relay gives a fresh one in time; the connection that is goes on."""
    async with connected(relay, heard, redial=True) as (_, peer):
        link, far = await sealed_link(peer, heard)
        await peer.say(Renewed(token="fresh.token"))
        await far.say(to_agent.encode(Ping(sent=1.0)))
        assert await asyncio.wait_for(link.receive(), DEADLINE) == Ping(sent=1.0)
        peer.socket.transport.abort()
        await relay.peer()
    assert [request.headers["Authorization"] for request in relay.requests] == ["Bearer a-token", "Bearer fresh.token"]


async def test_without_redial_the_end_is_the_end(relay: Relay, heard: Heard) -> None:
    """A command that runs once does not wait for a relay to come back."""
    async with connected(relay, heard) as (_, peer):
        await peer.socket.close(CloseCode.GOING_AWAY, "bye")
        await heard.until(lambda: CLOSED in heard.states)
    assert heard.states == [CONNECTING, CONNECTED, CLOSED]


@pytest.mark.parametrize(
    "garbage",
    [
        "hello",
        '{"type":"opened"}',
        '{"type":"welcome","subject":"a","role":"agent"}',
        '{"type":"' + "é" * 200 + '"}',
        '{"type":"presence","desks":[],"' + "é" * 300 + '":1}',
        '{"type":"renewed","token":"two words"}',
        '{"type":"renewed","token":"a\\r\\nHost: evil"}',
        b"\0",
        b"\0" * (4 + 64 * 1024 + 1),
    ],
    ids=lambda data: repr(data[:20]),
)
async def test_garbage_from_the_relay_ends_the_connection(relay: Relay, heard: Heard, garbage: str | bytes) -> None:
    """It is told why, links end, and it is dialled again as after any other loss."""
    async with connected(relay, heard, redial=True) as (_, peer):
        link = await new_link(peer, heard)
        await peer.socket.send(garbage)
        assert (await end_of(link)).code == "gone"
        assert (await peer.closed())[0] == CloseCode.PROTOCOL
        await relay.peer()
        await heard.until(lambda: heard.states[-1] is CONNECTED)
        assert heard.states == [CONNECTING, CONNECTED, WAITING, CONNECTING, CONNECTED]
        assert "the relay sent what it may not" in heard.statuses[2].detail


async def test_invalid_utf8_from_the_relay_ends_the_connection(relay: Relay, heard: Heard) -> None:
    """A text frame that is not text."""
    async with connected(relay, heard, redial=True) as (_, peer):
        await peer.socket.send(b'{"type":"\xff"}', text=True)
        await peer.closed()
        await heard.until(lambda: WAITING in heard.states)


async def test_a_link_announced_twice_ends_the_connection(relay: Relay, heard: Heard) -> None:
    """Two links of one number would leave one of them waiting for ever."""
    async with connected(relay, heard) as (_, peer):
        link = await new_link(peer, heard, number=5)
        await peer.say(Incoming(link=5, subject="eve", role=Role.OPERATOR))
        assert (await peer.closed())[0] == CloseCode.PROTOCOL
        assert (await end_of(link)).code == "gone"


async def test_links_are_bounded(relay: Relay, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay cannot fill this program's memory with links."""
    monkeypatch.setattr(dialer, "MAX_LINKS", 3)
    async with connected(relay, heard) as (_, peer):
        for number in range(4):
            await peer.say(Incoming(link=number, subject="anna", role=Role.OPERATOR))
        assert (await peer.closed())[0] == CloseCode.PROTOCOL


async def test_a_fault_of_the_program_is_not_hidden(
    relay: Relay, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that raises ends the connection for all to see, and the error comes out of the block."""

    def fault(desks: tuple[str, ...]) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        async with connected(relay, heard, redial=True) as (_, peer):
            link = await new_link(peer, heard)
            monkeypatch.setattr(heard, "on_presence", fault)
            await peer.say(Presence(desks=()))
            await end_of(link)
            await heard.until(lambda: CLOSED in heard.states)
            await peer.closed()

    with pytest.raises(ZeroDivisionError):
        await scenario()


async def test_a_writer_that_dies_takes_the_connection_with_it(
    relay: Relay, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that can only read must not look alive."""

    async def scenario() -> None:
        async with connected(relay, heard, redial=True) as (_, peer):
            link = await new_link(peer, heard)
            monkeypatch.setattr(link, "outgoing", lambda: 1 / 0)
            link.send(Pong(sent=0.0, agent_time=0.0))
            await end_of(link)
            await peer.closed()

    with pytest.raises(ZeroDivisionError):
        await scenario()


async def test_leaving_while_waiting_to_dial(relay: Relay, heard: Heard) -> None:
    """The block ends at once, whatever the delay; the last status is CLOSED and no attempt follows."""
    async with dial(client_of(relay.url, heard, lambda: itertools.repeat(3600.0)), redial=True):
        (await relay.peer()).socket.transport.abort()
        await heard.until(lambda: WAITING in heard.states)
        assert heard.statuses[-1].delay == 3600.0
    assert heard.states == [CONNECTING, CONNECTED, WAITING, CLOSED]


async def test_closing_ends_serve(relay: Relay, heard: Heard) -> None:
    """serve returns when close is called, without an error and without another attempt."""
    client = client_of(relay.url, heard)
    await client.connect()
    serving = asyncio.create_task(client.serve(redial=True))
    link = await new_link(await relay.peer(), heard)
    await client.close()
    await asyncio.wait_for(serving, DEADLINE)
    assert (await end_of(link)).code == "gone"
    assert heard.states == [CONNECTING, CONNECTED, CLOSED]


async def test_leaving_a_relay_that_reads_nothing(relay: Relay, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block ends within CLOSE_TIMEOUT, though what is queued never goes out."""
    monkeypatch.setattr(dialer, "CLOSE_TIMEOUT", 0.1)
    monkeypatch.setattr(relay_socket, "CLOSE_TIMEOUT", 0.1)
    async with asyncio.timeout(DEADLINE), connected(relay, heard) as (_, peer):
        links = [await new_link(peer, heard, number) for number in range(60)]
        peer.socket.transport.pause_reading()
        for link in links:
            link.send(Result(id="1", state=ActionState.DONE, data=bytes(1_000_000)))
    peer.socket.transport.abort()


def test_delays_grow_are_capped_and_jittered() -> None:
    """The first attempt comes soon; later ones every LONGEST_DELAY at most; no two programs at the same time."""
    longest = list(itertools.islice(delays(lambda: 1.0), 20))
    shortest = list(itertools.islice(delays(lambda: 0.0), 20))
    assert longest[0] == FIRST_DELAY
    assert longest == sorted(longest)
    assert longest[-1] == LONGEST_DELAY
    assert shortest == [delay / 2 for delay in longest]
