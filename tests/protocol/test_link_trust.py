"""A link before anybody knows who is at its other end, and how it ends."""

from __future__ import annotations

import asyncio

import pytest

from nexus_protocol.actions import Type
from nexus_protocol.errors import LinkClosed
from nexus_protocol.link import MAX_FROM_STRANGER
from nexus_protocol.messages import Act, Hello, Ping, Pong, from_agent, greeting, to_agent

from .ends import ANNA, OFFICE, Pair

DEADLINE = 5.0


def fragment(message: bytes, *, last: bool = True) -> bytes:
    return bytes((0x80 if last else 0,)) + len(message).to_bytes(3, "big") + message


async def test_each_side_learns_whose_key_the_other_holds() -> None:
    """As soon as the link is sealed, and not before."""
    pair = Pair(shaken=False, admitted=False)
    waiting = asyncio.create_task(pair.agent.secured())
    await asyncio.sleep(0)
    assert not waiting.done()
    pair.pump()
    assert await asyncio.wait_for(waiting, DEADLINE) == ANNA.fingerprint
    assert await pair.console.secured() == OFFICE.fingerprint


async def test_nothing_is_said_before_the_link_is_sealed() -> None:
    """What was sent meanwhile waits, and then arrives."""
    pair = Pair(shaken=False)
    pair.console.send(Hello(invitation=b"proof of an invitation"))
    first = pair.console.outgoing()
    assert first is not None
    assert pair.console.outgoing() is None
    assert b"invitation" not in first
    pair.agent.fed(first)
    pair.pump()
    assert await pair.agent.receive() == Hello(invitation=b"proof of an invitation")


async def test_a_link_that_ends_before_it_is_sealed_has_nobody_at_its_end() -> None:
    """Whoever waits for a key is told why there is none."""
    pair = Pair(shaken=False, admitted=False)
    waiting = asyncio.create_task(pair.agent.secured())
    await asyncio.sleep(0)
    pair.agent.ended("gone", "the connection to the relay was lost")
    with pytest.raises(LinkClosed, match="connection to the relay was lost"):
        await asyncio.wait_for(waiting, DEADLINE)


async def test_what_is_no_handshake_ends_the_link() -> None:
    """Both ways: the one that answers, and the one that opens."""
    pair = Pair(shaken=False, admitted=False)
    for link in (pair.agent, pair.console):
        link.fed(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(LinkClosed) as error:
            await link.secured()
        assert error.value.code == "handshake"
    assert [code for _, code in pair.hung_up] == ["handshake", "handshake"]


async def test_what_was_changed_on_its_way_ends_the_link() -> None:
    """What arrived before is there; nothing that came after is."""
    pair = Pair()
    pair.console.send(Ping(sent=1.0))
    pair.pump()
    pair.console.send(Ping(sent=2.0))
    payload = pair.console.outgoing()
    assert payload is not None
    pair.agent.fed(payload[:-1] + bytes((payload[-1] ^ 1,)))
    pair.agent.fed(payload)
    assert await pair.agent.receive() == Ping(sent=1.0)
    with pytest.raises(LinkClosed) as error:
        await pair.agent.receive()
    assert error.value.code == "tampered"


async def test_nothing_of_a_stranger_is_decoded() -> None:
    """Garbage, and messages that a stranger may not say, lie there until somebody is admitted."""
    pair = Pair(admitted=False)
    pair.console_says(fragment(b"\xc1 no message"))
    assert not pair.agent.closed
    with pytest.raises(AssertionError):
        await pair.agent.receive()
    pair.agent.admit()
    with pytest.raises(LinkClosed) as error:
        await pair.agent.receive()
    assert error.value.code == "malformed"


async def test_a_stranger_is_heard_with_one_kind_of_message() -> None:
    """A Hello is a greeting; after it the stranger, once admitted, says anything."""
    pair = Pair(admitted=False)
    pair.console.send(Hello(invitation=b"x" * 32))
    pair.console.send(Ping(sent=1.0))
    pair.pump()
    assert await pair.agent.greeting(greeting) == Hello(invitation=b"x" * 32)
    pair.agent.admit()
    assert await pair.agent.receive() == Ping(sent=1.0)


@pytest.mark.parametrize(
    "message",
    [
        to_agent.encode(Ping(sent=1.0)),
        to_agent.encode(Act(id="12345678", action=Type(text="x"))),
        from_agent.encode(Pong(sent=1.0, agent_time=1.0)),
        b"\x82\xa4type\xa5hello\xaainvitation\xc4\x21" + bytes(33),
        b"",
    ],
    ids=["a ping", "an action", "another side's message", "too long a proof", "nothing"],
)
async def test_what_is_no_greeting_ends_the_link(message: bytes) -> None:
    """An action of a stranger is not even read."""
    pair = Pair(admitted=False)
    pair.console_says(fragment(message))
    with pytest.raises(LinkClosed) as error:
        await pair.agent.greeting(greeting)
    assert error.value.code == "malformed"
    assert [code for _, code in pair.hung_up] == ["malformed"]


@pytest.mark.parametrize("message", [bytes(MAX_FROM_STRANGER), b"", None], ids=["one", "many empty", "unfinished"])
async def test_a_stranger_says_little(message: bytes | None) -> None:
    """In one message, in many, or in one that never ends: MAX_FROM_STRANGER bytes, and the link is over."""
    pair = Pair(admitted=False)
    said = 0
    while said <= MAX_FROM_STRANGER:
        assert not pair.agent.closed
        plain = fragment(bytes(1_000), last=False) if message is None else fragment(message)
        pair.console_says(plain)
        said += len(plain)
    assert pair.agent.closed
    assert pair.hung_up == [(pair.agent, "too-large")]


async def test_who_was_admitted_says_much() -> None:
    """The bound is for strangers."""
    pair = Pair(admitted=False)
    pair.agent.admit()
    large = Act(id="12345678", action=Type(text="x" * 10 * MAX_FROM_STRANGER))
    pair.console.send(large)
    pair.pump()
    assert await pair.agent.receive() == large


async def test_a_goodbye_of_the_peer_ends_the_link() -> None:
    """Sealed, so the relay cannot say it in the peer's name; what was said before is still read."""
    pair = Pair()
    pair.console.send(Ping(sent=1.0))
    pair.console.close()
    while (payload := pair.console.outgoing()) is not None:
        pair.agent.fed(payload)
    assert pair.agent.closed
    assert await pair.agent.receive() == Ping(sent=1.0)
    with pytest.raises(LinkClosed, match="the other side has ended the conversation") as error:
        await pair.agent.receive()
    assert error.value.code == "closed"


async def test_an_end_by_the_relay_is_told_from_an_end_by_the_peer() -> None:
    """What the relay cut off does not look finished."""
    pair = Pair()
    pair.console.send(Ping(sent=1.0))
    pair.console.close()
    payload = pair.console.outgoing()
    assert payload is not None
    pair.agent.fed(payload)
    pair.agent.ended("gone", "the relay has ended this link: gone")
    assert await pair.agent.receive() == Ping(sent=1.0)
    with pytest.raises(LinkClosed, match="the relay has ended this link") as error:
        await pair.agent.receive()
    assert error.value.code == "gone"


async def test_after_the_end_nothing_is_taken_or_said() -> None:
    """Late frames of an ended link change nothing."""
    pair = Pair()
    pair.console.send(Ping(sent=1.0))
    late = pair.console.outgoing()
    assert late is not None
    pair.agent.send(Pong(sent=1.0, agent_time=1.0))
    pair.agent.ended("gone", "")
    pair.agent.fed(late)
    assert pair.agent.outgoing() is None
    with pytest.raises(LinkClosed):
        await pair.agent.receive()
