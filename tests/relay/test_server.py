"""The relay over real sockets: the handshake, bytes between two peers, and peers that misbehave."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
import time

import pytest

from nexus_protocol.errors import NexusError
from nexus_protocol.relay_messages import (
    MAX_IN_FLIGHT,
    MAX_PAYLOAD,
    PATH,
    VERSION_HEADER,
    CloseCode,
    Closed,
    Incoming,
    NotOpened,
    Open,
    Opened,
    Presence,
    Welcome,
    pack_frame,
)
from nexus_protocol.vocabulary import VERSION, Role
from relay.claims import LEEWAY
from relay.issuer import Issuer
from relay.server import RelayServer

from .conftest import DEADLINE, Dial, get, port_of


async def test_healthz_tells_how_many_are_here(relay: RelayServer, dial: Dial) -> None:
    """200 and JSON, without a token."""
    agent, bob = await dial(relay, Role.AGENT, "office"), await dial(relay, Role.OPERATOR)
    await agent.expect(Welcome)
    await bob.expect(Welcome)
    await bob.open("office")
    status, head, body = await get(relay, "/healthz")
    assert status == 200
    assert "application/json" in head
    assert json.loads(body) == {"status": "ok", "version": VERSION, "desks": 1, "operators": 1, "links": 1}


async def test_other_paths_and_browsers_are_refused(relay: RelayServer, issuer: Issuer) -> None:
    """404 names the right path; a request from a web page is 403 whatever token it has."""
    token = issuer.mint(Role.OPERATOR, "bob", ["*"])
    for path in ("/", "/v1", PATH + "/", PATH + "?x", "//" + PATH, "/healthz/"):
        assert (await get(relay, path, Authorization=f"Bearer {token}"))[0] == 404
    assert (await get(relay, Authorization=f"Bearer {token}", Origin="http://relay"))[0] == 403


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("", "upgrade"),
        ("0", "upgrade your program"),
        (str(VERSION + 1), "upgrade the relay"),
        ("9" * 5000, "upgrade the relay"),
        ("\u00b2", "upgrade your program"),
    ],
)
async def test_another_protocol_version_is_told_which_side_to_upgrade(
    relay: RelayServer, version: str, says: str
) -> None:
    """426, and it says so before it looks at the token."""
    status, head, body = await get(relay, **{VERSION_HEADER: version})
    assert status == 426
    assert f"{VERSION_HEADER}: {VERSION}" in head
    assert says in body


@pytest.mark.parametrize(
    ("authorization", "says"),
    [
        ("", "no token"),
        ("Basic Ym9iOmJvYg==", "not one Bearer token"),
        ("Bearer", "not one Bearer token"),
        ("Bearer x.y.z", "not a relay token"),
        ("Bearer \xe9\xff", "not a relay token"),
        ("Bearer " + "W1tb" * 1500 + ".e30.AAAA", "not a relay token"),
    ],
)
async def test_a_missing_or_wrong_token_is_refused_in_one_line(
    relay: RelayServer, authorization: str, says: str
) -> None:
    """401 with a line that says what is wrong and names the command to run; the token is not in it."""
    status, head, body = await get(relay, Authorization=authorization)
    assert status == 401
    assert "WWW-Authenticate: Bearer" in head
    assert says in body
    assert "nexus-relay token" in body
    assert body.count("\n") == 1
    assert authorization[7:] not in body or not authorization[7:]


async def test_an_expired_token_is_told_for_how_long(relay: RelayServer, issuer: Issuer) -> None:
    """401: expired three hours ago."""
    token = issuer.mint(Role.OPERATOR, "bob", ["*"], ttl=60, now=time.time() - 3 * 3600 - 90)
    status, _, body = await get(relay, Authorization=f"Bearer {token}")
    assert (status, body) == (401, "token expired 3 h ago; ask for a new one: nexus-relay token\n")
    assert token not in body


async def test_a_token_that_expires_while_connected_closes_the_socket(
    relay: RelayServer, issuer: Issuer, dial: Dial
) -> None:
    """4002, after which dialling again with the same token is useless."""
    token = issuer.mint(Role.OPERATOR, "bob", ["*"], ttl=60, now=time.time() - 60 - LEEWAY + 1.2)
    bob = await dial(relay, Role.OPERATOR, token=token)
    await bob.expect(Welcome)
    assert await bob.closed() == (CloseCode.TOKEN, "the token has expired")


async def test_two_peers_exchange_bytes(relay: RelayServer, dial: Dial) -> None:
    """Both ways, of every size up to the largest, unchanged and in order."""
    bob = await dial(relay, Role.OPERATOR, "office", subject="bob")
    assert await bob.expect(Welcome) == Welcome("bob", Role.OPERATOR)
    agent = await dial(relay, Role.AGENT, "office")
    assert (await agent.expect(Welcome)).desks == ("office",)
    assert (await bob.expect(Presence)).desks == ("office",)
    link = await bob.open("office")
    assert await agent.expect(Incoming) == Incoming(link, "bob", Role.OPERATOR)
    for size in (0, 1, 1000, MAX_PAYLOAD):
        for sender, receiver in ((bob, agent), (agent, bob)):
            await sender.socket.send(pack_frame(link, bytes(size)))
            await sender.socket.send(pack_frame(link, b"next"))
            assert await receiver.receive() == pack_frame(link, bytes(size))
            assert await receiver.receive() == pack_frame(link, b"next")


async def test_an_operator_learns_why_a_link_cannot_be_opened(relay: RelayServer, dial: Dial) -> None:
    """The answer carries its reference, and the socket stays open."""
    bob = await dial(relay, Role.VIEWER, "office")
    await bob.expect(Welcome)
    for ref, desk, code in ((5, "office", "unknown-desk"), (6, "lab", "forbidden")):
        await bob.say(Open(ref, desk))
        answer = await bob.expect(NotOpened)
        assert (answer.ref, answer.code) == (ref, code)


async def test_a_second_agent_replaces_the_first(relay: RelayServer, dial: Dial) -> None:
    """The first socket is closed with 4001, its links end, and the next link goes to the second."""
    first = await dial(relay, Role.AGENT, "office")
    await first.expect(Welcome)
    bob = await dial(relay, Role.OPERATOR)
    await bob.expect(Welcome)
    link = await bob.open("office")
    second = await dial(relay, Role.AGENT, "office")
    await second.expect(Welcome)
    code, _ = await first.closed()
    assert code == CloseCode.REPLACED
    closed = await bob.expect(Closed)
    assert (closed.link, closed.code) == (link, "gone")
    again = await bob.open("office")
    assert (await second.expect(Incoming)).link == again


async def test_an_operator_whose_cable_is_cut_is_gone(relay: RelayServer, dial: Dial) -> None:
    """The agent is told, also when no closing handshake took place."""
    agent = await dial(relay, Role.AGENT, "office")
    await agent.expect(Welcome)
    bob = await dial(relay, Role.OPERATOR, subject="bob")
    await bob.expect(Welcome)
    await bob.open("office")
    await agent.expect(Incoming)
    bob.socket.transport.abort()
    closed = await agent.expect(Closed)
    assert closed.code == "gone"
    assert "bob" in closed.reason


async def test_a_slow_reader_loses_its_link_and_nobody_else_does(relay: RelayServer, dial: Dial) -> None:
    """One operator stops reading: its link ends as too-slow while another operator's goes on, byte for byte."""
    agent = await dial(relay, Role.AGENT, "office")
    await agent.expect(Welcome)
    slow, quick = await dial(relay, Role.OPERATOR, subject="slow"), await dial(relay, Role.OPERATOR, subject="quick")
    links = []
    for client in (slow, quick):
        await client.expect(Welcome)
        links.append(await client.open("office"))
        await agent.expect(Incoming)
    stalled, going_on = links
    told = asyncio.create_task(agent.expect(Closed))
    sent = 0
    while not told.done():
        # Kernel and library buffers take megabytes before the relay has anything to hold.
        await agent.socket.send(pack_frame(stalled, bytes(MAX_PAYLOAD)))
        sent += MAX_PAYLOAD
        await agent.socket.send(pack_frame(going_on, sent.to_bytes(8, "big")))
        assert await quick.receive() == pack_frame(going_on, sent.to_bytes(8, "big"))
        assert sent < 64 * MAX_IN_FLIGHT, "the link should have ended long ago"
    closed = await told
    assert (closed.link, closed.code) == (stalled, "too-slow")
    await quick.socket.send(pack_frame(going_on, b"still here"))
    assert await agent.receive() == pack_frame(going_on, b"still here")


async def test_a_peer_that_reads_nothing_at_all_is_cut_off(relay: RelayServer, dial: Dial) -> None:
    """Link after link to it ends as too-slow; then, after the stall timeout, its socket goes and its desk with it."""
    bob = await dial(relay, Role.OPERATOR, subject="bob")
    await bob.expect(Welcome)
    agent = await dial(relay, Role.AGENT, "office")
    await agent.expect(Welcome)
    agent.socket.transport.pause_reading()
    await bob.expect(Presence)
    link = await bob.open("office")
    ends = []
    news = asyncio.create_task(bob.message())
    while not (news.done() and isinstance(news.result(), Presence)):
        if not news.done():
            await bob.socket.send(pack_frame(link, bytes(MAX_PAYLOAD)))
            continue
        match news.result():
            case Closed(code=code):
                ends.append(code)
                await bob.say(Open(1, "office"))
            case Opened(link=link):
                pass
        news = asyncio.create_task(bob.message())
    assert news.result() == Presence(())
    assert ends[0] == "too-slow"


async def test_a_flood_of_pings_whose_answers_are_not_read_is_cut_off(relay: RelayServer, dial: Dial) -> None:
    """The answers do not pile up in the relay's memory: the socket goes as soon as they begin to."""
    bob = await dial(relay, Role.OPERATOR)
    await bob.expect(Welcome)
    agent = await dial(relay, Role.AGENT, "office")
    await bob.expect(Presence)
    agent.socket.transport.pause_reading()
    told = asyncio.create_task(bob.expect(Presence))
    pings = (b"\x89\xfd\x00\x00\x00\x00" + bytes(125)) * 1000
    while not told.done():
        writable = not agent.socket.transport.is_closing()
        if writable and agent.socket.transport.get_write_buffer_size() < MAX_IN_FLIGHT:
            agent.socket.transport.write(pings)
        await asyncio.sleep(0)
    assert (await told).desks == ()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.5\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /v1/connect HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"\x00" * 10_000 + b"\r\n\r\n",
    ],
)
async def test_garbage_instead_of_a_handshake_is_hung_up_on(
    relay: RelayServer, dial: Dial, garbage: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The connection ends, nothing is logged with a traceback, and others do not notice."""
    caplog.set_level(logging.DEBUG, logger="websockets")
    bob = await dial(relay, Role.OPERATOR)
    await bob.expect(Welcome)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(relay))
    writer.write(garbage)
    writer.write_eof()
    await asyncio.wait_for(reader.read(), DEADLINE)
    writer.close()
    await bob.say(Open(1, "office"))
    await bob.expect(NotOpened)
    assert not [record for record in caplog.records if record.exc_info]
    assert "Traceback" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("not json", CloseCode.PROTOCOL),
        ('{"type":"opened","ref":1,"link":1,"desk":"x"}', CloseCode.PROTOCOL),
        (b"\x00\x00", CloseCode.PROTOCOL),
        (pack_frame(4711, b"x"), CloseCode.PROTOCOL),
        (bytes(MAX_PAYLOAD + 1000), 1009),
    ],
)
async def test_garbage_on_the_socket_closes_it_with_a_reason(
    relay: RelayServer, dial: Dial, data: str | bytes, code: int
) -> None:
    """Whoever sent it is closed with a code and a reason; the link of two others goes on."""
    agent = await dial(relay, Role.AGENT, "office")
    await agent.expect(Welcome)
    ann, bob = await dial(relay, Role.OPERATOR, subject="ann"), await dial(relay, Role.OPERATOR, subject="bob")
    await ann.expect(Welcome)
    link = await ann.open("office")
    await agent.expect(Incoming)
    await bob.expect(Welcome)
    await bob.socket.send(data)
    got, reason = await bob.closed()
    assert got == code
    assert reason
    await ann.socket.send(pack_frame(link, b"still here"))
    assert await agent.receive() == pack_frame(link, b"still here")


async def test_frames_that_are_no_websocket_frames_end_the_connection(relay: RelayServer, dial: Dial) -> None:
    """Unmasked bytes and text that is no UTF-8 end as RFC 6455 says."""
    for raw, code in ((b"\xff\xff\xff\xff", 1002), (b"\x81\x82\x00\x00\x00\x00\xff\xfe", 1007)):
        bob = await dial(relay, Role.OPERATOR)
        await bob.expect(Welcome)
        bob.socket.transport.write(raw)
        assert (await bob.closed())[0] == code


async def test_a_full_relay_says_so(issuer: Issuer, dial: Dial) -> None:
    """503 for one connection too many; whoever is connected stays, and health is still told."""
    async with RelayServer(issuer, "127.0.0.1", 0, max_connections=1) as relay:
        bob = await dial(relay, Role.OPERATOR)
        await bob.expect(Welcome)
        token = issuer.mint(Role.OPERATOR, "ann", ["*"])
        status, _, body = await get(relay, Authorization=f"Bearer {token}")
        assert (status, "no room" in body) == (503, True)
        assert (await get(relay, "/healthz"))[0] == 200


async def test_leaving_sends_everybody_away_at_once(issuer: Issuer, dial: Dial) -> None:
    """1001 for those who read; those who do not, or never finished their handshake, hold nothing up."""
    async with RelayServer(issuer, "127.0.0.1", 0) as relay:
        stuck = await dial(relay, Role.AGENT, "office")
        await stuck.expect(Welcome)
        bob = await dial(relay, Role.OPERATOR)
        await bob.expect(Welcome)
        link = await bob.open("office")
        stuck.socket.transport.pause_reading()
        told = asyncio.create_task(bob.expect(Closed))
        while not told.done():
            await bob.socket.send(pack_frame(link, bytes(MAX_PAYLOAD)))
        assert (await told).code == "too-slow"
        silent = socket.create_connection(("127.0.0.1", port_of(relay)))
        assert (await get(relay, "/healthz"))[0] == 200
        before = time.monotonic()
    assert time.monotonic() - before < 3
    assert await bob.closed() == (CloseCode.GOING_AWAY, "going away")
    silent.close()


async def test_an_address_in_use_is_one_clear_line(relay: RelayServer, issuer: Issuer) -> None:
    """It names the address and the reason."""
    with pytest.raises(NexusError) as caught:
        async with RelayServer(issuer, "127.0.0.1", port_of(relay)):
            pass
    assert str(caught.value) == f"cannot listen on 127.0.0.1:{port_of(relay)}: Address already in use"


def test_the_switchboard_needs_neither_sockets_nor_tokens_nor_a_loop() -> None:
    """Importing it brings in none of them, so it can be read, tested and moved alone."""
    check = (
        "import sys; before = set(sys.modules); import relay.switchboard; "  # what measures coverage is there before
        "print(*{'asyncio', 'socket', 'websockets', 'jwt'} & (sys.modules.keys() - before))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert done.stdout == "\n"
