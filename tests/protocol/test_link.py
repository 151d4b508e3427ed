"""A link between two programs, its frames carried by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_protocol import link as link_module
from nexus_protocol.actions import FileWrite, Type
from nexus_protocol.errors import LinkClosed, ProtocolError
from nexus_protocol.lanes import WINDOW
from nexus_protocol.link import MAX_UNREAD, Link
from nexus_protocol.messages import Act, Hello, Ping, Pong, Result, from_agent
from nexus_protocol.vocabulary import ActionState

from .ends import Pair

DEADLINE = 5.0


async def end_of(link: Link[Any, Any]) -> LinkClosed:
    """The end, once everything before it has been read."""
    while True:
        try:
            await asyncio.wait_for(link.receive(), DEADLINE)
        except LinkClosed as end:
            return end


async def test_messages_arrive_in_order_both_ways() -> None:
    """Small messages keep their order; each side hears the other."""
    pair = Pair()
    for n in range(100):
        pair.console.send(Ping(sent=float(n)))
        pair.agent.send(Pong(sent=float(n), agent_time=0.0))
    pair.pump()
    assert [await pair.agent.receive() for _ in range(100)] == [Ping(sent=float(n)) for n in range(100)]
    assert [await pair.console.receive() for _ in range(100)] == [
        Pong(sent=float(n), agent_time=0.0) for n in range(100)
    ]


async def test_a_large_message_arrives_whole_after_a_later_small_one() -> None:
    """A file takes the bulk lane, and a ping sent behind it is there first."""
    pair = Pair()
    data = bytes(range(256)) * (4 * WINDOW // 256)
    file = Act(id="12345678", action=FileWrite(path="/f", data=data))
    pair.console.send(file)
    pair.console.send(Ping(sent=1.0))
    pair.pump()
    assert [await pair.agent.receive(), await pair.agent.receive()] == [Ping(sent=1.0), file]


async def test_receive_waits_for_a_message() -> None:
    """A reader that came first is woken by the message."""
    pair = Pair()
    reader = asyncio.create_task(pair.agent.receive())
    await asyncio.sleep(0)
    pair.console.send(Hello())
    assert pair.console in pair.woken
    pair.pump()
    assert await asyncio.wait_for(reader, DEADLINE) == Hello()


async def test_closing_tells_both_sides() -> None:
    """Whoever closes, both see the end after the last message; nothing can be sent any more, closing again is nothing.

    The reason stays on this side: what the other is to know is a message, which the relay cannot read.
    """
    pair = Pair()
    pair.agent.send(Pong(sent=1.0, agent_time=2.0))
    pair.agent.close("shutdown", "the desk is going to sleep")
    pair.agent.close("other", "again")
    pair.pump()
    assert pair.hung_up[0] == (pair.agent, "shutdown")
    assert await pair.console.receive() == Pong(sent=1.0, agent_time=2.0)
    assert pair.console.closed
    end = await end_of(pair.console)
    assert (end.code, str(end)) == ("closed", "the other side has ended the conversation")
    end = await end_of(pair.agent)
    assert (end.code, str(end)) == ("shutdown", "the desk is going to sleep")
    with pytest.raises(LinkClosed, match="going to sleep"):
        pair.agent.send(Pong(sent=1.0, agent_time=2.0))
    with pytest.raises(LinkClosed, match="ended the conversation"):
        pair.console.send(Hello())


async def test_a_reader_is_woken_by_the_end() -> None:
    """Nobody waits for a message on a link that is over."""
    pair = Pair()
    reader = asyncio.create_task(end_of(pair.console))
    await asyncio.sleep(0)
    pair.console.ended("gone", "the connection to the relay was lost")
    end = await asyncio.wait_for(reader, DEADLINE)
    assert (end.code, str(end)) == ("gone", "the connection to the relay was lost")


async def test_the_end_is_told_each_time_anew() -> None:
    """Every caller gets an error of its own: one shared would grow by a traceback each time it is raised."""
    pair = Pair()
    pair.console.ended("gone", "")
    assert await end_of(pair.console) is not await end_of(pair.console)


@given(st.binary(min_size=1, max_size=200))
def test_garbage_ends_at_most_that_link(data: bytes) -> None:
    """Whatever bytes come in the tunnel, feeding them raises nothing: the link waits, or ends with a reason."""

    async def scenario() -> None:
        pair = Pair()
        pair.console_says(data)
        assert pair.agent.closed == bool(pair.hung_up)
        assert not pair.console.closed

    asyncio.run(scenario())


async def test_garbage_ends_the_link_for_both() -> None:
    """A message that is none: the link ends as malformed, and what was queued on it is not sent."""
    pair = Pair()
    pair.agent.send(Pong(sent=1.0, agent_time=2.0))
    pair.console_says(b"\x80\0\0\1\xc1")
    assert (await end_of(pair.agent)).code == "malformed"
    assert pair.agent.outgoing() is None
    pair.pump()
    assert str(await end_of(pair.console)) == "the relay has ended this link: malformed"


async def test_messages_before_garbage_are_still_read() -> None:
    """What arrived whole before the end can be taken after it."""
    pair = Pair()
    pair.console.send(Hello())
    pair.pump()
    pair.console_says(b"\x7f\0\0\0")
    assert await pair.agent.receive() == Hello()
    assert (await end_of(pair.agent)).code == "malformed"


async def test_a_side_that_does_not_read_gives_the_link_up() -> None:
    """MAX_UNREAD messages wait to be read; one more ends the link as too slow."""
    pair = Pair()
    for n in range(MAX_UNREAD):
        pair.console.send(Ping(sent=float(n)))
    pair.pump()
    assert not pair.agent.closed
    pair.console.send(Ping(sent=0.0))
    pair.pump()
    assert pair.agent.closed
    assert (await end_of(pair.agent)).code == "too-slow"


async def test_unread_bytes_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few large messages that nobody reads end the link as well; reading makes room."""
    monkeypatch.setattr(link_module, "MAX_UNREAD_BYTES", 100_000)
    pair = Pair()
    text = Act(id="12345678", action=Type(text="x" * 40_000))
    for _ in range(5):
        pair.console.send(text)
        pair.pump()
        await pair.agent.receive()
    for _ in range(2):
        pair.console.send(text)
        pair.pump()
    assert not pair.agent.closed
    pair.console.send(text)
    pair.pump()
    assert (await end_of(pair.agent)).code == "too-slow"


async def test_a_peer_that_does_not_read_ends_the_link_of_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending never blocks: past the queue's bound it raises, and the queue is gone."""
    monkeypatch.setattr(link_module, "MAX_QUEUED", 1_000_000)
    pair = Pair()
    result = Result(id="1", state=ActionState.DONE, data=bytes(200_000))
    for _ in range(4):
        pair.agent.send(result)
    with pytest.raises(ProtocolError) as error:
        pair.agent.send(result)
    assert error.value.code == "too-slow"
    assert pair.agent.closed
    assert pair.agent.outgoing() is None


async def test_a_message_too_large_to_send_leaves_the_link_open() -> None:
    """It is the caller's error, not the link's."""
    pair = Pair()
    with pytest.raises(ProtocolError) as error:
        pair.agent.send(Result(id="1", state=ActionState.DONE, data=bytes(from_agent.limit)))
    assert error.value.code == "too-large"
    assert not pair.agent.closed
