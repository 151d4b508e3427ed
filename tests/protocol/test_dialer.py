"""The first dial: refusals, silence, and servers that are no relay."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from nexus_protocol import dialer
from nexus_protocol.dialer import ConnectionState, dial
from nexus_protocol.errors import Unauthorized, Unreachable
from nexus_protocol.relay_messages import (
    PATH,
    VERSION_HEADER,
    CloseCode,
    Welcome,
)
from nexus_protocol.relay_socket import open_socket
from nexus_protocol.vocabulary import VERSION, Role

from .conftest import Heard, Relay, client_of, connected

CONNECTING, CONNECTED, WAITING, CLOSED = ConnectionState


async def test_it_says_who_it_is_and_which_version_it_speaks(relay: Relay, heard: Heard) -> None:
    """The token and the version travel in headers of the request; the welcome says who we are and what is there."""
    async with connected(relay, heard) as (client, _):
        (request,) = relay.requests
        assert request.path == PATH
        assert request.headers["Authorization"] == "Bearer a-token"
        assert request.headers[VERSION_HEADER] == str(VERSION)
        assert (client.subject, client.desks) == ("anna", ("office",))
        assert heard.states == [CONNECTING, CONNECTED]
        assert heard.desks == [("office",)]
    assert heard.states == [CONNECTING, CONNECTED, CLOSED]


@pytest.mark.parametrize("status", [401, 403, 426])
async def test_a_refusal_is_final_and_tells_the_relays_sentence(relay: Relay, heard: Heard, status: int) -> None:
    """A token that is not accepted, or a version: the relay's own words, and no second attempt."""
    relay.answer = (status, "the token has expired;\n  ask for another\n", "text/plain; charset=utf-8")
    with pytest.raises(Unauthorized) as error:
        async with dial(client_of(relay.url, heard), redial=True):
            pass
    assert str(error.value) == "the relay refuses this program: the token has expired; ask for another"
    assert len(relay.requests) == 1


@pytest.mark.parametrize("token", ["s3cret\nline", "s3cret two", "s3crét", ""])
async def test_a_token_that_cannot_be_one_is_not_quoted(relay: Relay, heard: Heard, token: str) -> None:
    """Nor sent."""
    with pytest.raises(Unauthorized, match="the token holds what no token does") as error:
        await open_socket(relay.url, token)
    assert "s3cr" not in str(error.value)
    assert relay.requests == []


async def test_nobody_listens(heard: Heard) -> None:
    """Connection refused is one sentence that names the address and asks the next question."""
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port meanwhile
        taken.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            Unreachable, match=f"cannot reach the relay at {url}.*is nexus-relay running there"
        ) as error:
            await client_of(url, heard).connect()
    assert not isinstance(error.value, Unauthorized)


@pytest.mark.parametrize("status", [200, 404, 502])
async def test_a_web_server_that_is_no_relay(relay: Relay, heard: Heard, status: int) -> None:
    """Its page is not shown; its status is."""
    relay.answer = (status, "<html>\n<h1>Welcome to the web</h1>", "text/html")
    with pytest.raises(Unreachable, match=f"not as a Nexus relay: HTTP {status}") as error:
        await client_of(relay.url, heard).connect()
    assert not isinstance(error.value, Unauthorized)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200", b"", b"\0" * 100])
async def test_a_server_that_speaks_no_http(heard: Heard, answer: bytes) -> None:
    """Something else listens on that port."""

    async def answer_and_go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer_and_go, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable):
            await client_of(f"ws://127.0.0.1:{port}", heard).connect()


@pytest.mark.parametrize(
    "url", ["ws://", "ws://127.0.0.1:99999", "ws://127.0.0.1:x", f"ws://{'a' * 70}.invalid", "ws://[::1"]
)
async def test_an_address_that_cannot_be(heard: Heard, url: str) -> None:
    """No port, no host, no such port: an error for people."""
    with pytest.raises(Unreachable):
        await client_of(url, heard).connect()


async def test_a_relay_on_this_machine_is_not_looked_for_through_a_proxy(
    relay: Relay, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy set for the outside world does not stand between two programs of one machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with connected(relay, heard):
        assert heard.states[-1] is CONNECTED


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "gopher://127.0.0.1:1", "http://127.0.0.1:1"])
async def test_a_proxy_that_does_not_work(heard: Heard, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of a kind unknown, or that is not there, is an error for people."""
    monkeypatch.setenv("ws_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(Unreachable):
        await client_of("ws://relay.invalid", heard).connect()


async def test_a_relay_that_hangs_up_before_welcome(relay: Relay, heard: Heard) -> None:
    """Unreachable, with the relay's reason; it may be dialled again."""
    relay.welcome = None
    attempt = asyncio.create_task(client_of(relay.url, heard).connect())
    await (await relay.peer()).socket.close(CloseCode.FULL, "this relay is full")
    with pytest.raises(Unreachable, match=r"hung up before it said welcome.*this relay is full") as error:
        await attempt
    assert not isinstance(error.value, Unauthorized)


async def test_a_relay_that_revokes_before_welcome(relay: Relay, heard: Heard) -> None:
    """A code that is final is final before the welcome too."""
    relay.welcome = None
    attempt = asyncio.create_task(client_of(relay.url, heard).connect())
    await (await relay.peer()).socket.close(CloseCode.TOKEN, "the token was revoked")
    with pytest.raises(Unauthorized, match="revoked"):
        await attempt


@pytest.mark.parametrize(
    "first", ['{"type":"presence","desks":[]}', "hello", "[" * 50_000, b"\0\0\0\1hello", b"\xff", "{}"]
)
async def test_a_relay_that_does_not_begin_with_welcome(relay: Relay, heard: Heard, first: str | bytes) -> None:
    """Anything else first is an error, and the socket is closed."""
    relay.welcome = None
    attempt = asyncio.create_task(client_of(relay.url, heard).connect())
    peer = await relay.peer()
    await peer.socket.send(first)
    with pytest.raises(Unreachable):
        await attempt
    assert (await peer.closed())[0] == CloseCode.PROTOCOL


@pytest.mark.parametrize(("version", "who"), [(VERSION + 1, "this program"), (VERSION - 1, "the relay")])
async def test_another_version_says_which_side_to_upgrade(relay: Relay, heard: Heard, version: int, who: str) -> None:
    """A mismatch is final, and says what to do."""
    relay.welcome = Welcome(subject="anna", role=Role.OPERATOR, version=version)
    with pytest.raises(Unauthorized, match=f"upgrade {who}"):
        await client_of(relay.url, heard).connect()


async def test_a_relay_that_says_nothing(relay: Relay, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence ends at a deadline, and the socket is closed."""
    monkeypatch.setattr(dialer, "OPEN_TIMEOUT", 0.05)
    relay.welcome = None
    with pytest.raises(Unreachable, match="did not say welcome"):
        await client_of(relay.url, heard).connect()
    await (await relay.peer()).closed()


async def test_an_attempt_given_up_leaves_no_socket(relay: Relay, heard: Heard) -> None:
    """Cancelled while it waits for the welcome, it closes what it has opened."""
    relay.welcome = None
    attempt = asyncio.create_task(client_of(relay.url, heard).connect())
    peer = await relay.peer()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await peer.closed()


async def test_a_refusal_steers_no_terminal(relay: Relay, heard: Heard) -> None:
    """What a server says is shown, its escape sequences are not."""
    relay.answer = (401, "no \x1b]0;pwned\x07\x1b[2J", "text/plain")
    with pytest.raises(Unauthorized) as error:
        await client_of(relay.url, heard).connect()
    assert str(error.value).isprintable()
