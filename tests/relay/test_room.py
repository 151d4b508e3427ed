"""Room for connections: whoever has shown nothing keeps nobody out, and no token takes up all of it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

import pytest

from nexus_protocol.invitation import digest
from nexus_protocol.joining import redeem
from nexus_protocol.relay_messages import INVITATION_HEADER, JOIN_PATH, VERSION_HEADER, Welcome
from nexus_protocol.vocabulary import VERSION, Role
from relay.issuer import Issuer
from relay.room import NoRoom, Room
from relay.server import RelayServer

from .conftest import DEADLINE, Dial, get, port_of


@contextlib.asynccontextmanager
async def silent(relay: RelayServer, many: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Connections that say nothing, made one after the other."""
    readers, writers = [], []
    for _ in range(many):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(relay))
        readers.append(reader)
        writers.append(writer)
    yield readers
    for writer in writers:
        writer.close()


async def hung_up(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(DEADLINE):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


async def test_silent_connections_keep_nobody_out(issuer: Issuer, dial: Dial) -> None:
    """More of them than there are places of either kind: the oldest go, the newest stay, and a token gets in."""
    async with RelayServer(issuer, "127.0.0.1", 0, max_strangers=4, max_connections=8) as relay:
        agent = await dial(relay, Role.AGENT, "office")
        await agent.expect(Welcome)
        async with silent(relay, 20) as readers:
            for reader in readers[:16]:
                await hung_up(reader)
            assert not readers[-1].at_eof()
            bob = await dial(relay, Role.OPERATOR)
            assert (await bob.expect(Welcome)).desks == ("office",)
            proof = secrets.token_bytes(32)
            issuer.invite(digest(proof), Role.OPERATOR, "ada", "office", 60)
            assert (await redeem(relay.addresses[0], proof)).subject == "ada"


async def test_one_token_takes_up_a_part_of_the_room_only(issuer: Issuer, dial: Dial) -> None:
    """503 that says why, also for what it was renewed to; others get in; whoever leaves makes room."""
    async with RelayServer(issuer, "127.0.0.1", 0, max_of_token=3) as relay:
        token = issuer.mint(Role.VIEWER, "eve", ["office"])
        eves = [await dial(relay, Role.VIEWER, token=token) for _ in range(3)]
        renewed = issuer.renew(issuer.verify(token))
        status, _, body = await get(relay, Authorization=f"Bearer {renewed}")
        assert (status, "3 connections with this token" in body) == (503, True)
        another = await dial(relay, Role.VIEWER, subject="eve")
        await another.expect(Welcome)
        await eves[0].socket.close()
        await (await dial(relay, Role.VIEWER, token=renewed)).expect(Welcome)


async def test_whoever_is_refused_takes_up_no_room(issuer: Issuer, dial: Dial) -> None:
    """With a wrong proof, whatever token they hold; not even while they stay on the line."""
    async with RelayServer(issuer, "127.0.0.1", 0, max_of_token=1, max_connections=1) as relay:
        token = issuer.mint(Role.VIEWER, "eve", ["office"])
        staying = []
        for headers in ("", f"Authorization: Bearer {token}\r\n", ""):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(relay))
            writer.write(
                f"GET {JOIN_PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}"
                f"{VERSION_HEADER}: {VERSION}\r\n{INVITATION_HEADER}: {'0' * 64}\r\n\r\n".encode()
            )
            async with asyncio.timeout(DEADLINE):
                assert b" 403 " in await reader.readline()
            staying.append(writer)
        await (await dial(relay, Role.VIEWER, token=token)).expect(Welcome)
        for writer in staying:
            writer.close()


def test_who_has_left_is_not_let_in() -> None:
    """A request may be read after its connection is gone: it must not take up a place that nobody gives back."""
    room: Room[str] = Room(strangers=2, guests=2, of_token=1)
    assert [room.arrive(name) for name in "abc"] == [None, None, "a"]
    room.leave("b")
    for gone in "ab":
        with pytest.raises(NoRoom):
            room.admit(gone, "family")
    room.admit("c", "family")
    assert room.everybody() == ["c"]
    room.leave("c")
    room.leave("c")
    room.arrive("d")
    room.admit("d", "family")


def test_a_guest_that_is_refused_is_a_stranger_again() -> None:
    """The oldest stranger may have to go for it; who is no guest stays what it is."""
    room: Room[str] = Room(strangers=1, guests=1, of_token=1)
    room.arrive("a")
    room.admit("a", "")
    assert room.arrive("b") is None
    assert room.dismiss("b") is None
    assert room.dismiss("a") == "b"
    assert room.dismiss("b") is None
    assert room.everybody() == ["a"]
