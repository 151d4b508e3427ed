"""The relay over WebSockets: the handshake, and one conversation for each connection.

This is the one module that knows websockets. Who is let in is admission's and the issuer's to say, who may do what is
the switchboard's; this one reads, writes and closes, and sees to it that no peer can hold up another or the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from nexus_protocol.errors import NexusError, ProtocolError, Unauthorized
from nexus_protocol.relay_messages import (
    JOIN_PATH,
    MAX_PAYLOAD,
    PATH,
    VERSION_HEADER,
    CloseCode,
    to_invite,
)
from nexus_protocol.vocabulary import VERSION, Role

from . import admission, joining
from .admission import NotAdmitted
from .claims import Claims
from .issuer import Issuer
from .room import NoRoom, Room
from .switchboard import Ending, Limits, Peer, Switchboard
from .tenure import hold

log = structlog.get_logger("relay")

HEALTH_PATH = "/healthz"
MAX_CONNECTIONS = 1000
"""Of those that were let in; strangers are counted apart."""
MAX_STRANGERS = 256
"""Connections that have shown nothing yet, or were refused: the oldest goes when one more comes."""
MAX_OF_TOKEN = 32
"""Connections with one token, and what it was renewed to."""
OPEN_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
STALL_TIMEOUT = 20.0
"""Seconds in which a peer reads nothing of what it is sent before its socket is closed."""
WATCH_INTERVAL = 0.25
"""Seconds between two looks at the state folder."""
_MAX_UNREAD = 256 * 1024
"""Bytes in a socket's own buffer. The writer stays far below; only answers to a flood of pings go past it."""
_DONE = 1000
_MAX_CLOSE_REASON = 123  # bytes, RFC 6455 section 5.5


class RelayServer:
    """``async with RelayServer(issuer, host, port) as relay`` serves until the block ends.

    Leaving the block stops accepting, closes every connection with 1001 and waits for that, two seconds at most.
    Raises NexusError when the address cannot be listened on.
    """

    def __init__(
        self,
        issuer: Issuer,
        host: str,
        port: int,
        *,
        origins: frozenset[str] = frozenset(),
        limits: Limits | None = None,
        max_connections: int = MAX_CONNECTIONS,
        max_strangers: int = MAX_STRANGERS,
        max_of_token: int = MAX_OF_TOKEN,
        stall_timeout: float = STALL_TIMEOUT,
    ) -> None:
        self.switchboard = Switchboard(limits)
        self._issuer = issuer
        self._host = host
        self._port = port
        self._origins = origins
        self._stall_timeout = stall_timeout
        self._room: Room[_Connection] = Room(max_strangers, max_connections, max_of_token)
        self._server: Server | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._leaving = False

    @property
    def addresses(self) -> list[str]:
        """The ``ws://`` addresses it listens on."""
        assert self._server is not None, "the relay does not listen yet"
        names = [listener.getsockname() for listener in self._server.sockets]
        return [f"ws://[{name[0]}]:{name[1]}" if ":" in name[0] else f"ws://{name[0]}:{name[1]}" for name in names]

    async def __aenter__(self) -> RelayServer:
        def connection(*args: object, **settings: object) -> _Connection:
            return _Connection(self._room, *args, **settings)

        try:
            self._server = await serve(
                self._converse,
                self._host,
                self._port,
                create_connection=connection,  # type: ignore[arg-type]  # a factory serves as well as a class
                process_request=self._admit,
                compression=None,
                max_size=MAX_PAYLOAD + 64,
                server_header=None,
                open_timeout=OPEN_TIMEOUT,
                close_timeout=CLOSE_TIMEOUT,
                ping_interval=20,
                ping_timeout=20,
                logger=_silent_logger(),
            )
        except OSError as error:
            # asyncio wraps a failed bind in a sentence of its own; a name that does not resolve comes as it is.
            is_sentence = error.errno is not None and not isinstance(error, socket.gaierror)
            reason = os.strerror(error.errno or 0) if is_sentence else error.strerror
            raise NexusError(f"cannot listen on {self._host}:{self._port}: {reason}") from None
        self._watcher = asyncio.create_task(self._watch(), name="relay-watcher")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._leaving = True
        self._server.close(close_connections=False)
        for peer in self.switchboard.peers():
            self._send_away(peer)
        for connection in self._room.everybody():
            if connection.peer is None:
                connection.transport.abort()
        await self._server.wait_closed()
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    def _send_away(self, peer: Peer) -> None:
        self.switchboard.end(peer, CloseCode.GOING_AWAY, "going away")

    async def _watch(self) -> None:
        """See what commands have written in the state folder: whoever is here by what counts no more has to go."""
        seen: object = None
        complaint = ""
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            try:
                found = self._issuer.refresh()
            except NexusError as error:
                if complaint != str(error):
                    log.error("the state folder cannot be read; what is known still counts", error=str(error))
                complaint = str(error)
                continue
            complaint = ""
            if found != seen:
                for connection in self._room.everybody():
                    connection.changed.set()
            seen = found

    # The handshake

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """An HTTP answer that refuses the connection or tells the relay's health; None lets the peer in."""
        assert isinstance(connection, _Connection)
        if request.path == HEALTH_PATH:
            body = json.dumps({"status": "ok", "version": VERSION, **self.switchboard.counts()}) + "\n"
            response = connection.respond(http.HTTPStatus.OK, body)
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        try:
            connection.converse = await self._conversation(connection, request)
        except NotAdmitted as refusal:
            status, reason = refusal.status, str(refusal)
            _hang_up(self._room.dismiss(connection))
        else:
            return None
        log.info("refused", status=status.value, reason=reason)
        response = connection.respond(status, reason + "\n")
        if status is http.HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Bearer"
        elif status is http.HTTPStatus.UPGRADE_REQUIRED:
            response.headers["Upgrade"] = "websocket"
            response.headers[VERSION_HEADER] = str(VERSION)
        return response

    async def _conversation(self, connection: _Connection, request: Request) -> Callable[[], Awaitable[None]]:
        """What the visitor has come for. Raises NotAdmitted."""
        shown = admission.read(request.path, request.headers, self._origins)
        try:
            claims = None if shown.token is None else self._issuer.verify(shown.token)
        except Unauthorized as error:
            raise NotAdmitted(http.HTTPStatus.UNAUTHORIZED, str(error)) from None
        try:
            self._room.admit(connection, "" if claims is None else claims.family)
        except NoRoom as full:
            raise NotAdmitted(http.HTTPStatus.SERVICE_UNAVAILABLE, str(full)) from None
        if request.path == JOIN_PATH:
            return partial(self._answer, connection, await self._redeemed(shown.proof, claims))
        assert claims is not None
        if request.path == PATH:
            return partial(self._carry, connection, claims)
        if claims.role is not Role.AGENT:
            raise NotAdmitted(http.HTTPStatus.FORBIDDEN, "only a desk's agent invites to it: nexus-agent invite")
        return partial(self._register, connection, claims)

    async def _redeemed(self, proof: bytes, held: Claims | None) -> str:
        """What to tell whoever showed this proof. Raises NotAdmitted."""
        try:
            return await asyncio.to_thread(joining.join, self._issuer, proof, held)
        except Unauthorized as error:
            raise NotAdmitted(http.HTTPStatus.FORBIDDEN, str(error)) from None
        except NexusError as error:
            log.error("an invitation could not be redeemed", error=str(error))
            problem = "the relay cannot take an invitation now; yours is still good: try again later"
            raise NotAdmitted(http.HTTPStatus.SERVICE_UNAVAILABLE, problem) from None

    # The conversations

    async def _converse(self, connection: ServerConnection) -> None:
        assert isinstance(connection, _Connection)
        if connection.converse is not None:
            await connection.converse()

    async def _register(self, connection: _Connection, claims: Claims) -> None:
        """One invitation of an agent to its own desk."""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                said = await connection.recv(decode=False)
            wanted = to_invite.decode(said)
        except ConnectionClosed:
            return
        except TimeoutError:
            await connection.say_goodbye(Ending(CloseCode.PROTOCOL, "no invitation came"))
        except ProtocolError as error:
            await connection.say_goodbye(Ending(CloseCode.PROTOCOL, str(error)))
        else:
            answer = await asyncio.to_thread(joining.invite, self._issuer, claims, wanted)
            await self._answer(connection, answer)

    async def _answer(self, connection: _Connection, text: str) -> None:
        """Say one thing, and goodbye."""
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(self._stall_timeout):
                await connection.send(text)
        await connection.say_goodbye(Ending(_DONE, ""))

    async def _carry(self, connection: _Connection, claims: Claims) -> None:
        """The links of an operator or an agent, for as long as it stays."""
        peer = connection.peer = self.switchboard.join(claims)
        output, ended = asyncio.Event(), asyncio.Event()

        def wake() -> None:
            output.set()
            if peer.ending is not None:
                ended.set()

        peer.wake = wake
        wake()
        if self._leaving:
            self._send_away(peer)
        log.info("joined", subject=claims.subject, role=claims.role.value, desks=claims.desks, token=claims.family)
        tasks = [
            asyncio.create_task(self._read(connection, peer)),
            asyncio.create_task(self._write(connection, peer, output)),
            asyncio.create_task(self._hold(connection, peer)),
            asyncio.create_task(ended.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            peer.wake = lambda: None
            self.switchboard.leave(peer)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await connection.say_goodbye(peer.ending or Ending(CloseCode.INTERNAL, "the relay failed"))
        for failure in results:
            if isinstance(failure, Exception):
                log.error("a conversation failed", subject=claims.subject, error=repr(failure))
                log.debug("where it failed", exc_info=failure)
        log.info("left", subject=claims.subject, code=connection.close_code, reason=repr(connection.close_reason))

    async def _hold(self, connection: _Connection, peer: Peer) -> None:
        reason = await hold(
            self._issuer,
            peer.claims,
            changed=connection.changed,
            renewed=partial(self.switchboard.renew, peer),
        )
        self.switchboard.end(peer, CloseCode.TOKEN, reason)

    async def _read(self, connection: ServerConnection, peer: Peer) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.switchboard.receive(peer, await connection.recv())

    async def _write(self, connection: ServerConnection, peer: Peer, output: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                output.clear()
                while (frame := self.switchboard.take(peer)) is not None:
                    try:
                        async with asyncio.timeout(self._stall_timeout):
                            await connection.send(frame)
                    except TimeoutError:
                        self.switchboard.end(peer, CloseCode.TOO_SLOW, "nothing was read for too long")
                await output.wait()


class _Connection(ServerConnection):
    """A WebSocket that knows what it is here for, and that a peer which does not read cannot keep."""

    def __init__(self, room: Room[_Connection], *args: object, **settings: object) -> None:
        super().__init__(*args, **settings)  # type: ignore[arg-type]
        self.converse: Callable[[], Awaitable[None]] | None = None
        """What it is here for, once it is admitted."""
        self.peer: Peer | None = None
        self.changed = asyncio.Event()
        """The issuer has new keys or revocations."""
        self._room = room

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        _hang_up(self._room.arrive(self))

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Pings are answered without anybody waiting for the answers to be read.
        if self.transport.get_write_buffer_size() > _MAX_UNREAD:
            self.transport.abort()

    async def say_goodbye(self, ending: Ending) -> None:
        """Close with a reason. `close` alone would wait without end for a peer that does not read."""
        reason = ending.reason.encode()[:_MAX_CLOSE_REASON].decode(errors="ignore")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.close(ending.code, reason)
        self.transport.abort()


def _hang_up(stranger: _Connection | None) -> None:
    """On the one that has to go, if any."""
    if stranger is not None:
        stranger.transport.abort()


def _silent_logger() -> logging.Logger:
    """websockets logs tracebacks for bad handshakes and, when asked, headers with tokens: nothing of that is kept."""
    logger = logging.getLogger("relay.websockets")
    logger.propagate = False
    logger.setLevel(logging.CRITICAL)
    return logger
