"""Opening and closing the WebSocket to the relay: every way that can fail, as an error for people.

With the dialer, which owns the open socket, the only modules besides the relay's server that know websockets.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from .errors import Unauthorized, Unreachable
from .relay_messages import MAX_PAYLOAD, VERSION_HEADER, CloseCode
from .settings import is_local
from .vocabulary import VERSION

OPEN_TIMEOUT = 10.0
CLOSE_TIMEOUT = 2.0
_TOKEN = re.compile(r"[!-~]+")


class TokenRefused(Unauthorized):
    """The relay takes this token no more, or never did."""


async def open_socket(url: str, token: str | None, headers: Mapping[str, str] | None = None) -> ClientConnection:
    """An open WebSocket. Raises Unauthorized or Unreachable, whatever is at the other end or in the way.

    Unauthorized is TokenRefused when it is the token that the relay does not accept.
    """
    wanted = {VERSION_HEADER: str(VERSION)} | dict(headers or {})
    if token is not None:
        if not _TOKEN.fullmatch(token):  # else the library quotes the header, token and all
            raise Unauthorized("the token holds what no token does: spaces, line ends or foreign letters; copy it anew")
        wanted["Authorization"] = f"Bearer {token}"
    try:
        return await connect(
            url,
            additional_headers=wanted,
            compression=None,  # sealed bytes do not compress, and a context costs 50 KiB
            max_size=MAX_PAYLOAD + 1024,
            open_timeout=OPEN_TIMEOUT,
            close_timeout=1,
            user_agent_header="nexus-tui",
            proxy=None if is_local(url) else True,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        said = f"HTTP {status}"
        if error.response.headers.get("Content-Type", "text/plain").startswith("text/plain"):
            said = " ".join((error.response.body or b"").decode("utf-8", "replace").split())[:300] or said
        if status in (401, 403, 426):
            kind = TokenRefused if status == 401 else Unauthorized
            raise kind(f"the relay refuses this program: {said}") from None
        if status == 503:
            raise Unreachable(f"the relay cannot do this now: {said}") from None
        raise Unreachable(f"{url} answers, but not as a Nexus relay: {said}") from None
    except (OSError, EOFError) as error:
        why = _why(error)
        raise Unreachable(f"cannot reach the relay at {url}: {why}; is nexus-relay running there?") from None
    except (WebSocketException, ValueError) as error:  # ValueError: a port or a host name that cannot be
        raise Unreachable(f"{url} does not answer as a Nexus relay: {error}") from None
    except ImportError as error:
        raise Unreachable(f"cannot reach the relay through the proxy this machine has set: {error}") from None


async def exchange(
    url: str, token: str | None, headers: Mapping[str, str] | None = None, *, say: bytes | None = None
) -> bytes:
    """A connection for one answer. Raises as `open_socket` does."""
    socket = await open_socket(url, token, headers)
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            if say is not None:
                await socket.send(say.decode())
            return await socket.recv(decode=False)
    except ConnectionClosed:
        raise end_of(socket) from None
    except TimeoutError:
        raise Unreachable(f"the relay did not answer within {OPEN_TIMEOUT:.0f} s; try again") from None
    finally:
        await leave(socket, 1000)


async def leave(socket: ClientConnection, code: int, reason: str = "") -> None:
    """Close, within CLOSE_TIMEOUT even when the relay reads nothing. Harmless when it is closed already."""
    short = reason.encode()[:120].decode(errors="ignore")  # RFC 6455, 5.5: a control frame holds 125 bytes
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await socket.close(code, short)
    except TimeoutError:
        socket.transport.abort()
        await socket.wait_closed()


def end_of(socket: ClientConnection) -> Unreachable:
    """Why a closed connection is closed: Unauthorized when dialling again by itself would be wrong."""
    kind = Unauthorized if socket.close_code in CloseCode.FINAL else Unreachable
    if socket.close_reason:
        return kind(f"the relay ended this connection: {socket.close_reason}")
    return kind("the connection to the relay was lost")


def _why(error: OSError | EOFError) -> str:
    """A failed connection in the system's words; asyncio words a refusal for programmers, and several as one."""
    number = getattr(error, "errno", None)
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and number:
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error) or "no answer"
