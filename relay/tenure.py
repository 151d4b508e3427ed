"""How long a connection may stay: as long as its token is worth something, renewed when half of its life is over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from nexus_protocol.errors import NexusError, Unauthorized

from .claims import Claims
from .issuer import Issuer

log = structlog.get_logger("relay")

_TRY_AGAIN = 30.0


async def hold(
    issuer: Issuer,
    claims: Claims,
    *,
    changed: asyncio.Event,
    renewed: Callable[[Claims, str], None],
) -> str:
    """Returns when the connection must end, and why.

    ``changed`` is set by whoever knows that the issuer has new keys or revocations. ``renewed`` gets each new token.
    """
    retry = 0.0
    while True:
        changed.clear()
        renews = claims.is_renewed and issuer.clock() < claims.expires
        due = max(retry, _due(issuer, claims)) if renews else float("inf")
        try:
            issuer.check(claims)
            if issuer.clock() >= due:
                token = await asyncio.to_thread(issuer.renew, claims)
                claims = issuer.verify(token)
                renewed(claims, token)
                continue
        except Unauthorized as error:
            return str(error)
        except NexusError as error:
            if not retry:
                log.error("a token could not be renewed", subject=claims.subject, error=str(error))
            due = retry = issuer.clock() + _TRY_AGAIN
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(due, issuer.ends(claims)) - issuer.clock())):
                await changed.wait()


def _due(issuer: Issuer, claims: Claims) -> float:
    """When to renew, in seconds since the epoch: half-way, or at once when the key that signed it is on its way out."""
    return claims.issued + claims.lifetime / 2 if issuer.signs_with(claims.key_id) else 0.0
