"""The first words on a link: whose key is there, hello, and the desk's welcome, or why there is none."""

from __future__ import annotations

import asyncio

from nexus_protocol.errors import ProtocolError, Unauthorized, Unreachable
from nexus_protocol.link import Link
from nexus_protocol.messages import Bye, FromAgent, Held, Hello, ToAgent, Welcome

from .membership import Membership
from .observer import Observer

PATIENCE = 10.0
"""Seconds until the desk has to have answered; longer when it says that a person there is asked."""
FINAL = frozenset({"version", "unknown", "invitation", "forbidden"})
"""Codes of a Bye that would be the same again; an agent that goes or is full may be there again."""


async def greet(link: Link[FromAgent, ToAgent], desk: str, membership: Membership, observer: Observer) -> Welcome:
    """Make sure who is there before a word is said or heard; then say hello.

    Raises UnknownDesk or ChangedKey before anything was said, Unauthorized or Unreachable when the desk does not
    welcome this operator, and ProtocolError.
    """
    try:
        async with asyncio.timeout(PATIENCE) as deadline:
            membership.known.check(desk, await link.secured())
            link.admit()
            link.send(Hello(invitation=membership.invitations.proof_for(desk)))
            first = await link.receive()
            if isinstance(first, Held):
                observer.on_held(f"{desk} does not know you yet: {first.reason}")
                deadline.reschedule(asyncio.get_running_loop().time() + first.seconds + PATIENCE)
                first = await link.receive()
    except TimeoutError:
        raise Unreachable(f"{desk} did not answer in time") from None
    if isinstance(first, Bye):
        if first.code == "invitation":  # the one refusal that says so: it is worth nothing any more
            membership.invitations.used(desk)
        kind = Unauthorized if first.code in FINAL else Unreachable
        raise kind(f"{desk} refuses this console: {first.reason}")
    if not isinstance(first, Welcome):
        raise ProtocolError("malformed", f"{desk} spoke before its welcome")
    membership.invitations.used(desk)
    return first
