"""How long a connection may stay: its token is renewed in time, or taken back; time is the test's where it matters."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from nexus_protocol.errors import Unauthorized
from nexus_protocol.relay_messages import CloseCode, Incoming, Presence, Renewed, Welcome, pack_frame
from nexus_protocol.vocabulary import Role
from relay.issuer import KEYS, LEDGER, Issuer
from relay.server import RelayServer

from .conftest import Client, Clock, Dial, Log

DAY = 24 * 3600


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The relay's state folder."""
    return tmp_path


@pytest.fixture
def issuer(folder: Path, clock: Clock) -> Issuer:
    """One that sees the test's time."""
    return Issuer.create(folder, clock=clock)


@pytest.fixture
async def relay(issuer: Issuer) -> AsyncIterator[RelayServer]:
    async with RelayServer(issuer, "127.0.0.1", 0) as server:
        yield server


@pytest.fixture
def command(folder: Path, clock: Clock) -> Callable[[], Issuer]:
    """An issuer as a command has it, in another process."""
    return lambda: Issuer.load(folder, clock=clock)


def nudge(folder: Path) -> None:
    """Have the relay look at its clock: a file in its folder has been touched."""
    os.utime(folder / LEDGER)


async def welcomed(client: Client) -> Client:
    await client.expect(Welcome)
    return client


async def test_a_connection_outlives_its_first_token(
    relay: RelayServer, issuer: Issuer, folder: Path, clock: Clock, dial: Dial
) -> None:
    """Half-way to its end a fresh token comes, again and again, while links stay; each of them can be dialled with."""
    agent = await welcomed(await dial(relay, Role.AGENT, "office", token=issuer.mint(Role.AGENT, "o", ["office"])))
    first = issuer.mint(Role.OPERATOR, "bob", ["office"])
    bob = await welcomed(await dial(relay, Role.OPERATOR, token=first))
    link = await bob.open("office")
    await agent.expect(Incoming)
    seen = {issuer.verify(first).token_id}
    for _ in range(4):
        clock.now += DAY / 2
        nudge(folder)
        token = (await bob.expect(Renewed)).token
        await agent.expect(Renewed)
        claims = issuer.verify(token)
        assert (claims.subject, claims.desks, claims.lifetime) == ("bob", ("office",), DAY)
        assert claims.token_id not in seen
        seen.add(claims.token_id)
        await welcomed(await dial(relay, Role.OPERATOR, token=token))
    with pytest.raises(Unauthorized, match="expired"):
        issuer.verify(first)
    await bob.socket.send(pack_frame(link, b"still here"))
    assert await agent.receive() == pack_frame(link, b"still here")


async def test_the_clock_alone_brings_the_fresh_token(tmp_path: Path, dial: Dial) -> None:
    """Nothing has to happen for it: here half of a minute is over a moment after the welcome."""
    issuer = Issuer.create(tmp_path)
    async with RelayServer(issuer, "127.0.0.1", 0) as relay:
        token = issuer.mint(Role.OPERATOR, "bob", ["*"], ttl=60, now=time.time() - 29.5)
        bob = await welcomed(await dial(relay, Role.OPERATOR, token=token))
        renewed = issuer.verify((await bob.expect(Renewed)).token)
        assert renewed.expires >= issuer.verify(token).expires + 29


async def test_a_token_for_less_than_a_minute_is_meant_to_end(
    relay: RelayServer, issuer: Issuer, folder: Path, clock: Clock, dial: Dial
) -> None:
    """It is not renewed, and its connection ends with it."""
    bob = await welcomed(await dial(relay, Role.OPERATOR, token=issuer.mint(Role.OPERATOR, "bob", ["*"], ttl=59)))
    clock.now += 40
    nudge(folder)
    await welcomed(await dial(relay, Role.AGENT, "office"))
    await bob.expect(Presence)
    clock.now += 30
    nudge(folder)
    assert await bob.closed() == (CloseCode.TOKEN, "the token has expired")


async def test_revoking_any_token_of_a_family_closes_its_connections(
    relay: RelayServer, issuer: Issuer, command: Callable[[], Issuer], folder: Path, clock: Clock, dial: Dial
) -> None:
    """4002 for the one with the first token and the one with the renewed; others do not notice."""
    first = issuer.mint(Role.OPERATOR, "bob", ["*"])
    old = await welcomed(await dial(relay, Role.OPERATOR, token=first))
    other = await welcomed(await dial(relay, Role.OPERATOR, subject="bob"))
    clock.now += DAY / 2
    nudge(folder)
    renewed = (await old.expect(Renewed)).token
    await other.expect(Renewed)
    new = await welcomed(await dial(relay, Role.OPERATOR, token=renewed))
    command().revoke(issuer.verify(renewed).token_id)
    for client in (old, new):
        assert await client.closed() == (CloseCode.TOKEN, "the token has been revoked; ask for a new one")
    await welcomed(await dial(relay, Role.AGENT, "office"))
    await other.expect(Presence)


async def test_revoking_a_subject_closes_all_it_has_and_it_can_come_back(
    relay: RelayServer, issuer: Issuer, command: Callable[[], Issuer], dial: Dial
) -> None:
    """With a token made afterwards, in the same second too."""
    bobs = [await welcomed(await dial(relay, Role.OPERATOR, subject="bob")) for _ in range(3)]
    ann = await welcomed(await dial(relay, Role.OPERATOR, subject="ann"))
    command().revoke_subject("bob")
    for bob in bobs:
        assert (await bob.closed())[0] == CloseCode.TOKEN
    fresh = command().mint(Role.OPERATOR, "bob", ["*"])
    back = await welcomed(await dial(relay, Role.OPERATOR, token=fresh))
    await welcomed(await dial(relay, Role.AGENT, "office"))
    for client in (ann, back):
        await client.expect(Presence)


async def test_a_rotation_renews_whoever_is_connected(
    relay: RelayServer, command: Callable[[], Issuer], folder: Path, clock: Clock, dial: Dial
) -> None:
    """At once, so that nobody is left with the old key when its time is over."""
    bob = await welcomed(await dial(relay, Role.OPERATOR, subject="bob"))
    until = command().rotate(60).until
    token = (await bob.expect(Renewed)).token
    clock.now = until
    nudge(folder)
    await welcomed(await dial(relay, Role.OPERATOR, token=token))
    await welcomed(await dial(relay, Role.AGENT, "office"))
    await bob.expect(Presence)


async def test_after_a_leak_nobody_is_renewed_and_everybody_is_closed(
    relay: RelayServer, command: Callable[[], Issuer], dial: Dial
) -> None:
    """Whoever signed a token with the leaked key must not get one of the new key for it."""
    bob = await welcomed(await dial(relay, Role.OPERATOR, subject="bob"))
    command().rotate(0)
    code, reason = await bob.closed()
    assert (code, "no longer takes" in str(reason)) == (CloseCode.TOKEN, True)
    with pytest.raises(ConnectionClosed):
        await bob.receive()


async def test_a_full_disk_renews_nobody_and_ends_nobody(
    relay: RelayServer, folder: Path, clock: Clock, dial: Dial, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once, and tried again half a minute later."""
    bob = await welcomed(await dial(relay, Role.OPERATOR, subject="bob"))

    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    clock.now += DAY / 2
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        nudge(folder)
        assert await log.error() == "a token could not be renewed"
    clock.now += 30
    nudge(folder)
    await bob.expect(Renewed)
    assert len(log.errors()) == 1


@pytest.mark.parametrize("name", [KEYS, LEDGER])
async def test_files_that_cannot_be_read_any_more_end_nobody(
    relay: RelayServer, issuer: Issuer, folder: Path, dial: Dial, log: Log, name: str
) -> None:
    """A running relay goes by what it knew, says so once, and reads them again when they are mended."""
    bob = await welcomed(await dial(relay, Role.OPERATOR, subject="bob"))
    path = folder / name
    good = path.read_bytes()
    path.write_bytes(b"damage")
    assert "what is known still counts" in await log.error()
    path.write_bytes(good)
    issuer.revoke_subject("bob")
    assert (await bob.closed())[0] == CloseCode.TOKEN
    assert len(log.errors()) == 1
