"""The relay over WebSockets: the handshake that checks tokens, one reader and one writer for each connection.

This is the one module that knows websockets. Who may do what is the switchboard's to say; this one reads, writes
and closes, and sees to it that no peer can hold up another or the relay's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import logging
import os
import socket
import time

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from nexus_protocol.errors import NexusError, Unauthorized
from nexus_protocol.relay_messages import MAX_PAYLOAD, PATH, VERSION_HEADER, CloseCode
from nexus_protocol.vocabulary import VERSION

from . import tokens
from .claims import Claims
from .switchboard import Ending, Limits, Peer, Switchboard

log = structlog.get_logger("relay")

HEALTH_PATH = "/healthz"
MAX_CONNECTIONS = 1000
OPEN_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
STALL_TIMEOUT = 20.0
"""Seconds in which a peer reads nothing of what it is sent before its socket is closed."""
_MAX_UNREAD = 256 * 1024
"""Bytes in a socket's own buffer. The writer stays far below; only answers to a flood of pings go past it."""
_MAX_CLOSE_REASON = 123  # bytes, RFC 6455 section 5.5


class RelayServer:
    """``async with RelayServer(key, host, port) as relay`` serves until the block ends.

    Leaving the block stops accepting, closes every connection with 1001 and waits for that, two seconds at most.
    Raises NexusError when the address cannot be listened on.
    """

    def __init__(
        self,
        key: bytes,
        host: str,
        port: int,
        *,
        limits: Limits | None = None,
        max_connections: int = MAX_CONNECTIONS,
        stall_timeout: float = STALL_TIMEOUT,
    ) -> None:
        self.switchboard = Switchboard(limits)
        self._key = key
        self._host = host
        self._port = port
        self._max_connections = max_connections
        self._stall_timeout = stall_timeout
        self._connections: set[_Connection] = set()
        self._server: Server | None = None
        self._leaving = False

    @property
    def addresses(self) -> list[str]:
        """The ``ws://`` addresses it listens on."""
        assert self._server is not None, "the relay does not listen yet"
        names = [listener.getsockname() for listener in self._server.sockets]
        return [f"ws://[{name[0]}]:{name[1]}" if ":" in name[0] else f"ws://{name[0]}:{name[1]}" for name in names]

    async def __aenter__(self) -> RelayServer:
        def connection(*args: object, **settings: object) -> _Connection:
            return _Connection(self._connections, *args, **settings)

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
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._leaving = True
        self._server.close(close_connections=False)
        for peer in self.switchboard.peers():
            self._send_away(peer)
        for connection in self._connections:
            if connection.state is State.CONNECTING:
                connection.transport.abort()
        await self._server.wait_closed()

    def _send_away(self, peer: Peer) -> None:
        self.switchboard.end(peer, CloseCode.GOING_AWAY, "going away")

    # The handshake

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """An HTTP answer that refuses the connection or tells the relay's health; None lets the peer in."""
        assert isinstance(connection, _Connection)
        if request.path == HEALTH_PATH:
            body = json.dumps({"status": "ok", "version": VERSION, **self.switchboard.counts()}) + "\n"
            response = connection.respond(http.HTTPStatus.OK, body)
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        refusal = self._refusal(connection, request)
        if refusal is None:
            return None
        status, reason = refusal
        log.info("refused", status=status.value, reason=reason)
        response = connection.respond(status, reason + "\n")
        if status is http.HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Bearer"
        elif status is http.HTTPStatus.UPGRADE_REQUIRED:
            response.headers["Upgrade"] = "websocket"
            response.headers[VERSION_HEADER] = str(VERSION)
        return response

    def _refusal(self, connection: _Connection, request: Request) -> tuple[http.HTTPStatus, str] | None:
        if request.path != PATH:
            return http.HTTPStatus.NOT_FOUND, f"nothing is here; programs connect to {PATH}"
        if request.headers.get_all("Origin"):
            return http.HTTPStatus.FORBIDDEN, "this relay is not for browsers"
        if problem := _version_problem(request.headers.get_all(VERSION_HEADER)):
            return http.HTTPStatus.UPGRADE_REQUIRED, problem
        try:
            connection.claims = tokens.verify(self._key, _bearer(request.headers.get_all("Authorization")))
        except Unauthorized as error:
            return http.HTTPStatus.UNAUTHORIZED, str(error)
        if len(self._connections) > self._max_connections:
            return http.HTTPStatus.SERVICE_UNAVAILABLE, "this relay has no room for another connection; try again later"
        return None

    # The conversation

    async def _converse(self, connection: ServerConnection) -> None:
        assert isinstance(connection, _Connection)
        assert connection.claims is not None
        claims = connection.claims
        peer = self.switchboard.join(claims)
        output, ended = asyncio.Event(), asyncio.Event()

        def wake() -> None:
            output.set()
            if peer.ending is not None:
                ended.set()

        peer.wake = wake
        wake()
        if self._leaving:
            self._send_away(peer)
        log.info("joined", subject=claims.subject, role=claims.role.value, desks=claims.desks)
        remaining = claims.expires + tokens.LEEWAY - time.time()
        expiry = asyncio.get_running_loop().call_later(
            remaining, self.switchboard.end, peer, CloseCode.TOKEN, "the token has expired"
        )
        tasks = [
            asyncio.create_task(self._read(connection, peer)),
            asyncio.create_task(self._write(connection, peer, output)),
            asyncio.create_task(ended.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            expiry.cancel()
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
    """A WebSocket that knows whose it is, and that a peer which does not read cannot keep."""

    def __init__(self, register: set[_Connection], *args: object, **settings: object) -> None:
        super().__init__(*args, **settings)  # type: ignore[arg-type]
        self.claims: Claims | None = None
        self._register = register

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._register.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._register.discard(self)
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


def _bearer(values: list[str]) -> str:
    """The token in the Authorization header. Raises Unauthorized."""
    if not values:
        raise Unauthorized(
            "no token in an Authorization: Bearer header; make one on the relay's host: nexus-relay token"
        )
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("the Authorization header is not one Bearer token; make one: nexus-relay token")
    return token.strip()


def _version_problem(values: list[str]) -> str | None:
    if not values:
        return f"no {VERSION_HEADER} header: this is no Nexus program, or one too old for this relay; upgrade it"
    theirs = values[0].strip()
    if theirs == str(VERSION) and len(values) == 1:
        return None
    if theirs.isdecimal() and int(theirs[:9]) > VERSION:
        return f"your program speaks protocol {theirs[:9]}, this relay only {VERSION}: upgrade the relay"
    return f"this relay speaks protocol {VERSION}, your program an older one: upgrade your program"


def _silent_logger() -> logging.Logger:
    """websockets logs tracebacks for bad handshakes and, when asked, headers with tokens: nothing of that is kept."""
    logger = logging.getLogger("relay.websockets")
    logger.propagate = False
    logger.setLevel(logging.CRITICAL)
    return logger
